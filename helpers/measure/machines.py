"""What one more virtual machine costs: the course's own, with a web server and no engine; or what it cost elsewhere."""

import contextlib
import datetime
import json
import mmap
import os
import platform
import re
import secrets
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from helpers import waiting
from helpers.errors import CourseError
from helpers.host import apt
from helpers.host.memory import free_memory
from helpers.host.network import free_port
from helpers.machines import disk as machine_disk
from helpers.machines import qemu, saved
from helpers.measure.rows import ACCELERATORS, density, first_answer, spread
from helpers.progress import progress

MEMORY_MB = 128  # that a machine is given: the least that its kernel and system start with
AROUND_MB = 160  # that QEMU takes beside that, at most
INSTANCES = (1, 2, 4, 8)
SETTLE_SECONDS = 2  # after the answer: what was needed only to start is given back
LARGE_DISK_BYTES = 4e8  # of a disk, compressed, that would take minutes to convert
RECORDED = Path(__file__).with_name("recorded.json")
HYPERVISORS = ("tcg", "kvm", "hvf", "whpx")  # QEMU's own emulation, and those of Linux, macOS, Windows
ENGINE_PROGRAMS = "/usr/bin/docker* /usr/bin/containerd* /usr/bin/ctr /usr/bin/crun /usr/sbin/dockerd"


def measure_vm(memory: int = MEMORY_MB, repeats: int = 3, instances=None, disk: str = "qcow2") -> list[dict]:
    """
    Return what one more virtual machine costs, which serves the page that the container serves, and no other: one row.

    Keys as of ``measure_container``, with these differences:
        how: the accelerator.
        memory_bytes, overhead_bytes: PSS of its QEMU; what of that is not the guest's memory, but the emulator.
        snapshot_bytes: of its memory, and of what changed on its disk.
        resume_seconds: from the snapshot to the first answer.
        secret_in_snapshot: whether the file shows what only the guest's memory had.
        disk: the format that QEMU found.
        hypervisors: those of Linux, macOS and Windows that start a machine here.

    ``memory`` is in MB; a machine whose disk is not ``qcow2`` has no snapshot.
    With ``instances``, a row for each number that memory is free for. It prints how the rows came about: where no
    machine can run, they were recorded on another computer, and ``how`` says which and when. No SDK call.

    Raises:
        CourseError: no machine can run here, and no such row was recorded elsewhere.

    Example::

        rows = measure_container(client, image) + measure_vm()
    """
    why = _hindrance(memory)
    if not why:
        try:
            rows = _machines(memory, repeats, instances, disk)
            print(f"virtual machine: {rows[0]['how']}, QEMU {qemu.version()}, {memory} MB each, measured here")
            return rows
        except (CourseError, OSError, subprocess.SubprocessError) as error:
            why = str(error)
    return _recorded(memory, instances, disk, why)


def _hindrance(memory):
    """Return why no virtual machine can run here, or None; as root on Debian, install what is missing."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"the course's machine needs Linux on x86-64, and this is {sys.platform} on {platform.machine()}"
    to_be_built = machine_disk.problem() and machine_disk.problem("plain")
    if packages := machine_disk.missing_packages(build=bool(to_be_built)):
        try:
            apt.install(*packages, why="a virtual machine is to be measured")
        except CourseError as error:
            return str(error)
    if not _room(memory):
        free, need = free_memory() / 1e6, _need(memory) / 1e6
        return (
            f"{free:.0f} MB of memory are free, and a machine takes {need:.0f}, with a fifth left; close other programs"
        )
    return None


def _room(memory):
    """Return how many machines the free memory is enough for, with a fifth left."""
    return int(0.8 * free_memory() / _need(memory))


def _need(memory):
    """Return bytes that a machine takes at most while it starts: of memory that it is given it touches a part."""
    return (AROUND_MB + MEMORY_MB + max(0, memory - MEMORY_MB) // 8) * 2**20


def _machines(memory, repeats, instances, disk):
    """Measure virtual machines here; whatever is started ends with its stack, however that comes about."""
    base, times = machine_disk.plain(), []
    how = ACCELERATORS[saved.accelerator()]
    with contextlib.ExitStack() as outer:
        if disk != "qcow2":
            base = _converted(base, disk, outer)
        if instances:
            return _machine_density(how, base, disk, memory, instances, outer)
        bar = outer.enter_context(progress(total=repeats, desc="measuring virtual machines", unit="start"))
        for _ in range(repeats):
            with contextlib.ExitStack() as stack:
                began = time.monotonic()
                machine = _power_on(base, disk, memory, stack)
                page = first_answer(machine["address"], machine["over"])
                times.append(time.monotonic() - began)
                bar.update(1)
                if len(times) == repeats:
                    facts = _facts_of_machine(machine, memory, stack)
                    facts |= _facts_of_snapshot(machine, memory, repeats) if disk == "qcow2" else {}
    return [{"name": "virtual machine", "how": how, "page": page, **spread(times), **facts}]


def _converted(base, disk, stack):
    """Return the machine's disk in another format, in a folder that goes away with the stack."""
    if base.stat().st_size > LARGE_DISK_BYTES:
        said = f"it also holds the course's images, {base.stat().st_size / 1e9:.1f} GB"
        raise CourseError(f"converting the machine's disk to {disk}", said, "measure as root, with dockerd")
    made = _folder(stack) / f"disk.{disk}"
    machine_disk.qemu_img("convert", "-f", "qcow2", "-O", disk, base, made)
    return made


