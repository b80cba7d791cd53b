"""The address at which a container's published port answers from here."""

import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import docker

from helpers import engine, waiting
from helpers.errors import CourseError, explain


def url(container: docker.models.containers.Container, port: int | str, timeout: float | None = None) -> str:
    """
    Return the address at which a container's published port answers from this notebook; wait until it does.

    ``timeout`` is in seconds: 30 unless told, and more in the course's virtual machine, where a processor is emulated.
    SDK calls: ``container.reload``, ``container.attrs``, ``container.logs``.

    Raises:
        CourseError: the port is not published, the container has ended, or nothing answered in time; with its log.
        docker.errors.NotFound: the container was removed.

    Example::

        urllib.request.urlopen(url(web, 8000) + "/demo/")
    """
    port = str(port).removesuffix("/tcp")
    if isinstance(container, str):
        raise not_a_container(container)
    tried = f"asking {container.name} on its port {port}"
    deadline = time.monotonic() + (timeout or engine.patience(container.client, waiting.PORT_SECONDS))
    while True:
        address = _published_address(container, port, tried)
        try:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=5).close()
            return address
        except urllib.error.HTTPError:
            return address  # an answer, if not a page
        except OSError as error:
            if time.monotonic() > deadline:
                said = f"{error}; its log ends: {last_words(container)}"
                raise CourseError(tried, said, "does it listen on 0.0.0.0, and on that port?") from None
        time.sleep(0.1)


def _published_address(container, port, tried):
    """Return the address at which a running container publishes a port."""
    try:
        container.reload()
    except docker.errors.NotFound as error:
        raise explain(error, tried, error.explanation, "it was removed: run it again") from None
    if container.status != "running":
        remedy = "fix what its log says, run it again"
        raise CourseError(tried, f"it has ended: {last_words(container)}", remedy)
    bindings = container.attrs["NetworkSettings"]["Ports"].get(f"{port}/tcp")
    if not bindings:
        raise CourseError(tried, "that port is not published", f"run it with ports={{'{port}/tcp': None}}")
    return f"http://{engine_host(container.client)}:{bindings[0]['HostPort']}"


def not_a_container(name):
    """Return the error for who passes a name, where the container itself is needed."""
    remedy = f"take the container itself: client.containers.get({name!r})"
    return CourseError(f"looking at {name!r}", "that is a name, not a container", remedy)


def last_words(container):
    """Return the end of a container's log."""
    return container.logs(tail=5).decode(errors="replace").strip() or "(its log is empty)"


def engine_host(client):
    """Return the host on which this client's engine publishes ports."""
    base = urlsplit(client.api.base_url)
    return "127.0.0.1" if base.scheme.startswith("http+docker") or "npipe" in base.netloc else base.hostname
