"""A Docker Engine: one that runs already, or one that the course starts. ``connect`` tries them in turn."""

import contextlib
import os
import stat
from pathlib import Path

from helpers.engine import dockerd, running, vm
from helpers.engine.unavailable import Unavailable
from helpers.errors import CourseError

ROOT = Path(__file__).parents[2]
WAYS = {"running": running.connect, "dockerd": dockerd.connect, "vm": vm.connect}


def connect(kind=None):
    """
    Return a ``docker.DockerClient`` on the first engine that answers, and print which one it is.

    ``kind`` (or the variable COURSE_ENGINE) takes one way only: ``running`` is the engine that DOCKER_HOST, the docker
    context or the default socket names; ``dockerd`` is a private one that the course starts, on Linux as root; ``vm``
    is one in a virtual machine, on Linux as anybody.
    SDK calls: ``docker.from_env`` or ``docker.DockerClient``, then ``client.version`` and ``client.info``.

    Raises:
        CourseError: no way led to an engine; the text lists each way, why it failed and what to do.

    Example::

        client = connect()
    """
    client, kind = find(kind)
    print(describe(client, kind))
    return client


def find(kind=None, tidy=True):
    """
    Return ``(client, kind)`` of the first engine that answers; print only what an explicit choice came to.

    Unless told not to ``tidy``, containers of the course whose hour is over are removed.
    """
    kind = kind or os.environ.get("COURSE_ENGINE")
    if kind and kind not in WAYS:
        raise CourseError(f"COURSE_ENGINE={kind} is unknown; next: choose one of {', '.join(WAYS)}, or unset it")
    _same_modes()
    failures = {}
    for name in [kind] if kind else WAYS:
        try:
            client = WAYS[name]()
        except Unavailable as error:
            failures[name] = error
        else:
            passed = failures.get("running")
            if passed and (running.address()[0] != "the default socket" or (name == "vm" and passed.code != "missing")):
                print(f"{passed.reason}: another way is taken (to change that: {passed.remedy})")
            client.api.timeout = 600  # a slow laptop: one answer may take minutes
            if tidy:
                from helpers.cleaning import remove_expired

                remove_expired(client)
            return client, _kind(client)
    lines = [f"  {name}: {error.reason}\n    next: {error.remedy}" for name, error in failures.items()]
    raise CourseError("no Docker Engine could be reached. Tried:\n" + "\n".join(lines))


def _same_modes():
    """Give all that is built the modes that git means, whatever the umask was: they count in a build's cache."""
    for top in (ROOT / "notebooks" / "apps", ROOT / "helpers" / "bases"):
        for path in top.rglob("*"):
            mode = path.stat().st_mode
            wanted = 0o755 if path.is_dir() or mode & 0o100 else 0o644
            if stat.S_IMODE(mode) != wanted:
                with contextlib.suppress(PermissionError):  # another user's: as it is
                    path.chmod(wanted)


def _kind(client):
    """Return by which way a client came: an address in the environment may be that of an engine of the course."""
    if vm.is_ours(client):
        return "vm"
    return "dockerd" if dockerd.is_ours(client) else "running"


def variables(kind):
    """Return what a terminal's docker command needs in its environment to reach the course's own engine."""
    return {"dockerd": lambda: {"DOCKER_HOST": dockerd.socket_url()}, "vm": vm.variables}.get(kind, dict)()


def refused(container):
    """Return the published ports of a container that another program of this computer has, which a VM cannot know."""
    return vm.refused(container) if vm.is_ours(container.client) else []


def disk(client):
    """Return the folder of the engine's images where it lies on a disk of this computer, else None."""
    info = client.info()
    root = Path(info["DockerRootDir"])
    local = client.api.base_url.startswith("http+docker") and "Desktop" not in info["OperatingSystem"]
    return root if local and root.exists() else None


def describe(client, kind):
    """Return one line about an engine: version, API, system, and the way that led to it."""
    info = client.info()
    return (
        f"Docker Engine {info['ServerVersion']}, API {client.api.api_version}, on {info['OperatingSystem']}, "
        f"{info['OSType']}/{info['Architecture']}. Way in: {kind}."
    )
