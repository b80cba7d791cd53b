"""Builds: an image from a folder with a Dockerfile, by the engine's own BuildKit."""

import contextlib
import difflib
import tempfile
import time
from functools import partial
from pathlib import Path

import docker

from helpers import engine, state
from helpers.engine import build_cache
from helpers.engine.gone import GONE
from helpers.errors import CourseError, engine_gone, explain
from helpers.host.network import proxies_of
from helpers.images import build_report, buildkit, pip_secrets
from helpers.images.build_errors import build_error, no_buildkit
from helpers.images.dockerfile import stage_rows
from helpers.images.readable import content, kind
from helpers.images.trace import Trace

ARGUMENTS = ("tag", "secrets", "dockerfile", "fileobj", *buildkit.ARGUMENTS)
_traces = {}  # of the last build of an image, by its id: its steps, and what the build checks found


def build(
    client: docker.DockerClient,
    path: str | Path | None = None,
    tag: str | None = None,
    secrets: dict[str, bytes] | None = None,
    **sdk_arguments,
) -> docker.models.images.Image:
    """
    Build an image with BuildKit, print one line with the steps folded below it, and return docker-py's ``Image``.

    What the engine's build checks warn of (Docker 27 and newer) is counted in that line, and folded with the steps.

    The arguments are those of ``client.images.build``: ``dockerfile=``, ``target=``, ``buildargs=``, ``nocache=``,
    ``platform=``, ``labels=``, ``pull=``, ``network_mode=``; ``fileobj=`` is a Dockerfile without a folder. ``secrets``
    are for ``RUN --mount=type=secret,id=…``: no layer and no history has them. Proxies of this computer reach the build
    as docker's own predefined arguments; its certificates and pip settings reach each RUN that calls pip, as secrets.

    The SDK's own call builds with the older builder, so this one asks the engine as the docker command does. API calls:
    ``POST /session``, for files, secrets and logins that the engine asks for, and ``POST /build?version=2``.

    Raises:
        docker.errors.BuildError: the failing step, the end of its output (all: ``error.build_log``), what to do. An
            engine without BuildKit (Podman, an API below 1.39) is named as such.
        CourseError: there is no such folder or argument; a file cannot be read.

    Example::

        image = build(client, "apps/first", tag="course/first")
    """
    began = time.monotonic()
    with build_report.bar_of(f"building {tag}") as bar:
        image = build_quietly(client, path, tag, secrets, partial(build_report.follow, bar), **sdk_arguments)
    build_report.show(tag or image.short_id, *_traces[image.id], time.monotonic() - began)
    return image


def build_quietly(client, path=None, tag=None, secrets=None, follow=lambda trace: None, **sdk_arguments):
    """Build as ``build`` does, and show nothing; ``follow`` gets the ``Trace`` after each answer of the engine."""
    tried = f"docker build {f'-t {tag} ' if tag else ''}{path or '-'}"
    if path is not None:
        engine.refuse_no_client(client, tried)
    with _source(path, sdk_arguments) as (folder, file):
        trace = Trace()
        try:
            _solve(client, trace, folder, file, tag, secrets or {}, sdk_arguments, follow)
        except docker.errors.DockerException as error:  # the engine's no to the request, or to a step
            unable = no_buildkit(client, error, tried)
            raise unable or build_error(error, trace, client, file, tried) from None
        except GONE as error:
            raise engine_gone(error, tried) from None
        except KeyboardInterrupt as error:
            remedy = "build again when you like: the steps that were done come from the cache"
            raise explain(error, tried, "stopped from here, and on the engine, too", remedy) from None
        finally:
            stages = _stages(file)
            build_cache.remember(client, trace.made(stages))
        if trace.image_id is None:
            early = docker.errors.BuildError("the engine's answer ended before it named an image", [])
            raise no_buildkit(client, early, tried) or build_error(early, trace, client, file, tried)
        image = client.images.get(trace.image_id)
        remember([image.id])
        _traces[image.id] = trace.steps(stages), trace.findings()
    return image


def build_steps(image: docker.models.images.Image) -> list[dict]:
    """
    Return the steps of an image's last build in this notebook, in the Dockerfile's order, for ``plot_timeline``.

    Keys:
        step: as BuildKit names it, such as ``[build 2/4] RUN apt-get update``.
        stage, number, of, instruction: its parts.
        cached: whether the cache had it.
        start_seconds, end_seconds: since the build began, by the engine's clock.
        inputs: the steps that it needed.
        output: what its command printed.

    Raises:
        CourseError: this notebook has not built it.

    Example::

        plot_timeline(build_steps(image), title="Two stages side by side")
    """
    found = _traces.get(getattr(image, "id", None))
    if isinstance(image, str):
        raise CourseError(
            f"the steps of {image!r}", "that is a name", "give what build returned: image = build(client, …)"
        )
    if found is None:
        said = "this notebook has not built it since it was started"
        raise CourseError(f"the steps of {image!r}", said, "image = build(client, …), then build_steps(image)")
    return found[0]


