"""A Docker Engine in a virtual machine, as anybody, on Linux: resumed from a saved one, thrown away in the end."""

import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from helpers import apt, state
from helpers.engine import shared
from helpers.engine.unavailable import Unavailable
from helpers.errors import CourseError
from helpers.machines import keys, qemu, saved
from helpers.memory import free_memory

PID = "supervisor.pid"
KEYS = 0.1  # seconds in which a machine takes its keys, and longer where it is asked for something meanwhile
ANSWER = 60  # seconds that an engine may take for its first answer, once it runs
LITTLE = 64e6  # bytes of disk: with fewer, a machine that waits for space would have to wait again at once
RESUMES = 5  # after a crash, so often at most, in one session


def folder():
    """Return the folder of the session: sockets, keys, a disk with what was changed."""
    return saved.folder() / "session"


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
    shared.hold(saved.folder())
    try:
        with state.Lock(saved.folder() / "start.lock"):
            if not _answers_in_time():
                saved.ready()
                return _start()
        return client()
    except Unavailable:
        raise
    except CourseError as error:
        raise Unavailable("failed", str(error), f"read what is in {saved.folder()}") from error


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
    if _runs() and shutil.disk_usage(saved.folder()).free < LITTLE:
        said = f"the virtual machine waits, since no space is left on the disk of {folder()}"
        raise Unavailable("failed", said, "free some disk space: it goes on by itself, with all that is in it")


def check(install=False):
    """Raise Unavailable where no virtual machine can be: another system or processor, something missing, no room."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        said = f"the course's virtual machine needs Linux on x86-64; this is {sys.platform} on {platform.machine()}"
        raise Unavailable("missing", said, "install Docker Desktop, or work in WSL2 (Windows) or on Binder")
    try:
        saved.folder()
    except OSError as error:
        said = f"its folder cannot be made: {error}"
        raise Unavailable("failed", said, "set XDG_STATE_HOME to a folder of yours") from None
    to_be_built = saved.problem()
    if install and os.geteuid() == 0 and apt.available() and (packages := saved.missing(to_be_built)):
        apt.install(*packages, why="the course's virtual machine needs them")
    if packages := saved.missing(to_be_built):
        said = f"the virtual machine needs {', '.join(packages)}"
        remedy = apt.command(packages) if apt.available() else "install them with this system's own package manager"
        raise Unavailable("missing", said, remedy)
    if _runs():
        return  # and has taken what it needs
    wanted = saved.build_space() if to_be_built else saved.SESSION_SPACE
    free = shutil.disk_usage(saved.folder()).free
    if free < wanted:
        said = f"{free / 1e9:.1f} GB free in {saved.folder()}, and the virtual machine takes {wanted / 1e9:.0f} GB"
        raise Unavailable("failed", said, "free some disk space, or set XDG_STATE_HOME to a folder on another disk")
    if (memory := free_memory()) < saved.SESSION_MEMORY:
        said = (
            f"{memory / 1e9:.1f} GB of memory free, and the virtual machine takes {saved.SESSION_MEMORY / 1e9:.1f} GB"
        )
        raise Unavailable("failed", said, "close other programs")


def prospect():
    """Return what ``connect`` will do, in words."""
    why = saved.problem()
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
    """Return whether a machine that runs answers; wait for one that is too busy, or is being resumed anew."""
    deadline = time.monotonic() + ANSWER
    while _alive() and time.monotonic() < deadline:
        if _answers():
            return True
        _unless_it_waits()
        time.sleep(0.05)
    return False


def _start():
    """Start the supervisor; return a client as soon as the engine answers."""
    here = folder()
    if len(str(here / "monitor")) > 100:  # 107 is the most
        raise Unavailable("failed", f"{here} is too long for a Unix socket", "set XDG_STATE_HOME to a shorter folder")
    _end_supervisor()
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir(mode=0o700)
    log_file = saved.folder() / "supervisor.log"
    with log_file.open("w") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-c", "from helpers.engine import vm; vm.supervise()"],
            cwd=Path(__file__).parents[2], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    (saved.folder() / PID).write_text(str(supervisor.pid))
    import docker  # noqa: F401 (a third of a second, while the machine is resumed)

    from helpers.progress import progress

    with progress(total=None, desc="starting the virtual machine", delay=2):
        while not address():
            if supervisor.poll() is not None:
                said = saved.tail(log_file) or "it ended"
                raise Unavailable("failed", f"the virtual machine did not start: {said}", f"read {log_file}")
            time.sleep(0.01)
        made = _first_answer(log_file)
    print(log_file.read_text(), end="", flush=True)  # such as: booted, since the saved state was refused
    return made


def _first_answer(log_file):
    """Return a client as soon as the engine answers to this session's keys, which the machine is taking now."""
    import docker

    time.sleep(KEYS)
    deadline = time.monotonic() + ANSWER
    while True:
        try:
            made = client()
            made.ping()
            return made
        except (docker.errors.DockerException, OSError) as error:
            if time.monotonic() > deadline:
                saved.forget()
                said = f"its engine did not answer: {error}; console: {saved.tail(folder() / 'console')}"
                raise Unavailable("failed", said, f"read {log_file}") from None
        time.sleep(0.01)


