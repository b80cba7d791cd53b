"""A Docker Engine in a virtual machine, as anybody, on Linux: resumed from a saved one, thrown away in the end."""

import contextlib
import json
import os
import platform
import shutil
import signal
import sys
import threading
import time

from helpers import state, waiting
from helpers.engine import supervisor
from helpers.engine.unavailable import Unavailable
from helpers.errors import CourseError
from helpers.host import apt
from helpers.host.memory import free_memory
from helpers.host.network import free_port
from helpers.machines import disk, keys, qemu, saved
from helpers.progress import progress

PID = "supervisor.pid"
KEYS_SECONDS = 0.1  # in which a machine takes its keys; it needs longer where it is asked for something meanwhile
LITTLE_DISK_BYTES = 64e6  # with fewer, a machine that waits for space would have to wait again at once
TRIES = 2  # with the saved state, before the machine is booted without it
RESUMES = 5  # at most in one session, after crashes
SILENT = "its engine did not answer"


def folder():
    """Return the folder of the session: sockets, keys, a disk with what was changed."""
    return disk.folder() / "session"


def address():
    """Return the engine's address while a session runs, or None."""
    return _ready().get("address")


def _ready():
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
    if _runs() and _free_disk_bytes() < LITTLE_DISK_BYTES:
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
    wanted, free = disk.build_bytes() if to_be_built else saved.SESSION_DISK_BYTES, _free_disk_bytes()
    if free < wanted:
        said = f"{free / 1e9:.1f} GB free in {disk.folder()}, and the virtual machine takes {wanted / 1e9:.0f} GB"
        raise Unavailable("failed", said, "free some disk space, or set XDG_STATE_HOME to a folder on another disk")
    wanted, free = saved.SESSION_MEMORY_BYTES, free_memory()
    if free < wanted:
        said = f"{free / 1e9:.1f} GB of memory free, and the virtual machine takes {wanted / 1e9:.1f} GB"
        raise Unavailable("failed", said, "close other programs")


def _free_disk_bytes():
    return shutil.disk_usage(disk.folder()).free


def prospect():
    """Return what ``connect`` will do, in words."""
    why = disk.problem()
    if why:
        return f"build a virtual machine, a quarter of an hour ({why}); python3 -m helpers machine does it beforehand"
    return "resume the course's virtual machine"


def client():
    """Return a ``docker.DockerClient`` with this session's keys."""
    return keys.client(folder(), _port(), _ready().get("version"))


def _port():
    return int((address() or ":0").rpartition(":")[2])  # nothing answers at 0


def _runs():
    return address() is not None and _alive() is not None


def _answers():
    return address() is not None and keys.answers(folder(), _port())


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
    process = supervisor.start("from helpers.engine import vm; vm.supervise()", log_file)
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


