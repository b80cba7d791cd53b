"""
Start a Docker Engine from a root file system of its own, beside whatever engine this computer has: Linux, as root.

It shares this computer's network. Its bridge and addresses are its own, and it writes no firewall rules: another
engine's would suffer. Three rules of iptables give its containers the network and go with it. Published ports are
docker-proxy's work, and its networks are not kept apart from each other.
"""

import contextlib
import fcntl
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import zlib
from pathlib import Path

import docker

from helpers import waiting
from helpers.errors import CourseError
from helpers.host import apt, settings

NETWORKS = Path("/run/docker-course-networks.lock")
POSSIBLE = ipaddress.ip_network("10.192.0.0/10")  # each engine takes a /16 of these where no route leads yet
LABEL = "org.docker-course.rehearsal"  # the engine tells it, so that tests know that nobody else uses it
RESOLVED = Path("/run/systemd/resolve/resolv.conf")  # what /etc/resolv.conf leaves out where systemd-resolved runs
NAMESPACES = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child=TERM")
ENGINE = """
    root=$0 outside=$1
    read -r pid rest < /proc/self/stat  # this /proc is still the one outside, with the number that holds there
    echo "$pid" > "$outside/pid"
    mount --make-rprivate /
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/run"
    mount -t tmpfs tmpfs "$root/tmp"
    mkdir -p "$root/run/outside" "$root/var/lib/docker"
    mount --bind "$outside" "$root/run/outside"
    mount --bind "$outside/data" "$root/var/lib/docker"
    cd "$root"
    pivot_root . mnt
    export PATH=/usr/sbin:/usr/bin:/sbin:/bin
    umount --lazy /mnt
    exec tini -- dockerd --config-file /run/outside/daemon.json
"""


@contextlib.contextmanager
def engine(root, folder, containerd, fresh=False):
    """
    Give the address of an engine from a root file system, for the time of a with block.

    ``folder`` keeps its data, socket and log; ``containerd`` chooses containerd's image store; ``fresh`` deletes
    what an earlier engine kept.

    Raises:
        CourseError: another process has an engine in this folder, or dockerd ended; with its last words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock, (folder / "log").open("w") as log:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CourseError(f"an engine in {folder}", "another process has one there", "wait until it ends") from None
        if fresh:
            shutil.rmtree(folder / "data", ignore_errors=True)
        (folder / "data").mkdir(exist_ok=True)
        bridge = _bridge(folder)
        with NETWORKS.open("w") as networks:  # two that start at once would take the same
            fcntl.flock(networks, fcntl.LOCK_EX)
            network = _own_network(folder)
            _add_network(bridge, network)
        try:
            features = {"containerd-snapshotter": containerd}
            words = json.dumps({**_settings(bridge, network), "features": features}, indent=2)
            (folder / "daemon.json").write_text(words)
            (folder / "docker.sock").unlink(missing_ok=True)
            _copy_host_settings(root)
            command = [*NAMESPACES, "sh", "-ec", ENGINE, str(root), str(folder)]
            process = subprocess.Popen(  # Ctrl-C is for who uses the engine, which ends afterwards
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
            try:
                yield _answering(process, folder)
            finally:
                _end(process, folder)
        finally:
            _remove_network(bridge, network)


def refuse_in_use(root):
    """Raise CourseError where a program runs from a root file system, as an engine does."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if root.samefile(process / "root"):
                raise CourseError(f"making {root} again", f"process {process.name} runs from it", "end that first")


def _settings(bridge, network):
    """Return what daemon.json says beside the image store."""
    return {
        "hosts": ["unix:///run/outside/docker.sock"],
        "labels": [f"{LABEL}=1"],
        "group": "root",
        "bridge": bridge,
        "iptables": False,
        "ip6tables": False,
        "ip-masq": False,
        "default-address-pools": [{"base": str(list(network.subnets())[1]), "size": 24}],
    }


def _answering(process, folder):
    """Return the address of an engine once it answers."""
    path = folder / "docker.sock"
    waiting.until(lambda: path.exists() or process.poll() is not None, waiting.ENGINE_START_SECONDS)
    if not path.exists():
        tail = "\n".join((folder / "log").read_text().splitlines()[-5:])
        raise CourseError("starting dockerd", f"it ended before it answered: {tail}", f"read {folder / 'log'}")
    address = f"unix://{path}"
    with contextlib.closing(docker.DockerClient(base_url=address, timeout=waiting.ENGINE_START_SECONDS)) as client:
        client.ping()
    return address


