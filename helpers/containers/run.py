"""Run a container as the SDK does, with the course's label and limits, and with what to do next where it fails."""

import atexit
import contextlib
import re
import secrets
import time

import docker
import requests
from docker.models.images import Image

from helpers import engine, state
from helpers.containers.ports import chosen_ports, normal_ports
from helpers.errors import CourseError, engine_gone, explain
from helpers.progress import progress

LIFE_SECONDS = 3600
LIMITS = {"mem_limit": "512m", "pids_limit": 256}
DETACHED_LOG, RETURNED_LOG = "1m", "64m"  # the SDK reads from the log what it returns
ANOTHER_PORT = "take ports={'8000/tcp': None} for a free one, or stop the other"


def run(client: docker.DockerClient, image: str | Image, command: str | list[str] | None = None, **sdk_arguments):
    """
    Run a container as ``client.containers.run`` does, with the course's label and limits, and return what it returns.

    Limits, unless given otherwise: 512 MB of memory, 256 processes, 1 MB of log (64 MB where the output is returned:
    what is beyond the limit is lost); published ports are open on 127.0.0.1 only. A detached container is removed by
    ``cleanup``, else when this kernel ends; where the kernel was killed, by the first ``connect`` after an hour. An
    interrupted run removes its container. With ``detach`` and ``stdin_open``, the container's input ends when you close
    yours. SDK calls: ``client.containers.run``; for the last, ``client.containers.create`` and ``container.start``.

    Raises:
        docker.errors.ContainerError: the command ended with another status than 0.
        docker.errors.ImageNotFound, docker.errors.APIError: with what to do next.
        requests.exceptions.ConnectionError: the engine does not answer any more.

    Example::

        run(client, "course/first", remove=True).decode()
    """
    engine.refuse_no_client(client, f"docker run {image}")
    options = _within_limits(sdk_arguments)
    name = image if isinstance(image, str) else next(iter(image.tags), image.short_id)
    with _explained(client, name, options, "name" in sdk_arguments and _id_of(client, options["name"])):
        if not options.get("detach"):
            with progress(total=None, desc=f"docker run {name}", delay=2):
                return client.containers.run(image, command, **options)
        container = _detached(client, image, command, options)
        if taken := _taken_ports(container, options):
            # only an engine in a machine of its own does not know the ports of this computer
            container = _detached(client, image, command, {**options, "ports": chosen_ports(options["ports"])})
            taken = _taken_ports(container, options)
        if taken:
            tried = f"publishing port {', '.join(taken)} of {container.name}"
            raise CourseError(tried, "another program of this computer has it", ANOTHER_PORT)
        atexit.register(_remove_at_exit, client, container.id)
        return container


def _within_limits(sdk_arguments):
    """Return the SDK's arguments with the course's name, labels and limits, and with ports on 127.0.0.1."""
    most = DETACHED_LOG if sdk_arguments.get("detach") else RETURNED_LOG
    given = sdk_arguments.get("labels") or {}
    options = {
        "name": f"course-{secrets.token_hex(4)}",
        "log_config": docker.types.LogConfig(type="json-file", config={"max-size": most, "max-file": "1"}),
        **LIMITS,
        **sdk_arguments,
        "labels": {**labels(), **(given if isinstance(given, dict) else dict.fromkeys(given, ""))},
    }
    if options.get("ports"):
        options["ports"] = normal_ports(options["ports"])
    return options


def labels() -> dict[str, str]:
    """
    Return the labels of what the course makes: whose it is, which notebook's, and when it has to end.

    ``run`` sets them; what a notebook creates by the SDK itself gets them too, so that ``cleanup`` finds it.

    Example::

        client.volumes.create(labels=labels())
    """
    return {
        state.LABEL: "1",
        state.NOTEBOOK_LABEL: state.notebook(),
        state.ENDS_LABEL: str(int(time.time()) + LIFE_SECONDS),
    }