def _folder(stack):
    """Return a new folder beside the machine's disk that goes away with the stack."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="measure-", dir=machine_disk.folder())))


def _power_on(base, disk, memory, stack, snapshot=None):
    """Start a machine on a disk that keeps what differs from ``base``, or go on with a snapshot; do not wait for it."""
    folder, port = _folder(stack), free_port()
    own = machine_disk.overlay(base, folder / "disk.qcow2", disk)
    incoming = f"exec:cat {shlex.quote(str(snapshot))}" if snapshot else None
    forwards = ((port, 8000),)
    command = qemu.command(
        folder, machine_disk.folder(), "web", memory, own, accelerator=saved.accelerator(), incoming=incoming,
        forwards=forwards,
    )  # fmt: skip
    process = qemu.start(command, folder)
    stack.callback(qemu.end, process)
    monitor = qemu.Monitor(folder, process)
    stack.callback(monitor.socket.close)
    if snapshot:
        monitor.wait("query-status", ("paused", "running", "postmigrate"), waiting.STATE_SECONDS)
        monitor("cont")
    return {
        "process": process,
        "monitor": monitor,
        "folder": folder,
        "disk": own,
        "secret": secrets.token_hex(16),
        "address": f"http://127.0.0.1:{port}",
        "over": lambda: "" if process.poll() is None else f"QEMU has ended: {machine_disk.tail(folder / 'qemu.log')}",
    }


def _facts_of_machine(machine, memory, stack):
    """Return what a machine that has answered takes, and what its kernel is; leave a secret in its memory."""
    time.sleep(SETTLE_SECONDS)
    total, guest = _memory_of_machine(machine["process"].pid, memory)
    control = qemu.control(machine["folder"], machine["process"])
    stack.callback(control.socket.close)
    release, boot, whole, not_needed = control(
        "uname -r; cat /proc/sys/kernel/random/boot_id; du -skxc /usr /etc /www | tail -1 | cut -f 1; "
        f"du -skc {ENGINE_PROGRAMS} 2>/dev/null | tail -1 | cut -f 1; echo {machine['secret']} > /run/secret"
    ).split()
    started = sum((machine_disk.folder() / name).stat().st_size for name in ("vmlinuz", "initrd"))
    return {
        "memory_bytes": total,
        "overhead_bytes": total - guest,
        "image_bytes": (int(whole) - int(not_needed)) * 1024 + started,
        "instance_bytes": _allocated(machine["disk"]),
        "disk": _format_below(machine["disk"]),
        "kernel": release,
        "own_kernel": boot != Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "hypervisors": [name for name in HYPERVISORS if _starts_with(name)],
    }


def _facts_of_snapshot(machine, memory, repeats):
    """Save a machine, end it, resume it; return what that takes, and whether the snapshot shows the secret."""
    times = []
    with progress(total=repeats, desc="measuring its snapshot", unit="resumption") as bar:
        state = _snapshot(machine)
        qemu.end(machine["process"])
        for _ in range(repeats):
            times.append(_resumed(machine["disk"], state, memory))
            bar.update(1)
    return {
        "snapshot_bytes": state.stat().st_size + _allocated(machine["disk"]),
        "resume_seconds": statistics.median(times),
        "secret_in_snapshot": _holds(state, machine["secret"].encode()),
    }


def _memory_of_machine(pid, memory):
    """Return bytes of PSS of a QEMU process, and how many of them are the guest's memory."""
    return _parts_of_memory(Path(f"/proc/{pid}/smaps").read_text(), memory)


