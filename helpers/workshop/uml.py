"""
User-Mode Linux: the machine's disk under a kernel that is an ordinary program, to build images on it.

Nothing is emulated, so that installing packages takes a quarter of the time that it takes in QEMU without KVM; but its
state cannot be saved. The same disk is booted with QEMU afterwards.
"""

import contextlib
import functools
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from helpers import waiting
from helpers.engine.build_cache import cache_records
from helpers.errors import CourseError
from helpers.host import mmdebstrap
from helpers.host.network import free_port
from helpers.machines import disk as machine_disk
from helpers.machines import keys, qemu
from helpers.workshop import tree

# Debian's releases to take the kernel from: the first that the mirror has. Since Linux 6.16 it catches the system calls
# of its programs by seccomp(2), which takes half the time that ptrace(2) takes.
SUITES = ("forky", "trixie")
PACKAGES = ("user-mode-linux", "squashfs-tools", "patchelf", "tar")
LIBRARIES = "usr/lib/x86_64-linux-gnu"
LOADER = "ld-linux-x86-64.so.2"
OF_SQUASH = (LOADER, "libc.so.6", "libm.so.6", "libz.so.1", "liblzma.so.5", "liblzo2.so.2", "liblz4.so.1",
             "libzstd.so.1", "libxxhash.so.0")  # fmt: skip
OF_TAR = (LOADER, "libc.so.6", "libacl.so.1", "libselinux.so.1", "libpcre2-8.so.0")
SQUASH = ("-tar", "-noappend", "-no-progress", "-comp", "zstd", "-Xcompression-level", "9", "-b", "256K")
# The containers' bridge leads outside, to QEMU's network, where each has an address of its own: without the firewall's
# rules, since dockerd calls iptables some 70 times, which takes 20 seconds. And not the host's network: BuildKit's key
# of a step says which one it had, and a build in a session, which asks for none, would not find it in the cache.
ENGINE = """
modprobe -a bridge veth
ip link add outside type bridge
ip address del 10.0.2.15/24 dev eth0
ip link set eth0 master outside
ip link set outside up
ip address add 10.0.2.15/24 dev outside
ip route add default via 10.0.2.2
engine --iptables=false --ip6tables=false --bridge=outside --fixed-cidr=10.0.2.128/25 --default-gateway=10.0.2.2
"""
STOP = """
kill $(cat /run/docker.pid 2>/dev/null) && while [ -e /run/docker.pid ]; do sleep 0.1; done
kill $(pidof containerd) && while pidof containerd; do sleep 0.1; done
killall stunnel
"""
HALT = """
fstrim /
sync
mount -o remount,ro / || { echo u > /proc/sysrq-trigger; sleep 1; grep -q " / ext4 ro" /proc/mounts; }
"""
DOWNLOADS = {"get_image": "/images/{}/get", "export": "/containers/{}/export"}  # what the SDK asks the engine for


def unpack(folder):
    """
    Put the kernel ``linux.uml``, ``mksquashfs`` and a disk with modules, and tar, for the kernel into a folder.

    They are of a newer Debian than this computer may have, and bring its C library.
    """
    with_it, lib = _unpacked(folder / "uml"), folder / "lib"
    _copy([with_it / LIBRARIES / name for name in OF_SQUASH], lib)
    patchelf = [with_it / LIBRARIES / LOADER, "--library-path", with_it / LIBRARIES, with_it / "usr/bin/patchelf"]
    for name in ("linux.uml", "mksquashfs"):
        shutil.move(with_it / "usr/bin" / name, folder)
        for option, value in (("--set-interpreter", lib / LOADER), ("--set-rpath", lib)):
            subprocess.run([*patchelf, option, value, folder / name], check=True)
    home = next((with_it / "usr/lib/uml/modules").iterdir())
    tree.keep_modules(home)
    _copy([with_it / "usr/bin/tar", *(with_it / LIBRARIES / name for name in OF_TAR)], home / "tools")
    tree.file_system(home, folder / "modules.img", "200M")
    shutil.rmtree(with_it)


