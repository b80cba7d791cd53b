"""The machine in the course's state folder: built once, saved with its engine up, resumed in a few seconds."""

import contextlib
import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from helpers import state
from helpers.apt import SYSTEM_PROGRAMS
from helpers.errors import CourseError, message
from helpers.machines import keys, qemu, recipe, uml
from helpers.memory import free_memory
from helpers.progress import progress
from helpers.state import Lock

MEMORY = 896  # MB: with what TCG takes, JupyterLab and a notebook, no more fits into 2 GB
CPUS = {"tcg": 1, "kvm": 2}  # under emulation, two processors spend a third of their time on waiting for each other
BUILD_SPACE = 6e9  # bytes of disk that building takes for a while
SESSION_SPACE = 1e9
SESSION_MEMORY = 1.4e9  # bytes that QEMU takes in the end
COMPRESSED = ("-O", "qcow2", "-c", "-o", "compression_type=zstd,cluster_size=256k")
PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "zstd": "zstd",
    "mmdebstrap": "mmdebstrap",
    "fakeroot": "fakeroot",
    "mke2fs": "e2fsprogs",
    "cpio": "cpio",
}


def folder():
    """Return the folder of the machine."""
    path = state.folder() / "machine"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def build_space():
    """Return how many bytes of disk building the machine takes for a while."""
    return BUILD_SPACE + (0 if uml.in_memory() else 2 * uml.MEMORY * 2**20)


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
    """Return what a saved state is tied to: the disk, QEMU and its command line, the accelerator."""
    command = _command(Path("-"), Path("-"), "-", layers="layers" if layers() else None)
    said = json.dumps([command, qemu.identity(), _record("disk")])
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _command(session, machine, disk, incoming=None, forwards=(), layers=None):
    kind = accelerator()
    return qemu.command(session, machine, "engine", MEMORY, CPUS[kind], kind, disk, incoming, forwards, layers)


def accelerator():
    """Return ``kvm`` where a short trial boot proved it, else ``tcg``; remembered until QEMU or the kernel changes."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    record = folder() / "accelerator.json"
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
        base = next(disk for disk in (folder() / "disk.qcow2", folder() / "plain.qcow2") if disk.exists())
        disk = overlay(base, session / "disk.qcow2")
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
    """
    Return a file's size, time and SHA-256; where size and time are as known, the hash is not computed anew.

    The time is in whole seconds: an image's layers, such as Binder's, keep no fractions of them.
    """
    facts = path.stat()
    if known and known[:2] == [facts.st_size, int(facts.st_mtime)]:
        return known
    with path.open("rb") as file:
        return [facts.st_size, int(facts.st_mtime), hashlib.file_digest(file, "sha256").hexdigest()]


def layers():
    """Return the file with the layers of the engine's images, or None where it has none."""
    return folder() / "layers.squashfs" if "layers.squashfs" in _record("disk").get("files", ()) else None


def problem(name="disk"):
    """Return why the machine ("disk"), or its form without images ("plain"), has to be built, or None."""
    record = _record(name)
    if not record:
        return "there is none yet"
    if record["recipe"] != recipe_hash():
        return "its recipe has changed"
    for file, known in record["files"].items():
        path = folder() / file
        if not path.exists() or _fingerprint(path, known)[2] != known[2]:
            return f"its file {file} is damaged"
    return None


def plain():
    """Return a disk of the machine, without images or with them; made from Debian packages if need be."""
    with Lock(folder() / "build.lock"):
        return folder() / "disk.qcow2" if problem() is None else _plain()


def ready():
    """Build and save the machine where that has not been done yet, or has to be done anew; say so."""
    with Lock(folder() / "build.lock"):
        if why := problem():
            _build(why)
        made = folder() / f"saved-{state_key()}"
        if not (made / "state.zst").exists():
            for old in folder().glob("saved-*"):
                shutil.rmtree(old)
            print("saving the virtual machine with its engine up: half a minute, once a version of QEMU", flush=True)
            save(made)


