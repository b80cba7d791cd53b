"""What one more container costs, and one more virtual machine: seconds, memory, disk; rows for ``draw``."""

import contextlib
import datetime
import http.client
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
import urllib.request
from pathlib import Path

import docker

from helpers import apt, engine
from helpers.containers import _host, _tail, run
from helpers.errors import CourseError, message
from helpers.images import size
from helpers.machines import keys, qemu, saved

MEMORY = 128  # MB that a machine is given: the least that its kernel and system start with
AROUND = 160  # MB that QEMU takes beside that, at most
INSTANCES = (1, 2, 4, 8)
SETTLE = 2  # seconds after the answer: what was needed only to start is given back
PATIENCE = 120  # seconds for a first answer
LARGE = 4e8  # bytes of a disk, compressed, that would take minutes to convert
RECORDED = Path(__file__).with_name("recorded.json")
TOOLS = "course/debian:bookworm-slim"  # has perl, which reads /proc
MEMORY_OF = Path(__file__).with_name("memory_of.pl")
ACCELERATORS = {"tcg": "emulated (TCG)", "kvm": "with KVM"}
HYPERVISORS = ("tcg", "kvm", "hvf", "whpx")  # QEMU's own emulation, and those of Linux, macOS, Windows
ENGINE_PROGRAMS = "/usr/bin/docker* /usr/bin/containerd* /usr/bin/ctr /usr/bin/crun /usr/sbin/dockerd"


def measure_container(client, image, repeats=5, instances=None):
    """
    Return what one more container of an image costs, which serves a page on the port that it exposes: one row.

    Keys: ``name``; ``how`` (where the engine is in the course's own machine); ``page`` (its answer); ``seconds``,
    ``least_seconds``, ``most_seconds`` (from the order to the first answer: median and extremes of ``repeats``);
    ``memory_bytes`` (PSS of its processes, its keeper and the forwarder of its port), ``keeper_bytes`` (the last two);
    ``image_bytes``, ``instance_bytes`` (what it has written), ``kernel`` (the release seen inside), ``own_kernel``.
    With ``instances``, such as ``(1, 2, 4, 8)``, a row for each number, for ``plot_density``: ``name``, ``how``,
    ``instances``, ``bytes``, ``keeper_bytes``, ``keeper`` (its name), and the fitted costs of one more, ``each_bytes``
    and ``keeper_each_bytes``.
    Memory is read by a container that sees the engine's processes. SDK calls: ``client.containers.run``,
    ``client.api.containers(size=True)``, ``client.info``, ``image.history``.

    Raises:
        CourseError: the image exposes no port, nothing answered, or this engine does not let its memory be read.

    Example::

        rows = measure_container(client, client.images.get("course/answer"))
    """
    port = _port(image)
    if instances:
        return _container_density(client, image, port, instances)
    times = []
    for _ in range(repeats):
        with contextlib.ExitStack() as stack:
            began = time.monotonic()
            container, page = _start_container(client, image, port, stack)
            times.append(time.monotonic() - began)
            if len(times) == repeats:
                facts = _facts_of_container(client, image, container)
    return [{"name": "container", "how": _how_of(client), "page": page, **_spread(times), **facts}]


def _facts_of_container(client, image, container):
    own, keeper = _memory_of_containers(client, [container])
    listed = client.api.containers(filters={"id": container.id}, size=True)
    release = _tool(client, ["uname", "-r"]).strip()
    return {
        "memory_bytes": own + keeper,
        "keeper_bytes": keeper,
        "image_bytes": size(image),
        "instance_bytes": listed[0].get("SizeRw") or 0,
        "kernel": release,
        "own_kernel": release != client.info()["KernelVersion"],
    }


def _port(image):
    exposed = image.attrs["Config"].get("ExposedPorts")
    if not exposed:
        remedy = "write EXPOSE into its Dockerfile, or take course/answer"
        raise CourseError(message("measuring a container of an image", "it exposes no port to ask", remedy))
    return next(iter(exposed))


def _how_of(client):
    accelerator = saved.accelerator() if engine.vm.is_ours(client) else None
    return f"inside a machine, {ACCELERATORS[accelerator]}" if accelerator else ""


def _spread(times):
    return {"seconds": statistics.median(times), "least_seconds": min(times), "most_seconds": max(times)}


def _start_container(client, image, port, stack):
    """Start a container that goes away with the stack; return it, and the page that it has answered with."""
    container = run(client, image, detach=True, ports={port: None})
    stack.callback(_remove, container)
    container.reload()
    bindings = container.attrs["NetworkSettings"]["Ports"].get(port)
    address = f"http://{_host(client)}:{bindings[0]['HostPort']}" if bindings else ""
    return container, _first_answer(address, lambda: _over(container))


