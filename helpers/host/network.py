"""
The proxies that this computer's environment names, in each spelling that programs read; and a free port.

Standard library only.
"""

import os
import socket
from urllib.parse import urlsplit

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")


def variables():
    """
    Return ``http_proxy``, ``https_proxy``, ``no_proxy`` in lower and in upper case, as far as any of them is set.

    apt reads the lower-case ones only; where one of the first two is missing, the other stands in.

    Example::

        subprocess.run(command, env={**os.environ, **variables()})
    """
    found = {name: os.environ.get(name) or os.environ.get(name.upper()) for name in ("http_proxy", "https_proxy")}
    http, https = found.values()
    found = {"http_proxy": http or https, "https_proxy": https or http}
    found["no_proxy"] = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    named = {name: value for name, value in found.items() if value}
    return {**named, **{name.upper(): value for name, value in named.items()}}


def proxies() -> dict[str, str]:
    """
    Return the proxies of this computer that a container can reach too, as docker's predefined build arguments.

    One that listens on 127.0.0.1 is left out: in a container, that address is the container itself. The helper
    ``build`` adds them; the SDK's own call does not. It calls nothing of the SDK.

    Example::

        run(client, image, ["apt-get", "update"], environment=proxies())
    """
    return _reachable(variables())


def proxies_of(client):
    """
    Return the proxies for a client's builds: those of docker's config.json, as ``docker build`` takes them.

    What ``proxies`` returns stands in for the names that it leaves out. None that no container can reach is among them.

    Example::

        build_quietly(client, "apps/web", buildargs=proxies_of(client))
    """
    return proxies() | _reachable(client.api._proxy_configs.get_environment())


def _reachable(found):
    return {name: value for name, value in found.items() if name.lower() == "no_proxy" or not _on_loopback(value)}


def unreachable_proxy():
    """Return the proxy that a container cannot reach, without its password, or None."""
    https = variables().get("https_proxy")
    return _shown(https) if https and _on_loopback(https) else None


def silent_proxies():
    """Return ``(proxy, what went wrong)`` for each proxy that is named and does not answer; passwords are left out."""
    found = []
    for value in sorted({value for name, value in variables().items() if name != "no_proxy" and name.islower()}):
        address = _split(value)
        try:
            socket.create_connection((address.hostname or "", address.port or 80), timeout=5).close()
        except OSError as error:
            found.append((_shown(value), str(error)))
    return found


def _split(value):
    return urlsplit(value if "://" in value else f"http://{value}")


def _shown(value):
    address = _split(value)
    return f"{address.scheme}://{address.hostname}:{address.port or 80}"


def _on_loopback(value):
    return _split(value).hostname in LOOPBACK_HOSTS


def free_port():
    """Return a port of 127.0.0.1 that no program uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
