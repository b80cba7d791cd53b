"""Containers: run one safely, and find the address of what it serves."""

import atexit
import contextlib
import ipaddress
import re
import secrets
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import docker
import requests

from helpers import engine, state
from helpers.errors import CourseError, explain, gone, message
from helpers.machines import keys
from helpers.progress import progress

HOUR = 3600
ANOTHER_PORT = "take ports={'8000/tcp': None} for a free one, or stop the other"


def run(client, image, command=None, **sdk_arguments):
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
    options = {
        "name": f"course-{secrets.token_hex(4)}",
        "mem_limit": "512m",
        "pids_limit": 256,
        "log_config": _log("1m" if sdk_arguments.get("detach") else "64m"),  # the SDK reads the output from the log
        **sdk_arguments,
    }
    given = sdk_arguments.get("labels") or {}
    options["labels"] = {**labels(), **(given if isinstance(given, dict) else dict.fromkeys(given, ""))}
    if isinstance(options.get("ports"), str):
        remedy = "write ports={'8000/tcp': None} for any free port, or a number instead of None"
        raise CourseError(message(f"publishing {options['ports']!r}", "ports= takes a dict", remedy))
    if options.get("ports"):
        options["ports"] = {port: _on_loopback(binding) for port, binding in options["ports"].items()}
    name = image if isinstance(image, str) else next(iter(image.tags), image.short_id)
    try:
        if options.get("detach") and options.get("stdin_open"):  # run(detach=True) never ends a container's input
            result = client.containers.create(image, command, **{**options, "detach": False})
            result.start()
        elif options.get("detach"):
            result = client.containers.run(image, command, **options)
        else:
            with progress(total=None, desc=f"docker run {name}", delay=2):
                result = client.containers.run(image, command, **options)
        if options.get("detach"):
            if taken := _taken(result, options):
                if not _asked_for(options["ports"]) & set(taken):  # then one is chosen here
                    return run(client, image, command, **{**sdk_arguments, "ports": _chosen(options["ports"])})
                tried = f"publishing port {', '.join(taken)} of {result.name}"
                raise CourseError(message(tried, "another program of this computer has it", ANOTHER_PORT))
            atexit.register(_remove_at_exit, client, result.id)
        return result
    except KeyboardInterrupt:
        _remove(client, options)
        raise
    except docker.errors.ContainerError as error:
        said = (error.stderr or b"").decode(errors="replace") or f"exit status {error.exit_status}"
        raise explain(
            error, f"docker run {name}: {error.command or 'its own command'}", said, _exit_advice(error)
        ) from None
    except docker.errors.APIError as error:
        if not isinstance(error, docker.errors.ImageNotFound):
            _remove(client, options)  # made, and could not be started
        raise explain(error, f"docker run {name}", error.explanation, _run_advice(error, name)) from None
    except requests.exceptions.ConnectionError as error:
        raise gone(error, f"docker run {name}") from None


def _log(most):
    return docker.types.LogConfig(type="json-file", config={"max-size": most, "max-file": "1"})


@contextlib.contextmanager
def briefly(client, image, command=None, **options):
    """Give ``(container, "")``, and remove the container afterwards; or ``(None, text)`` where it could not start."""
    try:
        container = run(client, image, command, detach=True, **options)
    except docker.errors.APIError as error:
        yield None, error.explanation or str(error)
        return
    try:
        yield container, ""
    finally:
        with contextlib.suppress(docker.errors.NotFound):
            container.remove(force=True, v=True)


def outcome(client, image, command=None, seconds=10, awake=False, **options):
    """
    Return ``(status, text)`` of a container that has some seconds, more of them in the virtual machine.

    The status is 127 where it could not start, with the engine's words, and None where it did not end by itself.
    ``awake`` is as in ``ended``.
    """
    with briefly(client, image, command, **options) as (container, why):
        if container is None:
            return 127, f"it could not start: {why}"
        return ended(container, seconds, awake), container.logs(tail=50).decode(errors="replace").strip()


def ended(container, seconds=10, awake=False):
    """
    Return the status with which a container ends in some seconds, more of them in the virtual machine; else None.

    With ``awake``, one that only sleeps for a second is given up: where it has no network, nothing will wake it.
    """
    deadline, asleep = time.monotonic() + seconds * (6 if engine.vm.is_ours(container.client) else 1), 0
    while asleep < 3 and (left := deadline - time.monotonic()) > 0:
        with contextlib.suppress(requests.exceptions.RequestException):  # it goes on
            return container.wait(timeout=min(0.4, left) if awake else left)["StatusCode"]
        sleeps = awake and _sleeps(container)
        asleep, awake = (asleep + 1 if sleeps else 0), awake and sleeps is not None
    return None


def _sleeps(container):
    """
    Return whether each process of a container waits for something; one that starts, or reads a disk, does not.

    Return None where nobody tells: it has just ended, or there is no ps where the engine runs.
    """
    try:
        processes = container.top(ps_args="-eo pid,stat")["Processes"]
    except docker.errors.APIError:
        return None
    return bool(processes) and all(process[-1].startswith("S") for process in processes)


def _taken(container, options):
    """
    Return the published ports that another program of this computer has; the container is removed then.

    Only an engine in a machine of its own has to be asked: it does not know this computer's ports.
    """
    taken = engine.refused(container) if options.get("ports") else []
    if taken:
        container.remove(force=True, v=True)
    return taken


