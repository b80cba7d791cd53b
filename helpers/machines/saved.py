"""The machine in the course's state folder: built once, saved with its engine up, resumed in about a second."""

import contextlib
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from helpers import state
from helpers.errors import CourseError, message
from helpers.machines import qemu, recipe
from helpers.state import Lock

MEMORY = 1024  # MB
CPUS = 2
BUILD_SPACE = 6e9  # bytes of disk that building takes for a while
SESSION_SPACE = 1e9
SESSION_MEMORY = 1.1e9
PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "zstd": "zstd",
    "mmdebstrap": "mmdebstrap",
    "fakeroot": "fakeroot",
    "fakechroot": "fakechroot",
    "mke2fs": "e2fsprogs",
    "cpio": "cpio",
}
SYSTEM_PROGRAMS = "/usr/local/sbin:/usr/sbin:/sbin"


def folder():
    """Return the folder of the machine."""
    path = state.folder() / "machine"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def missing(build):
    """Return the Debian packages that running the machine, or building it, lacks."""
    wanted = PROGRAMS if build else {name: PROGRAMS[name] for name in ("qemu-system-x86_64", "qemu-img", "zstd")}
    path = f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_PROGRAMS}"
    lacking = [package for program, package in wanted.items() if not shutil.which(program, path=path)]
    if build and not Path(recipe.bootstrap.KEYRING).exists():
        lacking.append("debian-archive-keyring")
    return lacking


def recipe_hash():
    """Return what tells one machine from another: the guest's files, its packages, the code that makes it."""
    found = hashlib.sha256()
    for path in sorted([*recipe.GUEST.iterdir(), Path(recipe.__file__)]):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()[:16]


def state_key():
    """Return what a saved state is tied to: the disk, QEMU's version and command line, the accelerator."""
    command = qemu.command(Path("-"), Path("-"), "engine", MEMORY, CPUS, accelerator(), "-")
    said = json.dumps([command, qemu.version(), _record("disk")])
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def accelerator():
    """Return ``kvm`` where a short trial boot proved it, else ``tcg``; remembered until QEMU or the kernel changes."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    record = folder() / "accelerator.json"
    key = [qemu.version(), platform.release()]
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
        disk = overlay(folder() / "plain.qcow2", session / "disk.qcow2")
        process = qemu.start(qemu.command(session, folder(), "web", 256, 1, "kvm", disk), session)
        deadline = time.monotonic() + seconds
        try:
            while process.poll() is None and time.monotonic() < deadline:
                if "course: init" in tail(session / "console"):
                    return True
                time.sleep(0.05)
            return False
        finally:
            process.kill()
            process.wait()


def exists():
    """Return whether there is a folder of the machine."""
    return (state.folder() / "machine").exists()


def _record(name):
    """Return what is known of a built disk: its recipe, and of each file its size, its time and its hash."""
    try:
        return json.loads((folder() / f"{name}.json").read_text())
    except (OSError, ValueError):
        return {}


def _fingerprint(path, known=None):
    """Return a file's size, time and SHA-256; where size and time are as known, the hash is not computed anew."""
    facts = path.stat()
    if known and known[:2] == [facts.st_size, facts.st_mtime_ns]:
        return known
    with path.open("rb") as file:
        return [facts.st_size, facts.st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest()]


def problem(name="disk"):
    """Return why the machine ("disk"), or its plain form without images ("plain"), has to be built, or None."""
    record = _record(name)
    if not record:
        return "there is none yet"
    if record["recipe"] != recipe_hash():
        return "its recipe has changed"
    for file, known in record["files"].items():
        path = folder() / file
        if not path.exists() or _fingerprint(path, known)[2] != known[2]:
            return f"its file {file} is damaged"
    return None if name == "plain" else problem("plain")


def plain():
    """Return the disk of the machine without images, built from Debian packages if need be; it takes half a minute."""
    with Lock(folder() / "build.lock"):
        if why := problem("plain"):
            _build_plain(why)
    return folder() / "plain.qcow2"


def ready():
    """Build and save the machine where that has not been done yet, or has to be done anew; say so."""
    plain()
    with Lock(folder() / "build.lock"):
        if why := problem():
            _build(why)
        made = folder() / f"saved-{state_key()}"
        if not (made / "state.zst").exists():
            for old in folder().glob("saved-*"):
                shutil.rmtree(old)
            print("saving the virtual machine with its engine up: half a minute, once a version of QEMU", flush=True)
            save(made)


def _build_plain(why):
    print(f"making a virtual machine from Debian packages ({why}): half a minute, once", flush=True)
    with _workshop("plain") as work:
        recipe.tree(work / "root")
        recipe.kernel(work / "root", work)
        recipe.disk(work / "root", work / "plain.img")
        _compress(work / "plain.img", work / "plain.qcow2")
        _install("plain", work, ("plain.qcow2", "vmlinuz", "initrd"))


