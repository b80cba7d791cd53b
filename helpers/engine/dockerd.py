"""A private dockerd on Linux, as root: own data, own socket, own bridge, all under the course's state folder."""

import contextlib
import hashlib
import ipaddress
import json
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

from helpers import state, waiting
from helpers.engine import running, supervisor
from helpers.engine.unavailable import Unavailable
from helpers.errors import CourseError
from helpers.host import apt, settings

KEPT_SETTINGS = (
    "registry-mirrors",
    "insecure-registries",
    "proxies",
    "dns",
    "mtu",
    "default-address-pools",
    "storage-driver",
)
USUAL_POOLS = [{"base": f"172.{number}.0.0/16", "size": 16} for number in range(17, 32)]  # the engine's own default


def folder():
    """Return the folder of the private engine."""
    path = state.folder() / "engine"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def socket_url():
    """Return the private engine's address."""
    return f"unix://{folder() / 'docker.sock'}"


def is_ours(client):
    """Return whether a client speaks to the private engine."""
    return client.api.base_url == "http+docker://localhost" and client.info()["DockerRootDir"] == str(folder() / "data")


def connect():
    """
    Return a client on the private engine, started if need be; it is stopped after the last process that uses it.

    SDK calls: ``docker.DockerClient(base_url=…)``, ``client.ping``.

    Raises:
        Unavailable: not Linux, not root, another engine runs beside it, or dockerd ended; with its last words.
    """
    import docker

    _check()
    if not running.dockerd_program():
        try:
            apt.install("docker.io", why="no Docker Engine is installed")
            if others := apt.known("docker-cli", "docker-buildx"):
                apt.install(*others, why="the docker command and buildx are packages of their own here")
        except CourseError as error:
            raise Unavailable(
                "missing", str(error), "install Docker Engine: https://docs.docker.com/engine/install/"
            ) from error
        with contextlib.suppress(Unavailable):
            return running.connect()  # where systemd runs, installing the package has started its service
    supervisor.hold(folder())
    with state.Lock(folder() / "start.lock"):
        path = folder() / "docker.sock"
        if not running.answers(path):
            _start(path)
    return docker.DockerClient(base_url=socket_url(), timeout=60)


def look():
    """
    Return a client on the private engine if it runs, or None where ``connect`` can start it; start nothing.

    Raises:
        Unavailable: as ``connect``.
    """
    import docker

    _check()
    if running.answers(folder() / "docker.sock"):
        return docker.DockerClient(base_url=socket_url(), timeout=60)
    if not running.dockerd_program() and not apt.available():
        raise Unavailable(
            "missing", "no dockerd is installed", "install Docker Engine: https://docs.docker.com/engine/install/"
        )
    return None


def _check():
    """Raise Unavailable where no private dockerd can be: not Linux, not root, or beside another engine."""
    if sys.platform != "linux":
        raise Unavailable(
            "missing",
            "a private dockerd needs Linux",
            "install Docker Desktop (macOS, Windows), or work in WSL2 (Windows)",
        )
    if os.geteuid() != 0:
        raise Unavailable("permission denied", "only root can start a dockerd", "sudo python3 -m helpers lab")
    if running.answers(running.DEFAULT_SOCKET):
        raise Unavailable(
            "failed",
            f"a Docker Engine is running already ({running.DEFAULT_SOCKET}); a second would rewrite its firewall rules",
            "use that one: unset COURSE_ENGINE and DOCKER_HOST",
        )


def _start(path):
    if len(str(path)) > 80:  # containerd's are 26 longer, and 107 is the most
        raise Unavailable("failed", f"{path} is too long for a Unix socket", "set XDG_STATE_HOME to a shorter folder")
    here = folder()
    (here / "daemon.json").write_text(json.dumps(_settings(path), indent=2))
    _clear_after_a_killed_engine(here)
    log_file = here / "dockerd.log"
    process = supervisor.start("from helpers.engine import dockerd; dockerd.supervise()", log_file)
    waiting.until(lambda: process.poll() is not None or _ping(path), waiting.ENGINE_START_SECONDS)
    if not _ping(path):
        if pid():
            supervisor.end(pid())
        supervisor.end(process.pid)
        tail = "\n".join(log_file.read_text().splitlines()[-5:])
        raise Unavailable("failed", f"dockerd ended before it answered: {tail}", f"read {log_file}")
    path.chmod(0o600)


def _settings(path):
    """Return the content of daemon.json: this machine's network settings, and folders of the engine's own."""
    here, kept = folder(), _settings_of_this_machine()
    has_bridge = shutil.which("ip") and _add_bridge(kept.get("default-address-pools", USUAL_POOLS))
    return {
        **kept,
        "data-root": str(here / "data"),
        "exec-root": str(here / "exec"),
        "pidfile": str(here / "docker.pid"),
        "hosts": [f"unix://{path}"],
        "group": "root",
        "features": {
            "buildkit": True,  # so that docker build in a terminal takes it, as it does by itself since 23
            "containerd-snapshotter": False,  # Engine 29 keeps images in a containerd of this computer's, shared by all
        },
        **({"bridge": bridge()} if has_bridge else {}),
    }


