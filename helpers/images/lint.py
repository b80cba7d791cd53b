"""Docker's build checks: what the engine itself says of a Dockerfile, without building it."""

import secrets
from pathlib import Path

import docker

from helpers import state
from helpers.engine import build_cache
from helpers.engine.gone import GONE
from helpers.errors import CourseError, engine_gone
from helpers.images import buildkit
from helpers.images.build_errors import build_error
from helpers.images.dockerfile import directives
from helpers.images.readable import content, kind
from helpers.images.trace import STEP, Trace

FIRST_API = "1.46"  # of Docker 27
CHECK = "BUILDKIT_DOCKERFILE_CHECK"


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
    tried = f"docker build --check {path}"
    if kind(file, tried) != "file":
        raise CourseError(tried, f"there is no {dockerfile}", f"looked from {Path.cwd()}")
    if not docker.utils.version_gte(client.api._version, FIRST_API):
        said = f"this engine (API {client.api._version}) has no build checks"
        raise CourseError(tried, said, "they came with Docker 27: use a newer engine")
    trace = Trace()
    try:
        _check(client, Path(path), file, trace)
    except docker.errors.DockerException as error:  # the engine's no to the request, or to the Dockerfile
        if "lint violation" not in str(error):
            raise build_error(error, trace, client, file, tried) from None
    except GONE as error:
        raise engine_gone(error, tried) from None
    return trace.findings()


def _check(client, folder, file, trace):
    """Have the engine check a Dockerfile and say what it finds; remember and remove what it made of it."""
    label = {f"{state.LABEL}.lint": secrets.token_hex(8)}
    asked = {
        "buildargs": {CHECK: _asked(content(file, f"docker build --check {folder}").decode(errors="replace"))},
        "labels": label,
    }
    build_id, over = secrets.token_hex(12), []

    def changed():
        if not over and any(STEP.match(one.name) for one in trace.vertexes.values()):  # then the checks are over
            over.append(True)
            buildkit.cancel(client, build_id)

    try:
        options = buildkit.parameters(None, asked)
        buildkit.solve(client, trace, folder, file, changed=changed, build_id=build_id, **options)
    except docker.errors.BuildError:
        if not over:
            raise
    finally:
        build_cache.remember(client, trace.made())
        filters = {"label": [f"{name}={value}" for name, value in label.items()]}
        for image in client.images.list(filters=filters):  # a build that was over before it was cancelled
            client.images.remove(image.id, force=True)


def _asked(text):
    """Return the Dockerfile's own choice of checks, and that the build ends where one finds something."""
    own = [part.strip() for part in directives(text).get("check", "").split(";")]
    return ";".join([*(part for part in own if part and not part.startswith("error")), "error=true"])