def _build(why):
    print(
        f"putting base images and build caches on the virtual machine ({why}): a quarter of an hour, once", flush=True
    )
    with _workshop("disk") as work:
        shutil.copy(folder() / "plain.qcow2", work / "disk.qcow2")
        _install("disk", work, ("disk.qcow2",))


@contextlib.contextmanager
def _workshop(name):
    """Give an empty folder that goes away, beside what is to be made."""
    work = folder() / f"{name}-unfinished"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _install(name, work, files):
    """Put finished files in their place, and write down what they are; in between, there is no record of them."""
    record = folder() / f"{name}.json"
    record.unlink(missing_ok=True)
    for file in files:
        (work / file).rename(folder() / file)
    facts = {file: _fingerprint(folder() / file) for file in files}
    record.write_text(json.dumps({"recipe": recipe_hash(), "files": facts}))


def boot(session, disk, role="engine", memory=MEMORY, cpus=CPUS, forwards=(), incoming=None):
    """Start a machine; return ``(process, monitor)``."""
    session.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = qemu.command(session, folder(), role, memory, cpus, accelerator(), disk, incoming, forwards)
    process = qemu.start(command, session)
    return process, qemu.Monitor(session, process)


def overlay(base, path):
    """Make a disk that keeps only what differs from another."""
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", "qcow2", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CourseError(message(f"making {path.name}", done.stderr, "free disk space? python3 -m helpers doctor"))
    return path


def save(target):
    """
    Boot the machine cold, and save it with its engine up into a folder; return seconds of the boot.

    A guest that hangs or panics while it boots is thrown away and booted again, three times at most.
    """
    failures = []
    for _ in range(3):
        work = target.with_name(target.name + "-unfinished")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700)
        disk = overlay(folder() / "disk.qcow2", work / "disk.qcow2")
        process, monitor = boot(work, disk)
        try:
            began = time.monotonic()
            control = qemu.Control(work, process)
            wait_for_engine(control, process)
            seconds = time.monotonic() - began
            settle(control, monitor)
            monitor("stop")
            monitor.line("migrate_set_parameter max-bandwidth 100G")
            monitor("migrate", uri=f"exec:zstd -q -3 -T2 -o {work / 'state.zst'}")
            if monitor.wait("query-migrate", ("completed", "failed"), 120) == "failed":
                raise qemu.Refused(message("saving the virtual machine", "QEMU says: failed", "free disk space?"))
            monitor("quit")
            process.wait(30)
        except (qemu.Refused, OSError) as error:
            failures.append(f"{error}; console: {tail(work / 'console')}")
            continue
        finally:
            process.kill()
            process.wait()
        for name in ("console", "control", "monitor", "qemu.log"):
            (work / name).unlink(missing_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        work.rename(target)
        return seconds
    raise CourseError(message("booting the virtual machine, three times", failures[-1], "python3 -m helpers doctor"))


def resume(session, forwards):
    """Resume the saved machine on a new disk of its own; return ``(process, monitor)``."""
    made = folder() / f"saved-{state_key()}"
    disk = overlay(made / "disk.qcow2", session / "disk.qcow2")
    process, monitor = boot(session, disk, forwards=forwards, incoming=f"exec:zstd -q -dc '{made / 'state.zst'}'")
    try:
        monitor.wait("query-status", ("paused", "running", "postmigrate"), 60)
        monitor("cont")
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process, monitor


def cold(session, forwards):
    """Boot the machine on a new disk of its own; return ``(process, monitor)`` as soon as its engine answers."""
    disk = overlay(folder() / "disk.qcow2", session / "disk.qcow2")
    process, monitor = boot(session, disk, forwards=forwards)
    wait_for_engine(qemu.Control(session, process), process)
    return process, monitor


def wait_for_engine(control, process, seconds=120):
    """Wait until the engine in a booted machine answers on its socket."""
    ping = r"printf 'GET /_ping HTTP/1.0\r\n\r\n' | socat -t 2 - UNIX:/run/docker.sock 2>/dev/null || true"
    deadline = time.monotonic() + seconds
    while "OK" not in control(ping):
        if time.monotonic() > deadline or process.poll() is not None:
            raise qemu.Refused(message("waiting for the engine", control("tail -5 /var/log/dockerd.log"), "try again"))
        time.sleep(0.3)


def settle(control, monitor):
    """Have the guest give back the memory that it does not need, so that the saved state is small."""
    control("sync; echo 3 > /proc/sys/vm/drop_caches; cat /usr/sbin/dockerd /usr/bin/crun /usr/bin/socat > /dev/null")


def tail(path, lines=3):
    """Return the last lines of a file, or nothing."""
    with contextlib.suppress(OSError):
        return " / ".join(path.read_text(errors="replace").strip().splitlines()[-lines:])
    return ""


def _compress(raw, path):
    """Make a disk of its non-empty parts, compressed."""
    command = ["qemu-img", "convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", str(raw), str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CourseError(message("compressing the machine's disk", done.stderr, "free disk space, then try again"))