def _plain():
    if why := problem("plain"):
        print(f"making a virtual machine from Debian packages ({why}): half a minute, once", flush=True)
        with _workshop("plain") as work:
            recipe.tree(work / "root")
            recipe.kernel(work / "root", work)
            recipe.file_system(work / "root", work / "plain.img", recipe.DISK)
            _convert(work / "plain.img", work / "plain.qcow2", *COMPRESSED)
            _install("plain", work, ("plain.qcow2", "vmlinuz", "initrd"))
    return folder() / "plain.qcow2"


def _build(why):
    from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
    from multiprocessing import get_context

    from helpers.machines import images

    print(f"building the notebooks' images on the virtual machine ({why}): a quarter of an hour, once", flush=True)
    with _workshop("disk") as work:
        disks = [work / "first.img", work / "second.img"][: 2 if _room_for_two() else 1]
        with ThreadPoolExecutor(8) as pool:
            kernels, archives = pool.submit(uml.unpack, work), images.archives(work, pool)
            _convert(_plain(), disks[0], "-O", "raw")
            kernels.result()
            with uml.engine(work, disks[0], work / "session") as client:
                images.bases(client, archives)
        for disk in disks[1:]:
            subprocess.run(["cp", "--sparse=always", disks[0], disk], check=True)
        parts = images.PARTS if len(disks) == 2 else [[name for part in images.PARTS for name in part]]
        with ProcessPoolExecutor(len(parts), get_context("fork")) as pool:
            list(pool.map(_fill, [work] * len(parts), disks, range(len(parts)), parts))
        other, squashed = disks[1] if disks[1:] else None, work / "layers.squashfs"
        with uml.engine(work, disks[0], work / "session", other=other, layers=squashed) as client:
            images.fill(client, images.rest())
        _convert(disks[0], work / "disk.qcow2", *COMPRESSED)
        _install("disk", work, ("disk.qcow2", "layers.squashfs"))
    (folder() / "plain.json").unlink()
    (folder() / "plain.qcow2").unlink()


def _fill(work, disk, number, notebooks):
    """Make the images of some notebooks on a disk; one of two processes does this, each on a processor of its own."""
    from helpers.machines import images

    with uml.engine(work, disk, work / f"session-{number}", cpu=sorted(os.sched_getaffinity(0))[number]) as client:
        images.fill(client, notebooks, images.ELSEWHERE if number else (), position=number)


def _room_for_two():
    """Return whether two engines can work at the same time: processors, and memory for both."""
    return len(os.sched_getaffinity(0)) > 1 and free_memory() > 2.5 * uml.MEMORY * 2**20


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
    (folder() / f"{name}.json").unlink(missing_ok=True)
    for file in files:
        (work / file).rename(folder() / file)
    _write_record(name, {*files, "vmlinuz", "initrd"})


def _write_record(name, files):
    facts = {file: _fingerprint(folder() / file) for file in sorted(files)}
    (folder() / f"{name}.json").write_text(json.dumps({"recipe": recipe_hash(), "files": facts}))


def boot(session, disk, forwards=(), incoming=None):
    """Start a machine; return ``(process, monitor)``."""
    session.mkdir(mode=0o700, parents=True, exist_ok=True)
    process = qemu.start(_command(session, folder(), disk, incoming, forwards, layers()), session)
    try:
        return process, qemu.Monitor(session, process)
    except BaseException:
        process.kill()
        process.wait()
        raise


def overlay(base, path):
    """Make a disk that keeps only what differs from another."""
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", "qcow2", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CourseError(message(f"making {path.name}", done.stderr, "free disk space? python3 -m helpers doctor"))
    return path