def supervise():
    """Run the virtual machine until no process uses it any more; resume it again where it crashed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    here, port, session_keys, refusals = folder(), free_port(), {}, []
    machine = None
    with (disk.folder() / "users.lock").open("w") as users:
        try:
            for turn in range(RESUMES):
                machine, monitor, booted = _resume_or_boot(here, port, session_keys, refusals)
                ready = {"address": f"tcp://127.0.0.1:{port}", "version": saved.version(), "resumed": turn}
                _write(here / "ready.json", ready)
                threading.Thread(target=_forward, args=(monitor, machine), daemon=True).start()
                watch = _watch(machine, monitor, port, booted, refusals)
                if not supervisor.still_used(machine, users, lambda watch=watch: next(watch)):
                    break
                said = refusals[-1] if refusals else disk.tail(here / "qemu.log") or f"status {machine.returncode}"
                print(f"the virtual machine crashed ({said}): its containers are gone", flush=True)
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if machine:
                qemu.end(machine)
            shutil.rmtree(here, ignore_errors=True)


def _resume_or_boot(here, port, session_keys, refusals):
    """
    Start the machine on a disk of its own, and make it this session's; return ``(process, monitor, booted)``.

    The saved state is tried, and tried again; ``refusals`` tells how often it was refused in this session. Then the
    machine is booted without it; the state itself is deleted only where it is proved bad.
    """
    forwards = ((port, keys.INSIDE),)

    def make_keys():  # once a session: they are the same after a crash
        if not session_keys:
            session_keys.update(keys.make(here))
        return session_keys

    def give_keys(process, monitor, control):
        keys.give_to_guest(control, make_keys())
        return process, monitor, True

    while len(refusals) < TRIES and not (refusals and saved.damaged()):
        try:
            return *saved.resume(here, forwards, make_keys), False
        except qemu.Refused as error:
            refusals.append(f"{error}; {disk.tail(here / 'qemu.log')}")
    print(f"the saved state could not be resumed, booting instead ({refusals[-1]})", flush=True)
    if saved.is_bad(refusals):
        saved.forget()
    return saved.boot(here, forwards, give_keys)


def _watch(machine, monitor, port, booted, refusals):
    """
    Look after a machine that runs, once for each ``next``: go on after a full disk, end a machine that is silent.

    A resumed machine whose engine never answers counts as a state refused. Where a booted one answers after that, the
    state is proved bad.
    """
    here, began, answered = folder(), time.monotonic(), False
    while True:
        yield _go_on_where_halted(monitor)
        waited = time.monotonic() - began
        if answered or waited < 5:  # who has waited for the engine goes first
            continue
        answered = bool(keys.answers(here, port))
        if answered and booted and refusals and all(SILENT in refusal for refusal in refusals):
            saved.forget()
        if not answered and waited > waiting.ENGINE_ANSWER_SECONDS and _free_disk_bytes() > LITTLE_DISK_BYTES:
            refusals.append(f"{SILENT}; console: {disk.tail(here / 'console')}")
            (here / "ready.json").unlink(missing_ok=True)
            qemu.end(machine)


def _go_on_where_halted(monitor):
    """Have the machine go on where QEMU halted it, since it could not write to a full disk, once there is space."""
    with contextlib.suppress(qemu.Refused):  # it has ended: the loop sees that
        if monitor("query-status")["status"] == "io-error" and _free_disk_bytes() > LITTLE_DISK_BYTES:
            monitor("cont")


def _forward(monitor, machine):
    """Open each port that a container publishes on this computer's 127.0.0.1 too, and close it with the container."""
    time.sleep(1)  # who has waited for the engine goes first
    import docker

    here, opened = None, {}
    while machine.poll() is None:
        with contextlib.suppress(docker.errors.DockerException, OSError, qemu.Refused):
            here = here or client()
            events = here.events(decode=True, filters={"type": "container", "event": ["start", "die"]})
            opened = _sync(here, monitor, opened)
            for _ in events:
                opened = _sync(here, monitor, opened)
        time.sleep(0.1)


def _sync(here, monitor, opened):
    """Open and close ports so that those are open that running containers publish; write down which; return them."""
    wanted = {
        f"{port['Type']}:127.0.0.1:{port['PublicPort']}": port
        for container in here.api.containers()
        for port in container["Ports"]
        if "PublicPort" in port and ":" not in port["IP"]
    }
    for outside in opened.keys() - wanted.keys():
        monitor.line(f"hostfwd_remove net {outside}")
    for outside in wanted.keys() - opened.keys():
        inside = "127.0.0.1" if wanted[outside]["IP"].startswith("127.") else "10.0.2.15"
        opened[outside] = monitor.line(f"hostfwd_add net {outside}-{inside}:{wanted[outside]['PublicPort']}")
    opened = {outside: said for outside, said in opened.items() if outside in wanted}
    _write(folder() / "ports.json", opened)
    return opened


def _write(path, content):
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
    return supervisor.alive(disk.folder() / PID, "vm.supervise")


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