def _over(container):
    """Return why a container cannot answer any more, or nothing."""
    container.reload()
    return "" if container.status == "running" else f"it has ended; its log says {_tail(container)}"


def _remove(container):
    with contextlib.suppress(docker.errors.NotFound):
        container.remove(force=True, v=True)


def _first_answer(address, over):
    """Ask an address until it answers, and return the page; raise CourseError once ``over()`` says why none will."""
    ask = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
    began = time.monotonic()
    while True:
        waited = time.monotonic() - began
        try:
            with ask(address, timeout=max(0.3, 0.05 * waited)) as answer:  # QEMU's ports open before the guest listens
                return answer.read().decode(errors="replace").strip()
        except (OSError, ValueError, http.client.HTTPException) as error:  # ValueError: no address
            said = over() if waited > 1 else ""
            if said or waited > PATIENCE:
                tried = "waiting for the first answer"
                raise CourseError(message(tried, said or error, "close other programs, then try again")) from None
        time.sleep(0.01)


def _container_density(client, image, port, instances):
    rows, running = [], []
    with contextlib.ExitStack() as stack:
        for count in instances:
            running += [_start_container(client, image, port, stack)[0] for _ in range(count - len(running))]
            own, keeper = _memory_of_containers(client, running)
            rows.append({"instances": count, "bytes": own + keeper, "keeper_bytes": keeper})
    return _density("container", _how_of(client), "its keeper and forwarder", rows)


def _density(name, how, keeper, rows):
    """Return rows with what they have in common: the name, and what one more costs."""
    common = {"name": name, "how": how, "keeper": keeper}
    each = {f"{part}each_bytes": _slope(rows, f"{part}bytes") for part in ("", "keeper_")}
    return [{**common, **row, **each} for row in rows]


def _slope(rows, column):
    """Return what one more costs: the slope of the line of least squares, or the quotient where there is one row."""
    counts, values = [row["instances"] for row in rows], [row[column] for row in rows]
    return statistics.linear_regression(counts, values).slope if len(rows) > 1 else values[0] / counts[0]


def _memory_of_containers(client, containers):
    """Return bytes of PSS of the containers' own processes, and of what the engine keeps around them."""
    for container in containers:
        container.reload()
    networks = [container.attrs["NetworkSettings"]["Networks"].values() for container in containers]
    addresses = [next(iter(network), {}).get("IPAddress", "") for network in networks]
    pids = [container.attrs["State"]["Pid"] for container in containers]
    arguments = [f"{pid}={address}" for pid, address in zip(pids, addresses, strict=True)]
    own, keeper = _tool(client, ["perl", "-e", MEMORY_OF.read_text(), *arguments]).split()
    return int(own), int(keeper)


def _tool(client, command):
    """Return what a command prints in a container that sees the engine's processes."""
    try:
        client.images.get(TOOLS)
    except docker.errors.ImageNotFound:
        remedy = 'base_image(client, "debian:bookworm-slim")'
        raise CourseError(message("reading the memory of containers", f"{TOOLS} is not here", remedy)) from None
    options = {"pid_mode": "host", "userns_mode": "host", "network_mode": "none", "cap_add": ["SYS_PTRACE"]}
    try:
        said = run(client, TOOLS, command, security_opt=["apparmor=unconfined"], remove=True, **options)
    except docker.errors.DockerException as error:
        remedy = "an engine that lets a container see its processes (pid_mode='host') is needed here"
        raise CourseError(message("reading the memory of containers", error, remedy)) from error
    return said.decode()


