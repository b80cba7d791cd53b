"""The machine saved with its engine up: resumed in a second or two, or booted where that is refused."""

import contextlib
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import tempfile
from pathlib import Path

from helpers import waiting
from helpers.errors import CourseError
from helpers.host.network import free_port
from helpers.machines import disk, keys, qemu
from helpers.progress import progress
from helpers.state import Lock

MEMORY_MB = 864  # with what TCG takes, JupyterLab and a notebook, no more fits into 2 GB
CPUS = {"tcg": 1, "kvm": 2}  # under emulation, two processors spend a third of their time on waiting for each other
SESSION_DISK_BYTES = 1e9
SESSION_MEMORY_BYTES = 1.4e9  # that QEMU takes in the end
STATE_FILES = ("state.zst", "disk.qcow2")
LEFT_BY_A_MACHINE = ("console", "control", "monitor", "qemu.log", "disk.qcow2")


def accelerator():
    """Return ``kvm`` where a short trial boot proved it, else ``tcg``; remembered until QEMU or the kernel changes."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    record = disk.folder() / "accelerator.json"
    key = [qemu.identity(), platform.release()]
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(record.read_text())
        if known["key"] == key:
            return known["accelerator"]
    found = "kvm" if _boots_with_kvm() else "tcg"
    record.write_text(json.dumps({"key": key, "accelerator": found}))
    return found


def _boots_with_kvm(seconds=10):
    """Try whether the machine's own init says hello in time: KVM can be listed and still not run a guest."""
    with tempfile.TemporaryDirectory(prefix="docker-course-") as work:
        session = Path(work)
        base = next(path for path in (disk.folder() / "disk.qcow2", disk.folder() / "plain.qcow2") if path.exists())
        own = disk.overlay(base, session / "disk.qcow2")
        process = qemu.start(qemu.command(session, disk.folder(), "web", 256, own, accelerator="kvm"), session)
        try:
            hello = "course: init"
            waiting.until(lambda: process.poll() is not None or hello in disk.tail(session / "console"), seconds)
            return hello in disk.tail(session / "console")
        finally:
            qemu.end(process)


def folder():
    """Return the folder of the state that fits this disk, QEMU and its command line, and this accelerator."""
    command = _command(Path("-"), Path("-"), "-", layers="layers" if disk.layers() else None)
    processor = Path("/proc/cpuinfo").read_text().partition("\n\n")[0] if accelerator() == "kvm" else ""
    model = re.findall(r"^(?:model name|flags)\s*: (.*)$", processor, re.MULTILINE)  # KVM hands it through
    said = json.dumps([command, qemu.identity(), disk.record(), model])
    return disk.folder() / f"saved-{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def _command(session, machine, own_disk, incoming=None, forwards=(), layers=None):
    kind = accelerator()
    return qemu.command(
        session, machine, "engine", MEMORY_MB, own_disk, cpus=CPUS[kind], accelerator=kind, incoming=incoming,
        forwards=forwards, layers=layers,
    )  # fmt: skip


def ready():
    """Have the workshop build the machine where it has to be built, and save it with its engine up; say so."""
    if disk.problem():
        disk.make("disk")
    with Lock(disk.folder() / "save.lock"):
        made = folder()
        if not (made / "state.zst").exists():
            for old in disk.folder().glob("saved-*"):
                shutil.rmtree(old)
            print("saving the virtual machine with its engine up: half a minute, once a version of QEMU", flush=True)
            save(made)


def save(target):
    """Boot the machine cold, and save it with its engine up into a folder, all or nothing."""
    work = target.with_name(target.name + "-unfinished")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700)
    port = free_port()

    def settle_and_save(process, monitor, control):
        (work / "version").write_text(_settle(work, monitor, control, port))
        monitor.save(f"zstd -q -f -1 -T2 -o {shlex.quote(str(work / 'state.zst'))}")
        monitor("quit")
        process.wait(waiting.STATE_SECONDS)

    with progress(total=None, desc="booting and saving the virtual machine"):
        boot(work, ((port, keys.INSIDE),), settle_and_save)
    for name in LEFT_BY_A_MACHINE:
        if name not in STATE_FILES:
            (work / name).unlink(missing_ok=True)
    (work / "files.json").write_text(json.dumps({name: disk.fingerprint(work / name) for name in STATE_FILES}))
    shutil.rmtree(target, ignore_errors=True)
    work.rename(target)