def remember(image_ids):
    """Keep the ids of images that our builds made: when a later build takes its name, an image has none."""
    with (state.folder() / "built-images").open("a") as file:
        file.writelines(f"{image_id}\n" for image_id in image_ids)


def _stages(file):
    """Return the stages of a Dockerfile; none where it may not be read, which the build has said already."""
    try:
        return stage_rows(file.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return []


@contextlib.contextmanager
def _source(path, arguments):
    """Give the folder and the Dockerfile of a build; ``fileobj`` is written into an empty folder."""
    dockerfile, fileobj = arguments.pop("dockerfile", None) or "Dockerfile", arguments.pop("fileobj", None)
    if fileobj is not None:
        with tempfile.TemporaryDirectory(prefix="docker-course-") as folder:
            text = fileobj if isinstance(fileobj, (str, bytes)) else _from_its_beginning(fileobj).read()
            file = Path(folder, "Dockerfile")
            file.write_bytes(text.encode() if isinstance(text, str) else text)
            context = Path(folder, "context")
            context.mkdir()
            yield context, file
        return
    tried = f"docker build {path or ''}".rstrip()
    if path is None:
        remedy = 'build(client, "apps/first", tag="course/first"): the client comes first, then the folder'
        raise CourseError(tried, "there is neither a folder nor fileobj=", remedy)
    there = kind(path, tried)
    if there != "folder":
        said = "that is a file" if there else "there is no such folder"
        remedy = f"give the folder that holds the Dockerfile; looked from here: {Path.cwd()}"
        raise CourseError(tried, said, remedy)
    file = Path(path, dockerfile)
    if not kind(file, tried):
        lower = file.with_name("dockerfile")  # as the docker command finds it
        file = lower if file.name == "Dockerfile" and kind(lower, tried) else file
    if kind(file, tried) != "file":
        remedy = "write a Dockerfile there, or name it: build(…, dockerfile='…')"
        raise CourseError(tried, f"there is no {file.name} in {file.parent}", remedy)
    yield Path(path), file


def _refuse_no_dict(folder, arguments):
    for name in ("buildargs", "labels"):
        if not isinstance(arguments.get(name) or {}, dict):
            raise CourseError(f"docker build {folder}", f"{name}= takes a dict", f"{name}={{'name': 'value'}}")


def _checked_secrets(folder, secrets):
    """Return the secrets of a build, which are bytes or text by name."""
    if not isinstance(secrets, dict) or not all(isinstance(value, bytes | str) for value in secrets.values()):
        remedy = "secrets={'token': b'…'}; of a file: Path('token').read_bytes()"
        raise CourseError(f"docker build {folder}", "secrets= takes a dict of bytes, by the name after id=", remedy)
    return secrets


def _from_its_beginning(fileobj):
    """Return a file object, which an earlier build may have read to its end."""
    with contextlib.suppress(AttributeError, OSError):  # a stream that goes one way only
        fileobj.seek(0)
    return fileobj


def _solve(client, trace, folder, file, tag, secrets, arguments, follow):
    """Have the engine build, with what this computer adds: proxies, certificates and pip settings, the label."""
    _refuse_no_dict(folder, arguments)
    buildargs = {**proxies_of(client), **(arguments.pop("buildargs", None) or {})}
    labels = {state.LABEL: "1", **(arguments.pop("labels", None) or {})}
    text, own = pip_secrets.added(client, content(file, f"docker build {folder}").decode(errors="surrogateescape"))
    try:
        asked = buildkit.parameters(tag, {**arguments, "buildargs": buildargs, "labels": labels})
    except TypeError as error:
        near = difflib.get_close_matches(str(error).replace("_", ""), ARGUMENTS, n=1)
        remedy = f"did you mean {near[0]}=?" if near else f"there are {', '.join(ARGUMENTS)}"
        raise CourseError(f"docker build {folder}", f"there is no argument {error}", remedy) from None
    given = {**own, **_checked_secrets(folder, secrets)}
    changed = partial(follow, trace)
    buildkit.solve(client, trace, folder, file, text.encode(errors="surrogateescape"), given, changed, **asked)