def measure_vm(memory=MEMORY, repeats=3, instances=None, disk="qcow2"):
    """
    Return what one more virtual machine costs, which serves the page that the container serves, and no other: one row.

    Keys as of ``measure_container``; ``how`` is the accelerator, ``memory_bytes`` the PSS of its QEMU, ``keeper_bytes``
    what of that is not the guest's memory: the emulator. Also ``snapshot_bytes`` (its memory, and what changed on its
    disk), ``resume_seconds`` (from there to the first answer), ``secret_in_snapshot`` (whether the file shows what only
    the guest's memory had), ``disk`` (the format that QEMU found), ``hypervisors`` (those of Linux, macOS and Windows
    that start a machine here). ``memory`` is in MB; a machine whose disk is not ``qcow2`` has no snapshot.
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
    to_be_built = saved.problem() and saved.problem("plain")
    if packages := saved.missing(build=bool(to_be_built)):
        try:
            apt.install(*packages, why="a virtual machine is to be measured")
        except CourseError as error:
            return str(error)
    if not _room(memory):
        free, need = _free_memory() / 1e6, _need(memory) / 1e6
        return (
            f"{free:.0f} MB of memory are free, and a machine takes {need:.0f}, with a fifth left; close other programs"
        )
    return None


def _room(memory):
    """Return how many machines the free memory is enough for, with a fifth left."""
    return int(0.8 * _free_memory() / _need(memory))


def _need(memory):
    """Return bytes that a machine takes at most while it starts: of memory that it is given it touches a part."""
    return (AROUND + MEMORY + max(0, memory - MEMORY) // 8) * 2**20


def _free_memory(root=Path("/")):
    """Return bytes of memory that new programs may take, on this computer and in the container that this may be."""
    meminfo = (root / "proc/meminfo").read_text()
    free = [int(re.search(r"MemAvailable:\s+(\d+)", meminfo)[1]) * 1024]
    for names in (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")):
        with contextlib.suppress(OSError, ValueError):  # ValueError: "max", which is none
            limit, used = (int((root / "sys/fs/cgroup" / name).read_text()) for name in names)
            stat = (root / "sys/fs/cgroup" / names[1]).with_name("memory.stat").read_text()
            free.append(limit - used + int(re.search(r"^inactive_file (\d+)", stat, re.MULTILINE)[1]))
    return max(min(free), 0)


def _machines(memory, repeats, instances, disk):
    """Measure virtual machines here; whatever is started ends with its stack, however that comes about."""
    base, times = saved.plain(), []
    how = ACCELERATORS[saved.accelerator()]
    with contextlib.ExitStack() as outer:
        if disk != "qcow2":
            base = _converted(base, disk, outer)
        if instances:
            return _machine_density(how, base, disk, memory, instances, outer)
        for _ in range(repeats):
            with contextlib.ExitStack() as stack:
                began = time.monotonic()
                machine = _power_on(base, disk, memory, stack)
                page = _first_answer(machine["address"], machine["over"])
                times.append(time.monotonic() - began)
                if len(times) == repeats:
                    facts = _facts_of_machine(machine, memory, stack)
                    facts |= _facts_of_snapshot(machine, memory, repeats) if disk == "qcow2" else {}
    return [{"name": "virtual machine", "how": how, "page": page, **_spread(times), **facts}]


def _converted(base, disk, stack):
    """Return the machine's disk in another format, in a folder that goes away with the stack."""
    if base.stat().st_size > LARGE:
        said = f"it also holds the course's images, {base.stat().st_size / 1e9:.1f} GB"
        raise CourseError(message(f"converting the machine's disk to {disk}", said, "measure as root, with dockerd"))
    return _qemu_img("convert", "-f", "qcow2", "-O", disk, base, _folder(stack) / f"disk.{disk}")


