"""A Docker Engine in a virtual machine, as anybody, on Linux: resumed from a saved one, thrown away in the end."""

import contextlib
import os
import platform
import shutil
import sys
import time

from helpers import state, waiting
from helpers.engine import supervisor, vm_session
from helpers.engine.unavailable import Unavailable
from helpers.engine.vm_session import address, client, disk_is_full, folder, free_disk_bytes
from helpers.errors import CourseError
from helpers.host import apt
from helpers.host.memory import free_memory
from helpers.machines import disk, keys, saved
from helpers.progress import progress

PID = "supervisor.pid"
KEYS_SECONDS = 0.1  # in which a machine takes its keys; it needs longer where it is asked for something meanwhile


def connect():
    """
    Return a client on the engine in the virtual machine, resumed or built if need be; it ends with its last user.

    SDK calls: ``docker.DockerClient(base_url=…, tls=…)``.

    Raises:
        Unavailable: not Linux on x86-64, a package, memory or disk is missing, or it did not start; with the reason.
    """
    check(install=True)
    supervisor.hold(disk.folder())
    try:
        with state.Lock(disk.folder() / "start.lock"):
            if not _answers_in_time():
                saved.ready()
                return _start()
        return client()
    except Unavailable:
        raise
    except CourseError as error:
        raise Unavailable("failed", str(error), f"read what is in {disk.folder()}") from error


def keep():
    """Resume the engine, and keep it until the program that started this one ends: Binder's start calls it."""
    parent = os.getppid()
    connect()
    while os.getppid() == parent:
        time.sleep(1)


def look():
    """
    Return a client on the engine in the virtual machine if it runs, or None where ``connect`` can start it.

    Raises:
        Unavailable: as ``connect``.
    """
    check()
    if _answers():
        return client()
    _unless_it_waits()
    if _alive():
        said = "the virtual machine runs, and does not answer at the moment"
        raise Unavailable("failed", said, "try again in a minute, or end it: python3 -m helpers stop")
    return None


def _unless_it_waits():
    """Raise Unavailable where a machine runs that QEMU halted, since the disk is full; nothing in it is lost."""
    if _runs() and disk_is_full():
        said = f"the virtual machine is paused: the disk holding {folder()} is full"
        raise Unavailable("failed", said, "free some disk space: it goes on by itself, with all that is in it")


def check(install=False):
    """Raise Unavailable where no virtual machine can be: another system or processor, something missing, no room."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        said = f"the course's virtual machine needs Linux on x86-64; this is {sys.platform} on {platform.machine()}"
        raise Unavailable("missing", said, "install Docker Desktop, or work in WSL2 (Windows) or on Binder")
    try:
        disk.folder()
    except OSError as error:
        said = f"its folder cannot be made: {error}"
        raise Unavailable("failed", said, "set XDG_STATE_HOME to a folder of yours") from None
    to_be_built = disk.problem()
    _check_packages(to_be_built, install)
    if not _runs():  # else it has taken what it needs
        _check_room(to_be_built)


def _check_packages(to_be_built, install):
    """Raise Unavailable where packages are missing; as root, install them if asked to."""
    if install and os.geteuid() == 0 and apt.available() and (packages := disk.missing_packages(to_be_built)):
        apt.install(*packages, why="the course's virtual machine needs them")
    if packages := disk.missing_packages(to_be_built):
        said = f"the virtual machine needs {', '.join(packages)}"
        remedy = apt.command(packages) if apt.available() else "install them with this system's own package manager"
        raise Unavailable("missing", said, remedy)


def _check_room(to_be_built):
    """Raise Unavailable where disk or memory is too little for what ``connect`` would start."""
    wanted, free = disk.build_bytes() if to_be_built else saved.SESSION_DISK_BYTES, free_disk_bytes()
    if free < wanted:
        said = f"{free / 1e9:.1f} GB free in {disk.folder()}, and the virtual machine takes {wanted / 1e9:.0f} GB"
        raise Unavailable("failed", said, "free some disk space, or set XDG_STATE_HOME to a folder on another disk")
    wanted, free = saved.SESSION_MEMORY_BYTES, free_memory()
    if free < wanted:
        said = f"{free / 1e9:.1f} GB of memory free, and the virtual machine takes {wanted / 1e9:.1f} GB"
        raise Unavailable("failed", said, "close other programs")


def prospect():
    """Return what ``connect`` will do, in words."""
    why = disk.problem()
    if why:
        return f"build a virtual machine, 15 to 30 minutes ({why}); python3 -m helpers machine does it beforehand"
    return "resume the course's virtual machine"


def _runs():
    return address() is not None and _alive() is not None


def _answers():
    return address() is not None and keys.answers(folder(), vm_session.port())


def _answers_in_time():
    """Return whether a machine that runs answers; wait for one that is too busy, or is being resumed again."""

    def settled():
        _unless_it_waits()
        return not _alive() or _answers()

    waiting.until(settled, waiting.ENGINE_ANSWER_SECONDS)
    return bool(_alive()) and _answers()


def _start():
    """Start the supervisor; return a client as soon as the engine answers."""
    here, log_file = folder(), disk.folder() / "supervisor.log"
    if len(str(here / "monitor")) > 100:  # 107 is the most
        raise Unavailable("failed", f"{here} is too long for a Unix socket", "set XDG_STATE_HOME to a shorter folder")
    _end_supervisor()
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir(mode=0o700)
    process = supervisor.start("from helpers.engine import vm_supervisor; vm_supervisor.supervise()", log_file)
    (disk.folder() / PID).write_text(str(process.pid))
    import docker  # noqa: F401 (a third of a second, while the machine is resumed)

    with progress(total=None, desc="starting the virtual machine", delay=2):
        while not (answer := _first_answer()):  # the supervisor itself gives up in the end
            if process.poll() is not None:
                said = disk.tail(log_file) or "it ended"
                raise Unavailable("failed", f"the virtual machine did not start: {said}", f"read {log_file}")
            time.sleep(0.01)
    print(log_file.read_text(), end="", flush=True)  # such as: booted, since the saved state was refused
    return answer


def _first_answer():
    """Return a client where the engine answers to this session's keys, which the machine may be taking now."""
    import docker

    if not address():
        return None
    time.sleep(KEYS_SECONDS)
    with contextlib.suppress(docker.errors.DockerException, OSError):
        found = client()
        found.ping()
        return found
    return None


def stop():
    """End the virtual machine; return whether one ran."""
    if not disk.exists():
        return False
    with state.Lock(disk.folder() / "start.lock"):
        return _end_supervisor()


def _end_supervisor():
    """End the supervisor, and its machine with it; return whether there was one."""
    number = _alive()
    if number:
        supervisor.end(number)  # QEMU ends with it
    return bool(number)


def _alive():
    """Return the supervisor's process id while it runs."""
    return supervisor.alive(disk.folder() / PID, "vm_supervisor.supervise")


def remove():
    """
    End the virtual machine and delete it; return whether there was one.

    Raises:
        CourseError: JupyterLab, a test or another process of the course still uses it.
    """
    if not disk.exists():
        return False
    made = any(disk.folder().glob("*.qcow2"))
    with supervisor.unused(disk.folder(), "the course's virtual machine"):
        stop()
        shutil.rmtree(disk.folder())
    return made