def _parts_of_memory(smaps, memory):
    mappings = re.findall(r"^Size:\s+(\d+) kB\n(?:.*\n)*?Pss:\s+(\d+) kB$", smaps, re.MULTILINE)
    guest = [int(pss) for whole, pss in mappings if int(whole) >= memory * 1024]
    return sum(int(pss) for _, pss in mappings) * 1024, sum(guest) * 1024


def _allocated(path):
    return path.stat().st_blocks * 512


def _format_below(path):
    """Return the format of the disk that lies below a machine's own, as QEMU finds it in the file's first bytes."""
    info = ("info", "--force-share", "--output=json")
    below = json.loads(machine_disk.qemu_img(*info, path))["full-backing-filename"]
    return json.loads(machine_disk.qemu_img(*info, below))["format"]


def _snapshot(machine):
    """Stop a machine and write all its memory to a file; return that."""
    path = machine["folder"] / "state"
    machine["monitor"].save(f"cat > {shlex.quote(str(path))}")
    return path


def _resumed(disk, state, memory):
    """Return seconds from the order to go on with a snapshot to the first answer."""
    with contextlib.ExitStack() as stack:
        began = time.monotonic()
        machine = _power_on(disk, "qcow2", memory, stack, state)
        first_answer(machine["address"], machine["over"])
        return time.monotonic() - began


def _holds(path, words):
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(words) >= 0


def _starts_with(hypervisor):
    """Return whether QEMU starts a machine with a hypervisor here: an empty one, with KVM the one of the trial boot."""
    if hypervisor == "kvm":
        return saved.accelerator() == "kvm"
    command = [qemu.PROGRAM, "-nodefaults", "-display", "none", "-machine", "none", "-accel", hypervisor]
    orders = '{"execute": "qmp_capabilities"}\n{"execute": "quit"}\n'
    done = subprocess.run([*command, "-qmp", "stdio"], input=orders, capture_output=True, text=True, timeout=60)
    return done.returncode == 0


def _machine_density(how, base, disk, memory, instances, stack):
    rows, running = [], []
    counts = [count for count in instances if count <= max(_room(memory), 1)]
    bar = stack.enter_context(progress(total=counts[-1], desc="measuring virtual machines", unit="machine"))
    for count in counts:
        more = [_power_on(base, disk, memory, stack) for _ in range(count - len(running))]
        for machine in more:
            first_answer(machine["address"], machine["over"])
            bar.update(1)
        running += more
        time.sleep(SETTLE_SECONDS)
        taken = [_memory_of_machine(machine["process"].pid, memory) for machine in running]
        total, guest = (sum(column) for column in zip(*taken, strict=True))
        rows.append({"instances": count, "bytes": total, "overhead_bytes": total - guest})
    return density("virtual machine", how, "QEMU itself", rows)


def _recorded(memory, instances, disk, why):
    """Return rows that were measured on another computer, and say so."""
    record = json.loads(RECORDED.read_text())
    rows = record["rows"].get("density" if instances else f"{memory} {disk}", [])
    rows = [row for row in rows if not instances or row["instances"] in instances]
    if not rows:
        raise CourseError("measuring a virtual machine", why, "take memory=128, as was recorded elsewhere")
    print(f"virtual machine: recorded on {record['machine']}, {record['date']}; not measured here because {why}")
    return [{**row, "how": f"{row['how']}, recorded {record['date']} on {record['machine']}"} for row in rows]


def record():
    """
    Measure what the lesson measures, and keep it for computers where no virtual machine can run.

    Example::

        python -c "from helpers.measure.machines import record; record()"
    """
    ways = ((MEMORY_MB, "qcow2"), (512, "qcow2"), (MEMORY_MB, "vmdk"))
    rows = {f"{memory} {disk}": _machines(memory, 3, None, disk) for memory, disk in ways}
    rows["density"] = _machines(MEMORY_MB, 1, INSTANCES, "qcow2")
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, QEMU {qemu.version()}"
    content = {"date": datetime.date.today().isoformat(), "machine": machine, "rows": rows}
    RECORDED.write_text(json.dumps(content, indent=1) + "\n")
