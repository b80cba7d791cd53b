"""An existing engine: DOCKER_HOST, the docker context, or the default socket."""

import os
import shutil
import socket
import sys
from pathlib import Path

from helpers.engine.unavailable import Unavailable
from helpers.host.apt import SYSTEM_PROGRAMS
from helpers.host.settings import own_authorities

DEFAULT_SOCKET = "/var/run/docker.sock"
OLDEST_API = (1, 40)


def connect():
    """
    Return a client on the engine that the environment names.

    SDK calls: ``docker.from_env``, ``client.version``.

    Raises:
        Unavailable: nothing answers there; its ``code`` tells the cases apart.
    """
    import docker
    import requests

    source, url = address()
    if not url:
        raise Unavailable("nowhere", f"there is no {source}", "docker context ls shows those that there are")
    known = (docker.errors.DockerException, requests.exceptions.RequestException, OSError, ValueError)
    try:
        with own_authorities():
            client = docker.from_env(timeout=10)
        client.api.trust_env = client.api.trust_env and not client.api.base_url.startswith("https:")
        version = client.version()
    except Exception as error:
        if not isinstance(error, known) and not url.startswith("ssh://"):  # paramiko, or its absence, has its own
            raise
        raise _diagnose(error, source, url) from error
    if any(part.get("Name") == "Podman Engine" for part in version.get("Components", [])):
        raise Unavailable(
            "podman",
            f"{url} (from {source}) is Podman, which answers many of Docker's calls but not all that the course shows",
            "unset DOCKER_HOST, or point it at a Docker Engine",
        )
    if tuple(int(n) for n in version["ApiVersion"].split(".")) < OLDEST_API:
        raise _too_old(url, version["ApiVersion"])
    return client


def address():
    """Return ``(source, url)``: who names the engine's address, and the address, as docker-py will choose them."""
    from docker.context import ContextAPI

    if os.environ.get("DOCKER_HOST"):
        return "DOCKER_HOST", os.environ["DOCKER_HOST"]
    try:
        url = ContextAPI.kwargs_from_context().get("base_url")
        name = os.environ.get("DOCKER_CONTEXT") or ContextAPI.get_current_context().Name
        if ContextAPI.get_context(name) is None:
            return f"docker context {name}", ""
    except Exception:  # a context that is named and does not exist, or cannot be read: docker-py will say so
        return "the docker context", os.environ.get("DOCKER_CONTEXT", "the current one")
    if url and name != "default":
        return f"the docker context {name}", url
    return "the default socket", f"unix://{DEFAULT_SOCKET}"


def _diagnose(error, source, url):
    causes = list(_causes(error))
    kinds = tuple(type(cause) for cause in causes)
    said = f"{url} (from {source}): {causes[-1]}"
    if source == "the docker context" or any(
        "context" in str(c).lower() for c in causes if "Context" in type(c).__name__
    ):
        return Unavailable(
            "nowhere", f"{source} cannot be used: {error}", "docker context ls; docker context use default"
        )
    if any("InvalidVersion" in k.__name__ for k in kinds) or "is too old" in str(error):
        return _too_old(url, error)
    if url.startswith("ssh://") and {NameError, ImportError} & set(kinds):
        said = f"{url} (from {source}): the SDK needs the package paramiko for ssh addresses"
        return Unavailable("nowhere", said, ".venv/bin/pip install paramiko, then try again")
    if PermissionError in kinds:
        return Unavailable("permission denied", said, _group_remedy())
    if FileNotFoundError in kinds and source == "the default socket":
        return _missing_or_stopped()
    if ConnectionRefusedError in kinds:
        if source == "the default socket":
            return Unavailable("refused", f"{said}; the socket is there and no engine listens on it", _start_remedy())
        return Unavailable("refused", said, f"start the engine that {source} names, or {_forget(source)}")
    return Unavailable("nowhere", said, f"correct the address, or {_forget(source)}")


def _causes(error, seen=()):
    """Walk an exception, its causes and the exceptions in its arguments: requests and urllib3 nest them."""
    if error is None or error in seen:
        return
    yield error
    seen = (*seen, error)
    inner = [a for a in getattr(error, "args", ()) if isinstance(a, BaseException)]
    for arg in getattr(error, "args", ()):
        if isinstance(arg, tuple):
            inner += [a for a in arg if isinstance(a, BaseException)]
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        inner.append(reason)
    for child in [*inner, error.__cause__, error.__context__]:
        yield from _causes(child, seen)


def _missing_or_stopped():
    desktop = Path("/Applications/Docker.app").exists() or shutil.which("Docker Desktop.exe")
    if dockerd_program() or desktop:
        return Unavailable(
            "not running", f"Docker is installed and no engine runs ({DEFAULT_SOCKET} is not there)", _start_remedy()
        )
    client_only = " (only the docker command is)" if shutil.which("docker") else ""
    return Unavailable("missing", f"no Docker Engine is installed here{client_only}", _install_remedy())


def dockerd_program():
    """Return the path of the dockerd that is installed here, or None."""
    return shutil.which("dockerd") or shutil.which("dockerd", path=SYSTEM_PROGRAMS)


def _install_remedy():
    if sys.platform == "linux":
        return "sudo apt-get install docker.io (Debian, Ubuntu), or see https://docs.docker.com/engine/install/"
    return "install Docker Desktop and start it: https://docs.docker.com/desktop/"


def _start_remedy():
    if sys.platform == "linux":
        return "sudo systemctl start docker (or, without systemd: sudo service docker start)"
    return "start Docker Desktop and wait until it says that the engine runs"


def _group_remedy():
    if sys.platform != "linux":
        return "start Docker Desktop as this user"
    import grp
    import pwd

    user = pwd.getpwuid(os.getuid()).pw_name
    try:
        group = grp.getgrnam("docker")
    except KeyError:
        return "ask the administrator of this machine for access to its Docker Engine, or run as root"
    if user in group.gr_mem and group.gr_gid not in os.getgroups():
        return f"{user} is in the docker group since the last login: log out and in again, or type: newgrp docker"
    return (
        f"sudo usermod -aG docker {user}, then log out and in again (or: newgrp docker). "
        "Whoever is in that group is as powerful as root on this machine"
    )


def _forget(source):
    return f"unset {source}" if source == "DOCKER_HOST" else "docker context use default"


def _too_old(url, said):
    oldest = ".".join(map(str, OLDEST_API))
    return Unavailable(
        "too old",
        f"{url} speaks API {said}, the course needs {oldest} (Docker Engine 19.03) or newer",
        "upgrade Docker Engine",
    )


def answers(path):
    """Return whether something accepts connections on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