def _end(process, folder):
    """Stop an engine and its containers."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError, ValueError):
        os.kill(int((folder / "pid").read_text()), signal.SIGTERM)
    try:
        process.wait(waiting.ENGINE_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    (folder / "pid").unlink(missing_ok=True)


def _copy_host_settings(root):
    """Copy what the engine must know of this computer: names of hosts, and certificate authorities."""
    copies = {"etc/hosts": Path("/etc/hosts"), "etc/resolv.conf": Path("/etc/resolv.conf")}
    if RESOLVED.exists():
        copies["etc/resolv.conf"] = RESOLVED
    if bundle := settings.certificate_bundle():
        copies["etc/ssl/certs/ca-certificates.crt"] = bundle
    for name, source in copies.items():
        unfinished = root / f"{name}.{os.getpid()}"  # another engine may have started from this root
        shutil.copy(source, unfinished)
        unfinished.rename(root / name)


def _bridge(folder):
    """Return the name of an engine's bridge, in 15 signs, as many as the kernel takes."""
    return f"beside-{zlib.crc32(str(folder).encode()):08x}"


def _own_network(folder):
    """Return the network of an engine: the one that it had, or the first where no route of this computer leads."""
    file = folder / "network"
    last = ipaddress.ip_network(file.read_text()) if file.exists() else None
    _run("ip", "link", "delete", _bridge(folder), check=False)  # of an engine that was killed
    shown = subprocess.run(["ip", "-json", "-4", "route"], check=True, capture_output=True, text=True).stdout
    taken = [ipaddress.ip_network(route["dst"]) for route in json.loads(shown) if route["dst"] != "default"]
    if last and not any(last.overlaps(other) for other in taken):
        _remove_network(_bridge(folder), last)
    networks = [*([last] if last else []), *POSSIBLE.subnets(new_prefix=16)]
    network = next(one for one in networks if not any(one.overlaps(other) for other in taken))
    # an engine that remembers its networks deletes docker0 as it starts, also where another engine has that
    shutil.rmtree(folder / "data" / "network", ignore_errors=True)
    file.write_text(str(network))
    return network


def _rules(network):
    """Return the rules of iptables that give an engine's containers the network: table, and the rest."""
    inside = str(network)
    return [
        (["--table", "nat"], ["POSTROUTING", "--source", inside, "!", "--destination", inside, "--jump", "MASQUERADE"]),
        ([], ["FORWARD", "--source", inside, "--jump", "ACCEPT"]),
        ([], ["FORWARD", "--destination", inside, "--jump", "ACCEPT"]),
    ]


def _add_network(bridge, network):
    """Add a bridge with an address in a network, and the rules."""
    # without a MAC of its own, a bridge changes it as containers come and go, and the others lose their way out
    mac = f"02:42:{bytes(map(int, str(network[1]).split('.'))).hex(':')}"
    _run("ip", "link", "add", "name", bridge, "address", mac, "type", "bridge")
    _run("ip", "address", "add", f"{network[1]}/24", "dev", bridge)
    for table, rule in _rules(network):
        _run("iptables", "--wait", *table, "--insert", *rule)


def _remove_network(bridge, network):
    """Delete an engine's rules and its bridges, with that of each network that it made, as far as they are there."""
    for table, rule in _rules(network):
        while _run("iptables", "--wait", *table, "--delete", *rule, check=False):
            pass
    shown = subprocess.run(["ip", "-json", "-4", "address"], check=True, capture_output=True, text=True).stdout
    for link in json.loads(shown):
        inside = any(ipaddress.ip_address(one["local"]) in network for one in link.get("addr_info", ()))
        if inside and link["ifname"].startswith("br-"):  # another engine may have taken this network meanwhile
            _run("ip", "link", "delete", link["ifname"], check=False)
    _run("ip", "link", "delete", bridge, check=False)


def _run(*command, check=True):
    """Run a program of the system; return whether it succeeded."""
    path = f"{os.environ.get('PATH', os.defpath)}:{apt.SYSTEM_PROGRAMS}"
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    if check and done.returncode:
        raise CourseError(" ".join(command), done.stderr, "correct that, then try again")
    return done.returncode == 0