def _settle(work, monitor, control, port):
    """
    Have the guest give back the memory of its boot, then use its engine once as a session will.

    What that takes is in memory then, and nothing else. The client's key of this one time is forgotten. Return the
    version of the engine's API.
    """
    _give_back_memory(monitor, control)
    keys.give_to_guest(control, keys.make(work))
    keys.wait_for_engine(work, port, control)
    client = keys.client(work, port)
    client.version()
    client.info()
    for image in client.images.list("hello-world"):
        for _ in range(2):
            client.containers.run(image, remove=True)
    client.close()
    control("await-keys; sync; until pidof stunnel; do usleep 50000; done; sleep 2")  # ready to take other keys
    for name in keys.FILES:
        (work / name).unlink()
    return client.api.api_version


def _give_back_memory(monitor, control):
    """Have the guest give back all memory that it can do without: its balloon takes that for a moment."""
    control("sync; echo 3 > /proc/sys/vm/drop_caches")
    available = int(control("awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo"))
    for size in (MEMORY_MB - available, MEMORY_MB):
        monitor("balloon", value=size << 20)
        waiting.until(lambda size=size: monitor("query-balloon")["actual"] == size << 20, seconds=20, pause=0.1)


def boot(session, forwards, use):
    """
    Boot the machine on a new disk of its own; return what ``use(process, monitor, control)`` does.

    That is called as soon as the engine is up. A guest that hangs or panics meanwhile is thrown away and booted again,
    three times at most.
    """
    failures = []
    for _ in range(3):
        process, monitor = _start(session, disk.folder() / "disk.qcow2", forwards)
        try:
            control = qemu.control(session, process)
            qemu.wait_for_engine(control, process)
            return use(process, monitor, control)
        except BaseException as error:
            qemu.end(process)
            if not isinstance(error, Exception):
                raise
            failures.append(f"{error}; console: {disk.tail(session / 'console')}")
    raise CourseError("booting the virtual machine, three times", failures[-1], "python3 -m helpers doctor")


def resume(session, forwards, make_keys):
    """
    Resume the saved machine on a new disk of its own, with keys of this session; return ``(process, monitor)``.

    ``make_keys`` is called while the state is loaded.

    Raises:
        qemu.Refused: there is no state that fits, or it could not be resumed.
    """
    made = folder()
    if not made.exists():
        raise qemu.Refused("resuming the virtual machine", "no state of this version of QEMU", "boot it")
    incoming = f"exec:zstd -q -dc {shlex.quote(str(made / 'state.zst'))}"
    process, monitor = _start(session, made / "disk.qcow2", forwards, incoming)
    try:
        session_keys = make_keys()
        monitor.wait("query-status", ("paused", "running", "postmigrate"), waiting.STATE_SECONDS)
        monitor("cont")
        keys.give_to_guest(qemu.control(session, process, waiting.RESUMED_SECONDS), session_keys)
    except BaseException:
        qemu.end(process)
        raise
    return process, monitor


def _start(session, base, forwards, incoming=None):
    """Start a machine on a new disk of its own; return ``(process, monitor)``."""
    for name in LEFT_BY_A_MACHINE:
        (session / name).unlink(missing_ok=True)
    own = disk.overlay(base, session / "disk.qcow2")
    process = qemu.start(_command(session, disk.folder(), own, incoming, forwards, disk.layers()), session)
    try:
        return process, qemu.Monitor(session, process)
    except BaseException:
        qemu.end(process)
        raise


def damaged():
    """
    Return whether the files of the state are not those that were saved.

    That proves it bad. What QEMU says of a state does not: a decompressor that was killed looks the same.
    """
    try:
        known = json.loads((folder() / "files.json").read_text())
        return any(disk.fingerprint(folder() / name)[2] != facts[2] for name, facts in known.items())
    except (OSError, ValueError):
        return True


def forget():
    """Delete the saved state, which is bad: the next start saves it again."""
    shutil.rmtree(folder(), ignore_errors=True)


def version():
    """Return the version of the saved engine's API, or None."""
    with contextlib.suppress(OSError):
        return (folder() / "version").read_text()