def save(target):
    """Boot the machine cold, and save it with its engine up into a folder, all or nothing."""
    work = target.with_name(target.name + "-unfinished")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700)
    port = keys.free_port()

    def settle_and_save(process, monitor, control):
        (work / "version").write_text(_settle(work, monitor, control, port))
        monitor("stop")
        monitor.line("migrate_set_parameter max-bandwidth 100G")
        monitor("migrate", uri=f"exec:zstd -q -f -1 -T2 -o {shlex.quote(str(work / 'state.zst'))}")
        if monitor.wait("query-migrate", ("completed", "failed"), 120) == "failed":
            raise qemu.Refused(message("saving the virtual machine", "QEMU says: failed", "free disk space?"))
        monitor("quit")
        process.wait(30)

    with progress(total=None, desc="booting and saving the virtual machine"):
        cold(work, ((port, keys.INSIDE),), settle_and_save)
    for name in ("console", "control", "monitor", "qemu.log"):
        (work / name).unlink(missing_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    work.rename(target)


def cold(session, forwards, use):
    """
    Boot the machine on a new disk of its own; return what ``use(process, monitor, control)`` does.

    That is called as soon as the engine is up. A guest that hangs or panics meanwhile is thrown away and booted again,
    three times at most.
    """
    failures = []
    for _ in range(3):
        clear(session)
        disk = overlay(folder() / "disk.qcow2", session / "disk.qcow2")
        process, monitor = boot(session, disk, forwards=forwards)
        try:
            control = qemu.control(session, process)
            qemu.wait_for_engine(control, process)
            return use(process, monitor, control)
        except BaseException as error:
            process.kill()
            process.wait()
            if not isinstance(error, Exception):
                raise
            failures.append(f"{error}; console: {tail(session / 'console')}")
    raise CourseError(message("booting the virtual machine, three times", failures[-1], "python3 -m helpers doctor"))


def resume(session, forwards):
    """Begin to resume the saved machine on a new disk of its own; return ``(process, monitor)`` for ``go_on``."""
    made = folder() / f"saved-{state_key()}"
    if not made.exists():
        raise qemu.Refused("there is none for this version of QEMU")
    clear(session)
    disk = overlay(made / "disk.qcow2", session / "disk.qcow2")
    incoming = f"exec:zstd -q -dc {shlex.quote(str(made / 'state.zst'))}"
    return boot(session, disk, forwards=forwards, incoming=incoming)


def go_on(session, process, monitor, certificates):
    """Wait until the state of a machine that is being resumed is loaded; let it run, with the keys of this session."""
    try:
        monitor.wait("query-status", ("paused", "running", "postmigrate"), 60)
        monitor("cont")
        keys.hand_over(qemu.control(session, process), certificates)
    except BaseException as error:
        process.kill()
        process.wait()
        if isinstance(error, qemu.Refused):
            forget()
        raise


def forget():
    """Delete the saved state, which is no good: the next start saves it anew."""
    shutil.rmtree(folder() / f"saved-{state_key()}", ignore_errors=True)


def version():
    """Return the version of the saved engine's API, or None."""
    with contextlib.suppress(OSError):
        return (folder() / f"saved-{state_key()}" / "version").read_text()


def clear(session):
    """Remove what an earlier machine left in the folder of a session."""
    for name in ("console", "control", "monitor", "qemu.log", "disk.qcow2"):
        (session / name).unlink(missing_ok=True)


def _settle(work, monitor, control, port):
    """
    Have the guest give back the memory of its boot, then use its engine once as a session will.

    What that takes is in memory then, and nothing else. The client's key of this one time is forgotten. Return the
    version of the engine's API.
    """
    _give_back(monitor, control)
    keys.hand_over(control, keys.make(work))
    keys.wait(work, port, control)
    client = keys.client(work, port)
    client.version()
    client.info()
    for image in client.images.list("course/hello-world"):
        for _ in range(2):
            client.containers.run(image, remove=True)
    client.close()
    control("await-keys; sync; sleep 2; pidof stunnel")  # it is ready to take other keys
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (work / name).unlink()
    return client.api.api_version


def _give_back(monitor, control):
    """Have the guest give back all memory that it can do without: its balloon takes that for a moment."""
    control("sync; echo 3 > /proc/sys/vm/drop_caches")
    available = int(control("awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo"))
    for size in (MEMORY - available, MEMORY):
        monitor("balloon", value=size << 20)
        deadline = time.monotonic() + 20
        while monitor("query-balloon")["actual"] != size << 20 and time.monotonic() < deadline:
            time.sleep(0.1)


def tail(path, lines=3):
    """Return the last lines of a file, or nothing."""
    with contextlib.suppress(OSError):
        return " / ".join(path.read_text(errors="replace").strip().splitlines()[-lines:])
    return ""


def _convert(source, target, *options):
    command = ["qemu-img", "convert", "-m", "8", "-W", *options, str(source), str(target)]
    with progress(total=None, desc=f"writing {target.name}", delay=2):
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CourseError(message(f"writing {target.name}", done.stderr, "free disk space, then try again"))