def _folder(stack):
    """Return a new folder beside the machine's disk that goes away with the stack."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="measure-", dir=saved.folder())))


def _qemu_img(*command):
    """Have ``qemu-img`` make a file; return that, its last argument."""
    _said(*command)
    return command[-1]


def _said(*command):
    """Return what ``qemu-img`` prints."""
    done = subprocess.run(["qemu-img", *map(str, command)], capture_output=True, text=True)
    if done.returncode:
        raise CourseError(message(f"qemu-img {command[0]}", done.stderr, "free disk space? python3 -m helpers doctor"))
    return done.stdout


def _power_on(base, disk, memory, stack, snapshot=None):
    """Start a machine on a disk that keeps what differs from ``base``, or go on with a snapshot; do not wait for it."""
    folder, port = _folder(stack), keys.free_port()
    own = _qemu_img("create", "-q", "-f", "qcow2", "-b", base, "-F", disk, folder / "disk.qcow2")
    incoming = f"exec:cat {shlex.quote(str(snapshot))}" if snapshot else None
    forwards = ((port, 8000),)
    command = qemu.command(folder, saved.folder(), "web", memory, 1, saved.accelerator(), own, incoming, forwards)
    process = qemu.start(command, folder)
    stack.callback(_end, process)
    monitor = qemu.Monitor(folder, process)
    stack.callback(monitor.socket.close)
    if snapshot:
        monitor.wait("query-status", ("paused", "running", "postmigrate"), PATIENCE)
        monitor("cont")
    return {
        "process": process,
        "monitor": monitor,
        "folder": folder,
        "disk": own,
        "secret": secrets.token_hex(16),
        "address": f"http://127.0.0.1:{port}",
        "over": lambda: "" if process.poll() is None else f"QEMU has ended: {saved.tail(folder / 'qemu.log')}",
    }


def _end(process):
    process.kill()
    process.wait()


def _facts_of_machine(machine, memory, stack):
    """Return what a machine that has answered takes, and what its kernel is; leave a secret in its memory."""
    time.sleep(SETTLE)
    total, guest = _memory_of_machine(machine["process"].pid, memory)
    control = qemu.control(machine["folder"], machine["process"])
    stack.callback(control.socket.close)
    release, boot, whole, not_needed = control(
        "uname -r; cat /proc/sys/kernel/random/boot_id; du -skxc /usr /etc /www | tail -1 | cut -f 1; "
        f"du -skc {ENGINE_PROGRAMS} 2>/dev/null | tail -1 | cut -f 1; echo {machine['secret']} > /run/secret"
    ).split()
    started = sum((saved.folder() / name).stat().st_size for name in ("vmlinuz", "initrd"))
    return {
        "memory_bytes": total,
        "keeper_bytes": total - guest,
        "image_bytes": (int(whole) - int(not_needed)) * 1024 + started,
        "instance_bytes": _allocated(machine["disk"]),
        "disk": _format_below(machine["disk"]),
        "kernel": release,
        "own_kernel": boot != Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "hypervisors": [name for name in HYPERVISORS if _starts_with(name)],
    }


def _facts_of_snapshot(machine, memory, repeats):
    """Save a machine, end it, resume it; return what that takes, and whether the snapshot shows the secret."""
    state = _snapshot(machine)
    _end(machine["process"])
    return {
        "snapshot_bytes": state.stat().st_size + _allocated(machine["disk"]),
        "resume_seconds": statistics.median(_resumed(machine["disk"], state, memory) for _ in range(repeats)),
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
    said = json.loads(_said("info", "--force-share", "--output=json", path))
    return json.loads(_said("info", "--force-share", "--output=json", said["full-backing-filename"]))["format"]


def _snapshot(machine):
    """Stop a machine and write all its memory to a file; return that."""
    path, monitor = machine["folder"] / "state", machine["monitor"]
    monitor("stop")
    monitor.line("migrate_set_parameter max-bandwidth 100G")
    monitor("migrate", uri=f"exec:cat > {shlex.quote(str(path))}")
    if monitor.wait("query-migrate", ("completed", "failed"), PATIENCE) == "failed":
        raise CourseError(message("saving a virtual machine", "QEMU says: failed", "free disk space, then try again"))
    return path


def _resumed(disk, state, memory):
    """Return seconds from the order to go on with a snapshot to the first answer."""
    with contextlib.ExitStack() as stack:
        began = time.monotonic()
        machine = _power_on(disk, "qcow2", memory, stack, state)
        _first_answer(machine["address"], machine["over"])
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
    for count in (count for count in instances if count <= max(_room(memory), 1)):
        more = [_power_on(base, disk, memory, stack) for _ in range(count - len(running))]
        for machine in more:
            _first_answer(machine["address"], machine["over"])
        running += more
        time.sleep(SETTLE)
        taken = [_memory_of_machine(machine["process"].pid, memory) for machine in running]
        total, guest = (sum(column) for column in zip(*taken, strict=True))
        rows.append({"instances": count, "bytes": total, "keeper_bytes": total - guest})
    return _density("virtual machine", how, "QEMU itself", rows)


def _recorded(memory, instances, disk, why):
    """Return rows that were measured on another computer, and say so."""
    record = json.loads(RECORDED.read_text())
    rows = record["rows"].get("density" if instances else f"{memory} {disk}", [])
    rows = [row for row in rows if not instances or row["instances"] in instances]
    if not rows:
        raise CourseError(message("measuring a virtual machine", why, "take memory=128, as was recorded elsewhere"))
    print(f"virtual machine: not measured here, but {record['date']} on {record['machine']}, since: {why}")
    return [{**row, "how": f"{row['how']}, recorded {record['date']} on {record['machine']}"} for row in rows]


def record():
    """
    Measure what the lesson measures, and keep it for computers where no virtual machine can run.

    Example::

        python -c "from helpers.measure import record; record()"
    """
    ways = ((MEMORY, "qcow2"), (512, "qcow2"), (MEMORY, "vmdk"))
    rows = {f"{memory} {disk}": _machines(memory, 3, None, disk) for memory, disk in ways}
    rows["density"] = _machines(MEMORY, 1, INSTANCES, "qcow2")
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, QEMU {qemu.version()}"
    content = {"date": datetime.date.today().isoformat(), "machine": machine, "rows": rows}
    RECORDED.write_text(json.dumps(content, indent=1) + "\n")
