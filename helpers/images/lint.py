"""Docker's build checks: what the engine itself says of a Dockerfile, without building it."""

import secrets
from pathlib import Path

import docker

from helpers import state
from helpers.errors import CourseError
from helpers.images import buildkit
from helpers.images.build_errors import build_error
from helpers.images.trace import STEP, Trace

FIRST_API = "1.46"  # of Docker 27
CHECK = "BUILDKIT_DOCKERFILE_CHECK"


class _Checked(Exception):
    """The checks are over: the engine begins with the first step."""


def lint(client: docker.DockerClient, path: str | Path, dockerfile: str = "Dockerfile") -> list[dict]:
    """
    Return what Docker's build checks say of a Dockerfile, as ``docker build --check`` does; nothing is built.

    Keys:
        line: where it is; lines count from one.
        rule: its name, such as ``JSONArgsRecommended``.
        says: what is wrong, in the engine's words.
        url: what it is about, in Docker's documentation.

    API calls: ``POST /session``, ``POST /build?version=2`` with the argument BUILDKIT_DOCKERFILE_CHECK, and
    ``POST /build/cancel`` before the first step.

    Raises:
        CourseError: there is no such file, or the engine has no build checks: they came with Docker 27.
        docker.errors.BuildError: the Dockerfile cannot be read at all.

    Example::

        table(lint(client, "apps/web"), ["line", "rule", "says"])
    """
    file = Path(path, dockerfile)
    if not file.is_file():
        raise CourseError(f"docker build --check {path}", f"there is no {dockerfile}", f"looked from {Path.cwd()}")
    if not docker.utils.version_gte(client.api._version, FIRST_API):
        said = f"this engine (API {client.api._version}) has no build checks"
        raise CourseError(f"docker build --check {path}", said, "they came with Docker 27: use a newer engine")
    trace, label = Trace(), f"{state.LABEL}.lint={secrets.token_hex(8)}"
    name, _, value = label.partition("=")
    asked = buildkit.parameters(None, {"buildargs": {CHECK: "error=true"}, "labels": {name: value}})

    def changed():
        if any(STEP.match(one.name) for one in trace.vertexes.values()):
            raise _Checked

    try:
        buildkit.solve(client, trace, Path(path), file, changed=changed, **asked)
    except _Checked:
        pass
    except docker.errors.BuildError as error:
        if "lint violation" not in str(error):
            raise build_error(error, trace, client, file, None, path) from None
    finally:
        for image in client.images.list(filters={"label": label}):  # a build that was over before it was cancelled
            client.images.remove(image.id, force=True)
    return sorted((_row(warning) for warning in trace.warnings), key=lambda row: row["line"])


def _row(warning):
    rule, _, says = warning.short.decode(errors="replace").partition(": ")
    lines = [one.start.line for one in warning.ranges if one.start]
    says = says.rpartition(" (line ")[0] or says
    return {"line": lines[0] if lines else 0, "rule": rule, "says": says, "url": warning.url}
