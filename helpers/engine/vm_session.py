"""The session of the virtual machine: what its supervisor writes down, and whoever uses its engine reads."""

import contextlib
import json
import shutil

from helpers import waiting
from helpers.machines import disk, keys

LITTLE_DISK_BYTES = 64e6  # with fewer, a machine that waits for space would have to wait again at once


def folder():
    """Return the folder of the session: sockets, keys, a disk with what was changed."""
    return disk.folder() / "session"


def address():
    """Return the engine's address while a session runs, or None."""
    return record().get("address")


def record():
    """Return what the supervisor wrote down when the machine had its keys, or nothing."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads((folder() / "ready.json").read_text())
    return {}


def variables():
    """Return what the docker command needs in its environment to reach the engine."""
    return {"DOCKER_HOST": address(), "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(folder())}


def is_ours(client):
    """Return whether a client speaks to the engine in the course's virtual machine."""
    return address() is not None and client.api.base_url == address().replace("tcp:", "https:")


def client():
    """Return a ``docker.DockerClient`` with this session's keys."""
    return keys.client(folder(), port(), record().get("version"))


def port():
    """Return the port of the engine on this computer."""
    return int((address() or ":0").rpartition(":")[2])  # nothing answers at 0


def free_disk_bytes():
    """Return the bytes that are free on the disk that holds the machine."""
    return shutil.disk_usage(disk.folder()).free


def disk_is_full():
    """Return whether QEMU halts the machine, or would halt it again at once."""
    return free_disk_bytes() < LITTLE_DISK_BYTES


def write(path, content):
    """Write JSON so that a reader sees all of it or nothing."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(content))
    unfinished.rename(path)


def taken_ports(container):
    """
    Return the published ports of a container that another program of this computer has; wait until that is known.

    SDK calls: ``container.reload``, ``container.attrs``.
    """
    container.reload()
    bindings = container.attrs["NetworkSettings"]["Ports"] or {}
    wanted = {
        f"{inside.partition('/')[2]}:127.0.0.1:{binding['HostPort']}"
        for inside, outside in bindings.items()
        for binding in outside or []
        if ":" not in binding["HostIp"]
    }
    waiting.until(lambda: wanted <= _forwarded().keys(), waiting.FORWARD_SECONDS, pause=0.02)
    return sorted(outside.rpartition(":")[2] for outside in wanted if _forwarded().get(outside))


def _forwarded():
    """Return the ports that were opened on this computer, each with QEMU's words where that failed."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads((folder() / "ports.json").read_text())
    return {}