def _asked_for(ports):
    """Return the ports that somebody chose, as text."""
    bindings = [one for binding in ports.values() for one in (binding if isinstance(binding, list) else [binding])]
    return {str(binding[1]) for binding in bindings if binding[1] is not None}


def _chosen(ports):
    """Return bindings with ports that are free on this computer."""
    if isinstance(ports, dict):
        return {inside: _chosen(binding) for inside, binding in ports.items()}
    if isinstance(ports, list):
        return [_chosen(binding) for binding in ports]
    return (ports[0], ports[1] or keys.free_port())


def labels():
    """
    Return the labels of what the course makes: whose it is, which notebook's, and when it has to end.

    ``run`` sets them; what a notebook creates by the SDK itself gets them too, so that ``cleanup`` finds it.

    Example::

        client.volumes.create(labels=labels())
    """
    return {
        state.LABEL: "1",
        state.NOTEBOOK_LABEL: state.notebook(),
        state.ENDS_LABEL: str(int(time.time()) + HOUR),
    }


def _on_loopback(binding):
    """Return a binding on 127.0.0.1: ``None`` is any free port, a number that port; an address of yours stays."""
    if isinstance(binding, tuple):
        return (_in_numbers(binding[0]), *binding[1:])
    if isinstance(binding, list):
        return [_on_loopback(one) for one in binding]
    return ("127.0.0.1", binding)


def _in_numbers(address):
    """Return an address; the engine would take a name for none, and open the port to everybody."""
    if address in ("localhost", ""):
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(address))
    except ValueError as error:
        remedy = "write the address in numbers, such as ('127.0.0.1', None)"
        raise CourseError(message(f"publishing a port at {address!r}", error, remedy)) from None


def _remove(client, options):
    """Remove the container that this run made; one that had its name before stays."""
    with contextlib.suppress(docker.errors.NotFound):
        container = client.containers.get(options["name"])
        if options["labels"].items() <= container.labels.items():
            container.remove(force=True, v=True)


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


def _run_advice(error, name):
    said = (error.explanation or "").lower()
    if name.startswith("course/") and ("no such image" in said or "dial tcp" in said or "pull access denied" in said):
        return "it is not on this engine: check the spelling, or build it first, as its notebook does"
    if isinstance(error, docker.errors.ImageNotFound) or "pull access denied" in said or "manifest unknown" in said:
        return "check the spelling of the image's name; client.images.list() shows those that are here"
    if "port is already allocated" in said or "address already in use" in said:
        return f"another program has that port: {ANOTHER_PORT}"
    if "lowercase" in said or "invalid reference" in said:
        return "write the image's name in lower case"
    if "dial tcp" in said or "no such host" in said or "timeout" in said:
        return "no registry can be reached: build the image first, or base_image(client, name)"
    if "executable file not found" in said or "no such file or directory" in said:
        return "the image does not hold that command"
    if "conflict" in said and "name" in said:
        return "a container has that name: leave name= out, or remove the other"
    return "read the engine's words above"


def url(container, port, timeout=None):
    """
    Return the address at which a container's published port answers from this notebook; wait until it does.

    ``timeout`` is in seconds: 30 unless told, and 120 in the course's virtual machine, where a processor is emulated.
    SDK calls: ``container.reload``, ``container.attrs``, ``container.logs``.

    Raises:
        CourseError: the port is not published, the container has ended, or nothing answered in time; with its log.
        docker.errors.NotFound: the container was removed.

    Example::

        urllib.request.urlopen(url(web, 8000) + "/demo/")
    """
    port = str(port).removesuffix("/tcp")
    if isinstance(container, str):
        raise no_container(container)
    tried = f"asking {container.name} on its port {port}"
    try:
        container.reload()
    except docker.errors.NotFound as error:
        raise explain(error, tried, error.explanation, "it was removed: run it again") from None
    bindings = container.attrs["NetworkSettings"]["Ports"].get(f"{port}/tcp")
    if container.status == "running" and not bindings:
        raise CourseError(message(tried, "that port is not published", f"run it with ports={{'{port}/tcp': None}}"))
    deadline = time.monotonic() + (timeout or (120 if engine.vm.is_ours(container.client) else 30))
    while True:
        container.reload()
        if container.status != "running":
            raise CourseError(
                message(tried, f"it has ended: {_tail(container)}", "mend what its log says, run it again")
            )
        address = f"http://{_host(container.client)}:{bindings[0]['HostPort']}"
        try:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=5).close()
            return address
        except urllib.error.HTTPError:
            return address  # an answer, if not a page
        except OSError as error:
            if time.monotonic() > deadline:
                said = f"{error}; its log ends: {_tail(container)}"
                raise CourseError(message(tried, said, "does it listen on 0.0.0.0, and on that port?")) from None
        time.sleep(0.1)


def no_container(name):
    """Return the error for who hands over a name, where the container itself is needed."""
    remedy = f"take the container itself: client.containers.get({name!r})"
    return CourseError(message(f"looking at {name!r}", "that is a name, not a container", remedy))


def _tail(container):
    return container.logs(tail=5).decode(errors="replace").strip() or "(its log is empty)"


def _host(client):
    """Return the host on which this client's engine publishes ports."""
    base = urlsplit(client.api.base_url)
    return "127.0.0.1" if base.scheme.startswith("http+docker") or "npipe" in base.netloc else base.hostname