def _unpacked(root):
    """Unpack the packages of the first release that there is; return where."""
    for suite in SUITES:
        main = (mmdebstrap.sources(suite) or [f"deb http://deb.debian.org/debian {suite} main"])[0]
        source = main.replace("deb ", "deb [check-valid-until=no] ", 1)  # the mirror may be one that stands still
        options = ["--mode=chrootless", "--variant=extract", f"--include={','.join(PACKAGES)}"]
        try:
            command = ["mmdebstrap", *options, *mmdebstrap.keyring(), suite, str(root), source]
            mmdebstrap.run(command, f"unpacking User-Mode Linux of {suite}")
            return root
        except CourseError as error:
            if suite == SUITES[-1]:
                raise
            print(f"{error}\nGoing on with an older release.", flush=True)
            shutil.rmtree(root, ignore_errors=True)


def _copy(files, folder):
    folder.mkdir()
    for file in files:
        shutil.copy(file, folder)


@contextlib.contextmanager
def engine(kernels, disk, session, layers=None):
    """
    Give a client on the engine of a machine; in the end, halt it, and all that was made is on its disk.

    With ``layers``, a file, the layers of all images go there in the end, as a file system of its own.
    """
    port = free_port()
    machine = Machine(kernels, disk, session, ((port, keys.INSIDE),))
    try:
        machine.control.wait_until_ready()
        machine.control(ENGINE)
        qemu.wait_for_engine(machine.control, machine.process)
        keys.give_to_guest(machine.control, keys.make(session))
        keys.wait_for_engine(session, port, machine.control)
        client = keys.client(session, port)
        for name, path in DOWNLOADS.items():
            setattr(client.api, name, functools.partial(_download, machine, path))
        yield client
        _forget_contexts(client)
        machine.control(STOP)
        if layers:
            _squash(machine, kernels / "mksquashfs", layers)
        machine.control(HALT)
    finally:
        machine.end()


def _forget_contexts(client):
    """
    Have BuildKit forget the contexts that were sent, and the caches that steps write to (``RUN --mount=type=cache``).

    A finished step does not need them; and they are written to, which layers on a disk of their own cannot be.
    """
    for record in cache_records(client):
        sent = record["Description"].startswith(("http url http://build-context", "copy /context"))
        if sent or record["Type"] not in ("regular", "internal", "frontend"):
            client.api.prune_builds(filters={"id": record["ID"]}, all=True)


def _download(machine, path, what, chunk_size=None):
    """Yield a large file that the engine makes, three times as fast as through the guest's network."""
    name = what["Id"] if isinstance(what, dict) else what
    request = rf"printf 'GET {path.format(name)} HTTP/1.0\r\n\r\n' | socat -t 600 -b 65536 - UNIX:/run/docker.sock"
    pieces, head = machine.output(request), b""
    while b"\r\n\r\n" not in head:
        head += next(pieces)
    head, _, body = head.partition(b"\r\n\r\n")
    if b" 200 " not in head.splitlines()[0]:
        said = b"".join([body, *pieces]).decode(errors="replace")
        raise qemu.Refused(f"asking the engine for {name}", said, "see its console")
    yield body
    yield from pieces


def _squash(machine, program, target):
    """Put the layers of all images into a file system of its own, compressed, and equal files only once."""
    log = machine.session / "squash.log"
    command = [program, "-", target, *SQUASH, "-processors", str(len(os.sched_getaffinity(0)))]
    with log.open("w") as said:
        squashing = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=said)
    with squashing, contextlib.suppress(BrokenPipeError):  # where it ended early, the log has why
        for piece in machine.output("layers pack | cat"):  # tar itself does not write to a terminal
            squashing.stdin.write(piece)
    if squashing.returncode:
        raise CourseError(f"writing {target.name}", log.read_text()[-500:], "free disk space, then try again")
    machine.control("layers link")


