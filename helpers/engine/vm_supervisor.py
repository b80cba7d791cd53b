"""The supervisor of the virtual machine: it resumes or boots it, watches it, and opens the ports that it publishes."""

import contextlib
import shutil
import signal
import sys
import threading
import time

from helpers import waiting
from helpers.engine import supervisor, vm_session
from helpers.host.network import free_port
from helpers.machines import disk, keys, qemu, saved

TRIES = 2  # with the saved state, before the machine is booted without it
RESUMES = 5  # at most in one session, after crashes
SILENT = "its engine did not answer"


def supervise():
    """Run the virtual machine until no process uses it any more; resume it again where it crashed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    here, port, session_keys, refusals = vm_session.folder(), free_port(), {}, []
    machine = None
    with (disk.folder() / "users.lock").open("w") as users:
        try:
            for turn in range(RESUMES):
                machine, monitor, booted = _resume_or_boot(here, port, session_keys, refusals)
                ready = {"address": f"tcp://127.0.0.1:{port}", "version": saved.version(), "resumed": turn}
                vm_session.write(here / "ready.json", ready)
                threading.Thread(target=_forward, args=(monitor, machine), daemon=True).start()
                watch, before = _watch(machine, monitor, port, booted, refusals), len(refusals)
                if not supervisor.still_used(machine, users, lambda watch=watch: next(watch)):
                    break
                said = disk.tail(here / "qemu.log") or f"exit status {machine.returncode}"
                said = refusals[-1] if len(refusals) > before else said
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
    if saved.damaged():
        saved.forget()
    return saved.boot(here, forwards, give_keys)


def _watch(machine, monitor, port, booted, refusals):
    """
    Look after a machine that runs, once for each ``next``: go on after a full disk, end a machine that is silent.

    A resumed machine whose engine never answers counts as a state refused. Where a booted one answers after that, the
    state is proved bad.
    """
    here, began, answered = vm_session.folder(), time.monotonic(), False
    while True:
        yield _go_on_where_halted(monitor)
        waited = time.monotonic() - began
        if answered or waited < 5:  # first come those that wait for the engine
            continue
        answered = bool(keys.answers(here, port))
        if answered and booted and refusals and all(SILENT in refusal for refusal in refusals):
            saved.forget()
        if not answered and waited > waiting.ENGINE_ANSWER_SECONDS and not vm_session.disk_is_full():
            refusals.append(f"{SILENT}; console: {disk.tail(here / 'console')}")
            (here / "ready.json").unlink(missing_ok=True)
            qemu.end(machine)


def _go_on_where_halted(monitor):
    """Have the machine go on where QEMU halted it, since it could not write to a full disk, once there is space."""
    with contextlib.suppress(qemu.Refused):  # it has ended: the loop sees that
        if monitor("query-status")["status"] == "io-error" and not vm_session.disk_is_full():
            monitor("cont")


def _forward(monitor, machine):
    """Open each port that a container publishes on this computer's 127.0.0.1 too, and close it with the container."""
    time.sleep(1)  # first come those that wait for the engine
    import docker

    here, opened = None, {}
    while machine.poll() is None:
        with contextlib.suppress(docker.errors.DockerException, OSError, qemu.Refused):
            here = here or vm_session.client()
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
    vm_session.write(vm_session.folder() / "ports.json", opened)
    return opened
