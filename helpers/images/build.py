"""Builds: an image from a folder with a Dockerfile, or what stopped it and what to do next."""

import re
import shutil
from pathlib import Path

import docker
import requests

from helpers import engine, state
from helpers.errors import CourseError, engine_gone, explain
from helpers.host.network import proxies, silent_proxies, unreachable_proxy
from helpers.images.build_log import build_events
from helpers.progress import progress

LITTLE_DISK_BYTES = 3e8  # what fails on a disk with less failed for want of room


def build(
    client: docker.DockerClient,
    path: str | Path,
    tag: str,
    base: docker.models.images.Image | str | None = None,
    **sdk_arguments,
) -> docker.models.images.Image:
    """
    Build an image from a folder with a Dockerfile, print its steps, and return docker-py's ``Image``.

    ``base`` (an image or a name) becomes the build argument BASE. Everything else goes to the SDK as it is:
    ``dockerfile=``, ``target=``, ``nocache=``, ``buildargs=``. Proxies of this computer reach the build as docker's
    own predefined arguments, which no layer keeps. SDK call: ``client.api.build``.

    Raises:
        docker.errors.BuildError: the failing instruction, the tail of its log (all: ``error.build_log``), what to do.
        CourseError: there is no such folder.

    Example::

        image = build(client, "apps/first", tag="course/first", base=base)
    """
    _check_folder(path)
    buildargs = {**proxies(), **sdk_arguments.pop("buildargs", {})}
    if base is not None:
        buildargs["BASE"] = base if isinstance(base, str) else course_tag(base)
    options = {"rm": True, "forcerm": True, **sdk_arguments}
    log, made = [], []
    try:
        answers = client.api.build(path=str(path), tag=tag, buildargs=buildargs, decode=True, **options)
        image_id = _show(build_events(answers), f"building {tag}", log, made)
    except docker.errors.BuildError as error:
        raise _build_error(error.msg, log, path, tag, _free_disk_bytes(client)) from None
    except docker.errors.DockerException as error:  # the Dockerfile or a name could not be read: nothing was run
        raise _build_error(getattr(error, "explanation", None) or str(error), log, path, tag) from None
    except requests.exceptions.ConnectionError as error:
        raise engine_gone(error, f"docker build -t {tag} {path}") from None
    finally:
        remember(made)
    return client.images.get(image_id)


def _check_folder(path):
    if not Path(path).is_dir():
        said = "that is a file" if Path(path).is_file() else "there is no such folder"
        remedy = f"give the folder that holds the Dockerfile; looked from here: {Path.cwd()}"
        raise CourseError(f"docker build {path}", said, remedy)


def _show(events, title, log, made):
    """Print the steps as they come; fill ``log`` with every line and ``made`` with the ids of new images."""
    image_id = None
    with progress(total=None, desc=title) as bar:
        for kind, line in events:
            if kind == "image":
                image_id = line
                continue
            log.append(line)
            if kind == "step":
                print(line.rstrip())
                number, bar.total = map(int, re.match(r"Step (\d+)/(\d+)", line).groups())
                bar.n = number - 1
                bar.refresh()
            elif kind == "warning":
                print(line)
            elif kind == "made":
                made.append(line.split()[-1])
            elif kind == "output":
                bar.set_postfix_str(line.strip()[:60], refresh=False)
                bar.update(0)
    return image_id


def _free_disk_bytes(client):
    """Return the bytes that are free on the engine's disk, where that can be seen from here."""
    root = engine.disk(client)
    return shutil.disk_usage(root).free if root else None


def _build_error(said, log, path, tag, free_bytes=None):
    step = next((line for line in reversed(log) if line.startswith("Step ")), "")
    since = log[log.index(step) + 1 :] if step in log else []
    own_words = [line for line in since if not line.startswith((" ---> ", "Removing intermediate container"))]
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in [*own_words[-8:], said.strip()]]
    tail = "\n".join(line for line in lines if line)
    where = f"at {step.strip()}" if step else "before its first step"
    error = docker.errors.BuildError(f"{where}: {said.strip()}", list(log))
    advice = _build_advice(said, tail)
    if free_bytes is not None and free_bytes < LITTLE_DISK_BYTES:
        advice = (
            f"{free_bytes / 1e6:.0f} MB of disk are left: free some (python3 -m helpers doctor says where), build again"
        )
    return explain(error, f"docker build -t {tag} {path} stopped {where}", tail, advice)


BUILD_ADVICE = {  # what the engine says → what to do next
    "must be lower ?case|invalid reference format": "write the image's name in lower case, without spaces",
    "parse error|unknown instruction|unknown flag": "fix that line of the Dockerfile: each begins with an instruction",
    "Cannot locate specified Dockerfile": "write a Dockerfile there, or name it: build(..., dockerfile='…')",
    "no build stage|cannot be empty": "begin the Dockerfile with FROM",
    "should not be blank": "give the base: build(..., base=base)",
    "COPY failed|ADD failed|file not found": "COPY takes files from the build's folder: is it there? In .dockerignore?",
    "no space left": "free some disk space: python3 -m helpers doctor says how much there is",
    "/bin/(ba)?sh.*no such file": "this base has no shell for RUN: do that step in an earlier stage, then COPY",
    "returned a non-zero code": "the command in that step failed: read its own words above, fix it, build again",
    "denied|not found|unauthorized": "check the spelling of the name after FROM; a private image needs docker login",
    "dial tcp|lookup|timeout|no such host|x509": "no registry can be reached: base_image(client, …) makes the base",
    "target|stage": "target= takes the name after AS in the Dockerfile",
}
NO_NETWORK = (
    "resolv|name resolution|Network is unreachable|Could not connect|Connection (timed out|refused)|Failed to fetch"
    "|Cannot connect to proxy"
)
NO_TRUST = "CERTIFICATE_VERIFY_FAILED|certificate verif|SSLError"


def _build_advice(said, log):
    if "returned a non-zero code" in said and re.search(f"{NO_NETWORK}|{NO_TRUST}", log, re.IGNORECASE):
        return _network_advice(re.search(NO_TRUST, log, re.IGNORECASE))
    found = (advice for pattern, advice in BUILD_ADVICE.items() if re.search(pattern, said, re.IGNORECASE))
    return next(found, "read the engine's words above")


def _network_advice(no_trust):
    if down := silent_proxies():
        return f"this computer's proxy {down[0][0]} does not answer: correct it, or unset the variable that names it"
    if there := unreachable_proxy():
        return (
            f"no container can reach your proxy {there}: have it listen on an address of this computer, such as "
            "docker0's (ip address), and name that in HTTPS_PROXY"
        )
    if no_trust:
        return (
            "that step met certificates that it does not trust: export PIP_CERT=/path/to/ca.pem, start lab again, and "
            "build on base_image(…, with_host_settings=True)"
        )
    return "that step did not get through to the network: is this computer online? Behind a proxy: set HTTPS_PROXY"


def remember(image_ids):
    """Keep the ids of images that our builds made: stages and failed builds have no name and perhaps no label."""
    if image_ids:
        with (state.folder() / "built-images").open("a") as file:
            file.writelines(f"{image_id}\n" for image_id in image_ids)


def course_tag(image):
    """Return the name by which a build finds an image: the course's, else its first one, else its id."""
    return next((tag for tag in image.tags if tag.startswith("course/")), image.tags[0] if image.tags else image.id)
