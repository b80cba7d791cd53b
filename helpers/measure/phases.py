"""Where the time of ``docker run`` goes in the virtual machine: its kernel tells when each program began and ended."""

import re
import time

from helpers.engine import vm_session
from helpers.machines import qemu

BEGIN = """
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
cd /sys/kernel/tracing
echo > trace
for event in exec exit; do echo 1 > events/sched/sched_process_$event/enable; done
echo 1 > tracing_on
"""
END = """
cd /sys/kernel/tracing
echo 0 > tracing_on
for event in exec exit; do echo 0 > events/sched/sched_process_$event/enable; done
cat trace
"""
PROGRAMS = {
    "/usr/bin/containerd-shim-runc-v2": "shim: its start and its end",
    "/usr/bin/runtime": "runtime: crun, four times",
    "/usr/bin/setkey": "network set-up",
    "/bin/true": "the program itself",
    "/usr/bin/true": "the program itself",
}


def phases(client, image):
    """
    Return where the seconds of running ``true`` in a new container went, as rows with ``name`` and ``seconds``.

    Only on the course's virtual machine. SDK call: ``client.containers.run``.

    Example::

        table(phases(client, "debian:trixie-slim"))
    """
    control = qemu.Control(qemu.connect(vm_session.folder() / "control"))
    control(BEGIN)
    began = time.monotonic()
    client.containers.run(image, "true", remove=True)
    whole = time.monotonic() - began
    rows = dict.fromkeys(PROGRAMS.values(), 0.0)
    for name, seconds in _durations(control(END)):
        rows[name] += seconds
    rows["runtime: crun, four times"] -= rows["network set-up"]  # a hook that crun waits for
    rows["the engine, and what is between"] = whole - sum(rows.values())
    return [{"name": name, "seconds": seconds} for name, seconds in {**rows, "all": whole}.items()]


def _durations(trace):
    """Yield ``(name, seconds)`` of the known programs; the shim stays, and counts until crun is called."""
    began = {}
    for when, event, facts in re.findall(r"([\d.]+): sched_process_(exec|exit): (.*)", trace):
        program = re.search(r"filename=(\S+)", facts)
        pid = re.search(r"\bpid=(\d+)", facts)[1]
        if event == "exec" and pid not in began and program[1] in PROGRAMS:
            began[pid] = program[1], float(when)
        if program and program[1] == "/usr/bin/runtime":
            for shim in [one for one, (name, _) in began.items() if "shim" in name]:
                name, since = began.pop(shim)
                yield PROGRAMS[name], float(when) - since
        if event == "exit" and pid in began:
            name, since = began.pop(pid)
            yield PROGRAMS[name], float(when) - since