def _detached(client, image, command, options):
    """Start a container and return it; with ``stdin_open``, its input can be ended, which ``run`` does not allow."""
    if not options.get("stdin_open"):
        return client.containers.run(image, command, **options)
    container = client.containers.create(image, command, **{**options, "detach": False})
    container.start()
    return container


def _taken_ports(container, options):
    """Return the container's ports that another program of this computer has; it is removed then."""
    taken = engine.taken_ports(container) if options.get("ports") else []
    if taken:
        container.remove(force=True, v=True)
    return taken


@contextlib.contextmanager
def _explained(client, name, options, there):
    """Add to an error what to do next, and remove a container that did not start; one that was ``there`` stays."""
    try:
        yield
    except KeyboardInterrupt as error:
        removed = "the container is removed: " if _remove(client, options, there) else ""
        remedy = f"{removed}run the cell again when you like"
        raise explain(error, f"docker run {name}", "stopped from here, and on the engine, too", remedy) from None
    except docker.errors.ContainerError as error:
        said = (error.stderr or b"").decode(errors="replace") or f"exit status {error.exit_status}"
        tried = f"docker run {name}: {error.command or 'its own command'}"
        raise explain(error, tried, said, _exit_advice(error)) from None
    except docker.errors.APIError as error:
        if not isinstance(error, docker.errors.ImageNotFound):
            _remove(client, options, there)
        raise explain(error, f"docker run {name}", error.explanation, _run_advice(error, name)) from None
    except requests.exceptions.ConnectionError as error:
        raise engine_gone(error, f"docker run {name}") from None


def _id_of(client, name):
    """Return the id of the container that has a name already, or None."""
    with contextlib.suppress(docker.errors.DockerException, requests.exceptions.RequestException):
        return client.containers.get(name).id


def _remove(client, options, there):
    """Remove the container that this run made, and return whether there was one; one that had its name before stays."""
    with contextlib.suppress(docker.errors.NotFound):
        container = client.containers.get(options["name"])
        if container.id != there and options["labels"].items() <= container.labels.items():
            container.remove(force=True, v=True)
            return True
    return False


def _remove_at_exit(client, container_id):
    """Remove what ``cleanup`` did not, unless the engine is gone, and the container with it."""
    with contextlib.suppress(docker.errors.DockerException, OSError):
        client.containers.get(container_id).remove(force=True, v=True)


def _exit_advice(error):
    if re.search(rb"exec \S+: no such file or directory", error.stderr or b""):
        return "the program is there, its loader or C library is not: link it statically, or take a base that has them"
    meaning = {
        125: "the engine could not run it",
        126: "the command is there and is not executable",
        127: "the command is not in the image: spelt right? docker run IMAGE ls /usr/bin",
        137: "it was killed: by docker stop, or at its memory limit (inspect: State.OOMKilled)",
        139: "it crashed (segmentation fault)",
        143: "it was asked to end (SIGTERM)",
    }
    otherwise = "its own words above say why it failed" if error.stderr else "it wrote no error: only the status tells"
    return meaning.get(error.exit_status, otherwise)


RUN_ADVICE = {  # what the engine says → what to do next
    "pull access denied|manifest unknown|no such image": "check the spelling of the image's name; client.images.list() "
    "shows those that are here",
    "port is already allocated|address already in use": f"another program has that port: {ANOTHER_PORT}",
    "lowercase|invalid reference": "write the image's name in lower case",
    "dial tcp|no such host|timeout": "no registry can be reached: build the image first, or base_image(client, name)",
    "executable file not found|no such file or directory": "the image does not hold that command",
    "conflict.*name": "a container has that name: leave name= out, or remove the other",
}


def _run_advice(error, name):
    said = (error.explanation or "").lower()
    if name.startswith("course/") and re.search("no such image|dial tcp|pull access denied", said):
        return "it is not on this engine: check the spelling, or build it first, as its notebook does"
    if isinstance(error, docker.errors.ImageNotFound):
        said = "no such image"
    found = (advice for pattern, advice in RUN_ADVICE.items() if re.search(pattern, said))
    return next(found, "read the engine's words above")