def _ping(path):
    import docker
    import requests

    if not running.answers(path):
        return False
    try:
        return docker.DockerClient(base_url=f"unix://{path}", timeout=5).ping()
    except (docker.errors.DockerException, requests.exceptions.RequestException):
        return False


def _settings_of_this_machine():
    """Return what /etc/docker/daemon.json says of mirrors, proxies, networks: a classroom's settings hold here too."""
    try:
        settings = json.loads(Path("/etc/docker/daemon.json").read_text())
    except (OSError, ValueError):
        return {}
    return {key: settings[key] for key in KEPT_SETTINGS if key in settings}


def bridge():
    """Return the name of the private engine's bridge: its own, since two state folders may each have an engine."""
    return f"course-{zlib.crc32(str(folder()).encode()):08x}"  # 15 signs, as many as the kernel takes


def _add_bridge(pools):
    """Add the bridge, with an address in a network that leads nowhere yet; return whether it could be added."""
    _delete_bridge()  # of an engine that was killed
    file = folder() / "address"
    last = file.read_text() if file.exists() else None
    address = _free_address(pools, last)
    if address != last:  # else the engine would go back to the network that it remembers
        shutil.rmtree(folder() / "data" / "network", ignore_errors=True)
    # without a MAC of its own, a bridge changes it as containers come and go, and the others lose their way out
    mac = f"02:42:{hashlib.sha256(str(folder()).encode()).digest()[:4].hex(':')}"
    commands = [["ip", "link", "add", "name", bridge(), "address", mac, "type", "bridge"]]
    if address:
        file.write_text(address)
        commands.append(["ip", "address", "add", address, "dev", bridge()])
    return all(subprocess.run(command, capture_output=True).returncode == 0 for command in commands)


def _free_address(pools, last):
    """Return an address in the last or the first network where no route of this computer leads, or None."""
    shown = subprocess.run(["ip", "-json", "-4", "route"], capture_output=True, text=True).stdout
    taken = [ipaddress.ip_network(route["dst"]) for route in json.loads(shown or "[]") if route["dst"] != "default"]
    networks = [ipaddress.ip_interface(last).network] if last else []
    for pool in pools:
        if ":" not in pool["base"]:
            networks += ipaddress.ip_network(pool["base"]).subnets(new_prefix=pool["size"])
    free = (network for network in networks if not any(network.overlaps(other) for other in taken))
    return next((f"{network[1]}/{network.prefixlen}" for network in free), None)


def _delete_bridge():
    if shutil.which("ip"):
        subprocess.run(["ip", "link", "delete", bridge()], capture_output=True)


def pid():
    """Return the process id of the private dockerd, or None when it does not run."""
    return supervisor.alive(folder() / "docker.pid", str(folder() / "daemon.json"))


def _clear_after_a_killed_engine(here):
    """End the containerd of a dockerd that was killed: a new one would wait for it; and remove their pid files."""
    containerd = here / "exec" / "containerd" / "containerd.pid"
    if number := supervisor.alive(containerd, str(here)):
        supervisor.end(number)
    for file in (containerd, here / "docker.pid"):
        file.unlink(missing_ok=True)


def stop():
    """Stop the private engine and its containers; return whether one ran."""
    if not exists():
        return False
    with state.Lock(folder() / "start.lock"):
        number = pid()
        if number:
            supervisor.end(number)
            _delete_bridge()
        return bool(number)


def exists():
    """Return whether there is a private engine, or what it left."""
    return any((state.folder() / "engine" / name).exists() for name in ("daemon.json", "data"))


def remove():
    """
    Stop the private engine and delete all its data; return whether there was one.

    Raises:
        CourseError: JupyterLab, a test or another process of the course still uses it.
    """
    if not exists():
        return False
    with supervisor.unused(folder(), "the course's engine"):
        stop()
        _unmount_below(folder())
        try:
            shutil.rmtree(folder())
        except OSError as error:
            remedy = "restart the computer, then python3 -m helpers clean"
            raise CourseError(f"removing {folder()}", error, remedy) from None
    return True


def _unmount_below(path):
    """Let go what the engine's containers had mounted, such as the network that a container shared with the host."""
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted(mounted, reverse=True):
        if Path(point).is_relative_to(path):
            subprocess.run(["umount", "--lazy", point], capture_output=True)


def supervise():
    """Run dockerd until no process uses it any more; one that comes while it is being stopped waits in ``hold``."""
    here = folder()
    variables = {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:{apt.SYSTEM_PROGRAMS}"}
    if bundle := settings.certificate_bundle():
        variables["SSL_CERT_FILE"] = str(bundle.absolute())  # for a registry behind a proxy that inspects TLS
    daemon = subprocess.Popen(["dockerd", "--config-file", str(here / "daemon.json")], env=variables)
    with (here / "users.lock").open("w") as users:
        if not supervisor.still_used(daemon, users):
            supervisor.end(daemon.pid)
            daemon.wait()
            _delete_bridge()
