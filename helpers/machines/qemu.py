"""QEMU: its command line, its monitor, the control port into the guest. No file of the course is named here."""

import base64
import contextlib
import functools
import json
import re
import secrets
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

from helpers import waiting
from helpers.errors import CourseError

PROGRAM = "qemu-system-x86_64"
KERNEL_OPTIONS = (
    "root=/dev/vda console=hvc0 quiet mitigations=off apparmor=0 audit=0 panic=-1 8250.nr_uarts=0 "
    # what TCG has translated of a program is of use the next time that it runs
    "norandmaps "
    # what costs more under TCG than it is worth here: setting timers, clearing memory twice, large pages, other models
    # of security than Docker's
    "highres=off nowatchdog init_on_alloc=0 transparent_hugepage=never hardened_usercopy=off psi=0 lsm=capability"
)
# TCG's time stamp counter is the computer's own: on another computer than that on which a state was saved, a clock that
# counts it would go wrong.
CLOCK = {"tcg": "clocksource=hpet", "kvm": "tsc=reliable"}
CPU = {"tcg": "max,erms=off,fsrm=off", "kvm": "host"}  # TCG copies byte by byte what these two have a processor copy
# of host memory at most, for what TCG has translated: with half of it, the engine takes half as long again;
# with more, JupyterLab, a notebook and this would not fit into 2 GB.
TRANSLATIONS_MB = {"engine": 320, "web": 48}
LISTENS = "0"  # the name in the line that a guest sends when it has opened its port
SCRIPT_CHARACTERS = 2800  # in base64, a terminal's line of input takes no more


class Refused(CourseError):
    """The monitor, or the guest, said no."""


def identity():
    """Return what tells one QEMU from another, without starting it: where its program lies, its size, its time."""
    path = Path(shutil.which(PROGRAM)).resolve()
    facts = path.stat()
    return [str(path), facts.st_size, int(facts.st_mtime)]


@functools.cache
def version():
    """Return QEMU's version, such as ``7.2.22``."""
    said = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True).stdout
    return re.search(r"version ([\d.]+)", said)[1]


def command(folder, machine, role, memory, disk, *, cpus=1, accelerator="tcg", incoming=None, forwards=(), layers=None):
    """
    Return the command line of one virtual machine.

    ``folder`` is where its sockets and its console go; ``machine`` the folder with ``vmlinuz`` and ``initrd``;
    ``memory`` is in MB. A saved state is tied to all of this but the paths.
    """
    forwarding = "".join(f",hostfwd=tcp:127.0.0.1:{outside}-:{inside}" for outside, inside in forwards)
    tcg = f"tcg,thread=multi,tb-size={TRANSLATIONS_MB[role]}"
    return [
        PROGRAM, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-name", "docker-course",
        "-machine", "q35", "-accel", tcg if accelerator == "tcg" else accelerator,
        "-cpu", CPU[accelerator], "-smp", str(cpus), "-m", f"{memory}M",
        "-kernel", str(machine / "vmlinuz"), "-initrd", str(machine / "initrd"),
        "-append", f"{KERNEL_OPTIONS} {CLOCK[accelerator]} course.role={role}",
        "-drive", f"if=none,id=disk,file={disk},format=qcow2,cache=unsafe,discard=unmap,detect-zeroes=unmap",
        "-device", "virtio-blk-pci,drive=disk",
        *(["-drive", f"if=none,id=layers,file={layers},format=raw,readonly=on",
           "-device", "virtio-blk-pci,drive=layers"] if layers else []),
        "-netdev", f"user,id=net{forwarding}", "-device", "virtio-net-pci,netdev=net,romfile=",
        "-device", "virtio-rng-pci", "-device", "virtio-balloon-pci,free-page-reporting=on",
        "-device", "vmgenid,guid=auto",
        "-device", "virtio-serial-pci",
        "-chardev", f"file,id=console,path={folder / 'console'}", "-device", "virtconsole,chardev=console",
        "-chardev", f"socket,id=control,path={folder / 'control'},server=on,wait=off",
        "-device", "virtserialport,chardev=control,name=control",
        "-qmp", f"unix:{folder / 'monitor'},server=on,wait=off",
        *(["-incoming", incoming] if incoming else []),
    ]  # fmt: skip


def start(command, folder):
    """Start QEMU so that it ends with this process, however that ends; return its ``subprocess.Popen``."""
    with (folder / "qemu.log").open("w") as log:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def end(process):
    """Kill a QEMU, and wait until it is gone."""
    process.kill()
    process.wait()


