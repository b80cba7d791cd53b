"""The machine's disk in the course's state folder: made by the workshop, recorded, and found damaged or out of date."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from helpers import state
from helpers.errors import CourseError
from helpers.host import mmdebstrap
from helpers.host.apt import SYSTEM_PROGRAMS
from helpers.host.memory import free_memory
from helpers.progress import progress

ROOT = Path(__file__).parents[2]
WORKSHOP = ROOT / "helpers" / "workshop"
SHARED_MEMORY = Path("/dev/shm")
HOST_SETTINGS = "host-settings"
BUILD_BYTES = 6e9  # of disk, for a while
BUILD_MEMORY_MB = 1536  # for the engine that makes the notebooks' images
PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "zstd": "zstd",
    "mmdebstrap": "mmdebstrap",
    "fakeroot": "fakeroot",
    "mke2fs": "e2fsprogs",
    "cpio": "cpio",
}
TO_RUN = ("qemu-system-x86_64", "qemu-img", "zstd")


def folder():
    """Return the folder of the machine."""
    path = state.folder() / "machine"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def exists():
    """Return whether there is a folder of the machine."""
    return (state.folder() / "machine").exists()


def missing_packages(build):
    """Return the Debian packages that running the machine, or building it, lacks."""
    wanted = PROGRAMS if build else {name: PROGRAMS[name] for name in TO_RUN}
    path = f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_PROGRAMS}"
    lacking = [package for program, package in wanted.items() if not shutil.which(program, path=path)]
    if build and not Path(mmdebstrap.KEYRING).exists():
        lacking.append("debian-archive-keyring")
    return lacking


def build_bytes():
    """Return how many bytes of disk building the machine takes for a while."""
    return BUILD_BYTES + (0 if memory_as_files() else BUILD_MEMORY_MB * 2**20)


def memory_as_files():
    """Return whether the files that hold the guests' memory may lie in memory: with room, and where code may run."""
    if not SHARED_MEMORY.is_dir() or os.statvfs(SHARED_MEMORY).f_flag & os.ST_NOEXEC:  # as in Docker's containers
        return False
    enough = BUILD_MEMORY_MB * 2**20
    return shutil.disk_usage(SHARED_MEMORY).free > enough and free_memory() > 2 * enough  # and the programs beside it


def recipe_hash():
    """Return what tells one machine from another: the guest's files, its packages, the code that makes it."""
    found = hashlib.sha256()
    for path in sorted([*(WORKSHOP / "guest").iterdir(), WORKSHOP / "tree.py"]):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()[:16]


def record(name="disk"):
    """Return what is known of a disk that was made: its recipe, and of each file its size, its time and its hash."""
    try:
        return json.loads((folder() / f"{name}.json").read_text())
    except (OSError, ValueError):
        return {}


def write_record(name, files):
    """Write down of what recipe a finished disk is, and what its files are."""
    facts = {file: fingerprint(folder() / file) for file in sorted(files)}
    (folder() / f"{name}.json").write_text(json.dumps({"recipe": recipe_hash(), "files": facts}))


def fingerprint(path, known=None):
    """
    Return a file's size, time and SHA-256; where size and time are as known, the hash is not computed again.

    The time is in whole seconds: an image's layers, such as Binder's, keep no fractions of them.
    """
    facts = path.stat()
    if known and known[:2] == [facts.st_size, int(facts.st_mtime)]:
        return known
    with path.open("rb") as file:
        return [facts.st_size, int(facts.st_mtime), hashlib.file_digest(file, "sha256").hexdigest()]


def problem(name="disk"):
    """Return why the machine ("disk"), or its form without images ("plain"), has to be built, or None."""
    known = record(name)
    if not known:
        return "there is none yet"
    if known["recipe"] != recipe_hash():
        return "its recipe has changed"
    for file, facts in known["files"].items():
        path = folder() / file
        if not path.exists() or fingerprint(path, facts)[2] != facts[2]:
            return f"its file {file} is damaged"
    return None


def layers():
    """Return the file with the layers of the engine's images, or None where it has none."""
    return folder() / "layers.squashfs" if "layers.squashfs" in record().get("files", ()) else None


def plain():
    """Return a disk of the machine, without images or with them; made from Debian packages if need be."""
    if problem() is None:
        return folder() / "disk.qcow2"
    if problem("plain"):
        make("plain")
    return folder() / "plain.qcow2"


def make(name):
    """
    Have the workshop make "disk" or "plain", in a process of its own, and print what it says.

    Raises:
        CourseError: it failed; with its last words.
    """
    command = [
        "setpriv",
        "--pdeathsig",
        "TERM",
        sys.executable,
        "-m",
        "helpers.workshop",
        name,
    ]  # it ends with this one
    terminal = sys.stderr.isatty()  # then it draws bars of its own there
    workshop = subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=None if terminal else subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    said = []
    try:
        with progress(total=None, desc="making the virtual machine", **({"disable": True} if terminal else {})) as bar:
            for line in workshop.stdout:
                said.append(line)
                with bar.external_write_mode():
                    print(line, end="", flush=True)
    except BaseException:
        os.killpg(workshop.pid, signal.SIGINT)  # it, and the processes that it started, put their things away
        workshop.wait()
        raise
    if workshop.wait():
        raise CourseError("making the virtual machine", "".join(said[-12:]), "fix the problem above, then try again")


def qemu_img(*arguments):
    """
    Run ``qemu-img`` and return what it prints.

    Raises:
        CourseError: it failed; with its words.
    """
    done = subprocess.run(["qemu-img", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        said = done.stderr or done.stdout
        raise CourseError(f"qemu-img {arguments[0]}", said, "free disk space? python3 -m helpers doctor tells")
    return done.stdout


def has_host_settings():
    """Return whether RUN steps with pip took this computer's settings when the machine's images were made."""
    return (folder() / HOST_SETTINGS).exists()


def overlay(base, path, kind="qcow2"):
    """Make a disk that keeps only what differs from another; return its path."""
    qemu_img("create", "-q", "-f", "qcow2", "-b", base, "-F", kind, path)
    return path


def tail(path, lines=3):
    """Return the last lines of a file on one line, or nothing."""
    with contextlib.suppress(OSError):
        return " / ".join(path.read_text(errors="replace").strip().splitlines()[-lines:])
    return ""