class Machine:
    """One running User-Mode Linux: ``process``, ``control``, ``output``; its way to the network ends with it."""

    def __init__(self, kernels, disk, session, forwards):
        session.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.session = session
        network, network_inside = _pair()
        control, control_inside = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.pipe, pipe_inside = os.pipe()
        self.network = _start_network(network, session, forwards)
        words = [
            f"mem={machine_disk.BUILD_MEMORY_MB}M", f"ubd0={disk}", f"ubd1r={kernels / 'modules.img'}",
            "root=/dev/ubda", "rw", "init=/usr/sbin/init",
            "seccomp=auto", "con=null", "con0=null,fd:1", f"ssl0=fd:{control_inside.fileno()}",
            f"ssl1=fd:{pipe_inside}", f"uml_dir={session}", "umid=machine", "course.role=none",
            f"vec0:transport=fd,fd={network_inside.fileno()},depth=128,mac=52:54:00:12:34:56",
        ]  # fmt: skip
        memory = machine_disk.SHARED_MEMORY if machine_disk.memory_as_files() else session
        with (session / "console").open("w") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", str(kernels / "linux.uml"), *words],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                pass_fds=[network_inside.fileno(), control_inside.fileno(), pipe_inside],
                env={**os.environ, "TMPDIR": str(memory)},
            )  # fmt: skip
        for end in (network, network_inside, control_inside):
            end.close()
        os.close(pipe_inside)
        self.control = qemu.Control(control, seconds=waiting.BUILD_STEP_SECONDS)

    def output(self, script):
        """Yield what a script in the guest prints, piece by piece, at some 50 MB a second."""
        pieces = self._pieces(script)
        try:
            for piece in pieces:  # noqa: UP028 ("yield from" would close the inner one, unread)
                yield piece
        finally:
            for _ in pieces:  # the guest waits until all has been read
                pass

    def _pieces(self, script):
        while select.select([self.pipe], [], [], 0)[0] and os.read(self.pipe, 1 << 20):
            pass  # of a script that failed
        end, held = secrets.token_hex(16).encode(), b""
        line = f"stty -F /dev/ttyS1 raw -echo && {{ set -o pipefail; {script} && printf {end.decode()}; }} > /dev/ttyS1"
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(self.control, line)
            while not held.endswith(end):
                if asked.done():
                    asked.result()  # raises, where the script failed
                if select.select([self.pipe], [], [], 0.1)[0]:
                    held += os.read(self.pipe, 1 << 20)
                    yield held[: -len(end)]
                    held = held[-len(end) :]

    def end(self):
        """End at once, with the processes that play the guest's; one of them holds the disk."""
        os.close(self.pipe)
        self.network.kill()
        self.network.wait()
        deadline = time.monotonic() + waiting.ENGINE_STOP_SECONDS
        with contextlib.suppress(ProcessLookupError):
            while time.monotonic() < deadline:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
                time.sleep(0.05)


def _start_network(cable, session, forwards):
    """Start a QEMU without a machine, which gives the guest at the other end of a cable its way to the network."""
    forwarding = "".join(f",hostfwd=tcp:127.0.0.1:{outside}-:{inside}" for outside, inside in forwards)
    with (session / "network.log").open("w") as log:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", qemu.PROGRAM, "-machine", "none", "-nodefaults", "-display", "none",
             "-netdev", f"user,id=net{forwarding}", "-netdev", "hubport,id=hub0,hubid=0,netdev=net",
             "-netdev", f"dgram,id=guest,local.type=fd,local.str={cable.fileno()}",
             "-netdev", "hubport,id=hub1,hubid=0,netdev=guest"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[cable.fileno()],
        )  # fmt: skip


def _pair():
    """Return two ends of a cable: what one sends as a datagram, the other receives."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in ends:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            end.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
    return ends