def supervise():
    """Run the virtual machine until no process uses it any more; resume it anew where it crashed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    here = folder()
    port, certificates, machine = keys.free_port(), {}, None
    with (saved.folder() / "users.lock").open("w") as users:
        try:
            for turn in range(RESUMES):
                machine, monitor = _resume(here, port, certificates)
                ready = {"address": f"tcp://127.0.0.1:{port}", "version": saved.version(), "resumed": turn}
                _write(here / "ready.json", ready)
                threading.Thread(target=_forward, args=(monitor, machine), daemon=True).start()
                while machine.poll() is None and shared.in_use(users):
                    _go_on_where_halted(monitor)
                    time.sleep(0.2)
                if machine.poll() is None:  # nobody uses it; one that comes now waits until ``users`` is closed
                    break
                said = saved.tail(here / "qemu.log") or f"exit status {machine.returncode}"
                print(f"the virtual machine crashed ({said}): its containers are gone", flush=True)
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if machine:
                machine.kill()
                machine.wait()
            shutil.rmtree(here, ignore_errors=True)


def _resume(here, port, certificates):
    """
    Resume the saved machine on a disk of its own, and make it this session's; boot it where that is refused.

    Return ``(process, monitor)``. ``certificates`` are made while the state is loaded, and kept.
    """
    forwards = ((port, keys.INSIDE),)
    try:
        machine, monitor = saved.resume(here, forwards)
        certificates.update(certificates or keys.make(here))
        saved.go_on(here, machine, monitor, certificates)
        return machine, monitor
    except qemu.Refused as error:
        print(f"the saved state could not be resumed, booting instead ({error})", flush=True)
    certificates.update(certificates or keys.make(here))

    def hand_over(process, monitor, control):
        keys.hand_over(control, certificates)
        return process, monitor

    return saved.cold(here, forwards, hand_over)


def _go_on_where_halted(monitor):
    """Have the machine go on where QEMU halted it, since it could not write to a full disk, once there is space."""
    with contextlib.suppress(qemu.Refused):  # it has ended: the loop sees that
        if monitor("query-status")["status"] == "io-error" and shutil.disk_usage(saved.folder()).free > LITTLE:
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


def refused(container, seconds=10):
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
    deadline, opened = time.monotonic() + seconds, {}
    while not wanted <= opened.keys() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            opened = json.loads((folder() / "ports.json").read_text())
        time.sleep(0.02)
    return sorted(outside.rpartition(":")[2] for outside in wanted if opened.get(outside))


def stop():
    """End the virtual machine; return whether one ran."""
    if not saved.exists():
        return False
    with state.Lock(saved.folder() / "start.lock"):
        return _end_supervisor()


def _end_supervisor():
    """End the supervisor, and its machine with it; return whether there was one."""
    number = _alive()
    if number is None:
        return False
    os.kill(number, signal.SIGTERM)
    deadline = time.monotonic() + 10
    while _alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    if _alive():
        os.kill(number, signal.SIGKILL)  # QEMU ends with it
    return True


def _alive():
    """Return the supervisor's process id while it runs."""
    with contextlib.suppress(OSError, ValueError):
        number = int((saved.folder() / PID).read_text())
        if "vm.supervise" in Path(f"/proc/{number}/cmdline").read_text():
            return number
    return None


def remove():
    """
    End the virtual machine and delete it; return whether there was one.

    Raises:
        CourseError: JupyterLab, a test or another process of the course still uses it.
    """
    if not saved.exists():
        return False
    made = any(saved.folder().glob("*.qcow2"))
    with (saved.folder() / "users.lock").open("w") as users:
        if shared.in_use(users):
            raise CourseError("the course's virtual machine is in use; next: close JupyterLab, then try again")
        stop()
        shutil.rmtree(saved.folder())
    return made