class Monitor:
    """QEMU's monitor (QMP): commands as JSON over a Unix socket."""

    def __init__(self, folder, process):
        self.socket = connect(folder / "monitor", process)
        self.socket.settimeout(
            waiting.STATE_SECONDS
        )  # it is silent while it loads or saves a state, on a busy computer
        self.file = self.socket.makefile("rw")
        self.file.readline()  # its greeting
        self.one_at_a_time = threading.Lock()
        self("qmp_capabilities")

    def __call__(self, command, **arguments):
        """Carry out one command; return its answer. Threads may share a monitor."""
        with self.one_at_a_time:
            for answer in self._answers({"execute": command, "arguments": arguments}):
                if "return" in answer:
                    return answer["return"]
                if "error" in answer:
                    raise Refused(f"QEMU's monitor: {command}", answer["error"]["desc"], "read QEMU's log")
        raise Refused(f"QEMU's monitor: {command}", "QEMU ended, or is silent", "read QEMU's log")

    def _answers(self, order):
        """Send an order; yield what comes, until QEMU ends."""
        with contextlib.suppress(OSError):
            self.file.write(json.dumps(order) + "\n")
            self.file.flush()
            for line in self.file:
                yield json.loads(line)

    def line(self, text):
        """Carry out a line of the human monitor; it has what QMP has not, such as port forwarding. Return its words."""
        return self("human-monitor-command", **{"command-line": text}).strip()

    def wait(self, query, done, seconds):
        """Ask until the status is one of ``done``; return it."""
        status = waiting.until(lambda: (now := self._status(query)) in done and now, seconds, pause=0.02)
        if not status:
            raise Refused(query, f"still {self._status(query)} after {seconds} s", "try again")
        return status

    def _status(self, query):
        return self(query).get("status", "none")

    def save(self, program):
        """Stop the machine and write all its memory to a program's input."""
        self("stop")
        self.line("migrate_set_parameter max-bandwidth 100G")
        self("migrate", uri=f"exec:{program}")
        if self.wait("query-migrate", ("completed", "failed"), waiting.STATE_SECONDS) == "failed":
            raise Refused("saving a virtual machine", "QEMU says: failed", "free disk space, then try again")


class Control:
    """The control port: shell scripts for the guest's process 1, one at a time."""

    def __init__(self, connection, seconds=waiting.GUEST_SILENT_SECONDS):
        self.socket = connection
        self.socket.settimeout(seconds)
        self.file = self.socket.makefile("rwb")

    def wait_until_ready(self):
        """Wait until the guest that was just booted says that it listens."""
        for name, _, _ in self._answers():
            if name == LISTENS:
                return
        raise Refused("booting a virtual machine", "it ended", "see its console")

    def __call__(self, script):
        """Run a script in the guest; return what it printed."""
        if len(script) > SCRIPT_CHARACTERS:
            return self._in_pieces(script)
        own_name = secrets.token_hex(8)
        line = f"{own_name} {base64.b64encode(script.encode()).decode()}\n".encode()
        self._send(line)
        for name, status, output in self._answers():
            if name == LISTENS:  # only now, as after it was resumed: what was sent before may be lost
                self._send(line)
            elif name == own_name:
                if status != "0":
                    raise Refused(f"in the virtual machine: {script[:60]}", output, "see its console")
                return output
        raise Refused("in the virtual machine", "it ended", "see its console")

    def _send(self, line):
        with contextlib.suppress(ConnectionError):  # it has ended: no answer comes
            self.file.write(line)
            self.file.flush()

    def _answers(self):
        """Yield ``(name, status, output)`` of what comes, until the guest ends."""
        try:
            for line in self.file:
                name, status, *output = line.decode(errors="replace").split()
                yield name, status, base64.b64decode(output[0]).decode(errors="replace") if output else ""
        except ConnectionError:
            return
        except TimeoutError:
            said = f"no answer in {self.socket.gettimeout()} s"
            raise Refused("in the virtual machine", said, "try again") from None

    def _in_pieces(self, script):
        encoded = base64.b64encode(script.encode()).decode()
        self("rm -f /run/long")
        for start in range(0, len(encoded), SCRIPT_CHARACTERS // 2):
            self(f"printf %s '{encoded[start : start + SCRIPT_CHARACTERS // 2]}' >> /run/long")
        return self("base64 -d /run/long > /run/long.sh; sh /run/long.sh")


def control(folder, process, seconds=waiting.GUEST_SILENT_SECONDS):
    """Return the ``Control`` of a machine that was started in a folder; the guest may be silent for some seconds."""
    return Control(connect(folder / "control", process), seconds)


def wait_for_engine(control, process):
    """Wait until the engine in a booted machine answers on its socket."""
    ping = r"printf 'GET /_ping HTTP/1.0\r\n\r\n' | socat -t 2 - UNIX:/run/docker.sock 2>/dev/null || true"
    waiting.until(lambda: process.poll() is not None or "OK" in control(ping), waiting.GUEST_SILENT_SECONDS, pause=0.3)
    if process.poll() is not None or "OK" not in control(ping):
        raise Refused("waiting for the engine", control("tail -5 /var/log/dockerd.log"), "try again")


def connect(path, process=None):
    """Return a connection to a machine's socket, as soon as it is there."""
    deadline = time.monotonic() + waiting.SOCKET_SECONDS
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
            return connection
        except OSError as error:
            connection.close()
            if (process and process.poll() is not None) or time.monotonic() > deadline:
                said = (path.parent / "qemu.log").read_text().strip() or error
                raise Refused("starting a virtual machine", said, "python3 -m helpers doctor") from None
        time.sleep(0.01)
