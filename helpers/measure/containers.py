"""What one more container costs; its memory is read by a container that sees the engine's processes."""

import contextlib
import time
from pathlib import Path

import docker
from docker.models.images import Image

from helpers import engine
from helpers.containers.run import run
from helpers.containers.url import engine_host, last_words
from helpers.errors import CourseError
from helpers.images.layers import size
from helpers.measure.rows import ACCELERATORS, density, first_answer, spread
from helpers.progress import progress

TOOLS_IMAGE = "debian:trixie-slim"  # has perl, which reads /proc
MEMORY_SCRIPT = Path(__file__).with_name("memory_of.pl")


def measure_container(client: docker.DockerClient, image: Image, repeats: int = 5, instances=None) -> list[dict]:
    """
    Return what one more container of an image costs, which serves a page on the port that it exposes: one row.

    Keys:
        name, how: ``container``, and what emulates the engine's machine where it is in the course's own.
        page: its answer.
        seconds, least_seconds, most_seconds: from the order to the first answer, median and extremes of ``repeats``.
        memory_bytes, overhead_bytes: PSS of its processes, its shim and the forwarder of its port; of the last two.
        image_bytes, instance_bytes: of its image; of what it has written.
        kernel, own_kernel: the release seen inside; whether it is another than the engine's.

    With ``instances``, such as ``(1, 2, 4, 8)``, a row for each number, for ``plot_density``. Keys: ``name``, ``how``,
    ``instances``, ``bytes``, ``overhead_bytes``, ``overhead`` (whose it is), and the fitted costs of one more,
    ``each_bytes`` and ``overhead_each_bytes``.

    SDK calls: ``client.containers.run``, ``client.api.containers(size=True)``, ``container.diff``, ``client.info``,
    ``image.save``.

    Raises:
        CourseError: the image exposes no port, nothing answered, or this engine does not let its memory be read.

    Example::

        rows = measure_container(client, client.images.get("course/answer"))
    """
    port = _port(image)
    if instances:
        return _container_density(client, image, port, instances)
    times = []
    with progress(total=repeats, desc="measuring containers", unit="start") as bar:
        for _ in range(repeats):
            with contextlib.ExitStack() as stack:
                began = time.monotonic()
                container, page = _start_container(client, image, port, stack)
                times.append(time.monotonic() - began)
                if len(times) == repeats:
                    facts = _facts_of_container(client, image, container)
            bar.update(1)
    return [{"name": "container", "how": _how_of(client), "page": page, **spread(times), **facts}]


def _facts_of_container(client, image, container):
    own, overhead = _memory_of_containers(client, [container])
    listed = client.api.containers(filters={"id": container.id}, size=True)
    written = container.diff() and listed[0].get("SizeRw")  # containerd's store counts a block where there is no file
    release = _tool(client, ["uname", "-r"]).strip()
    return {
        "memory_bytes": own + overhead,
        "overhead_bytes": overhead,
        "image_bytes": size(image),
        "instance_bytes": written or 0,
        "kernel": release,
        "own_kernel": release != client.info()["KernelVersion"],
    }


def _port(image):
    exposed = image.attrs["Config"].get("ExposedPorts")
    if not exposed:
        remedy = "write EXPOSE into its Dockerfile, or take course/answer"
        raise CourseError("measuring a container of an image", "it exposes no port to ask", remedy)
    return next(iter(exposed))


def _how_of(client):
    accelerator = engine.accelerator(client)
    return f"inside a machine, {ACCELERATORS[accelerator]}" if accelerator else ""


def _start_container(client, image, port, stack):
    """Start a container that goes away with the stack; return it, and the page that it has answered with."""
    container = run(client, image, detach=True, ports={port: None})
    stack.callback(_remove, container)
    container.reload()
    bindings = container.attrs["NetworkSettings"]["Ports"].get(port)
    address = f"http://{engine_host(client)}:{bindings[0]['HostPort']}" if bindings else ""
    return container, first_answer(address, lambda: _over(container))


def _over(container):
    """Return why a container cannot answer any more, or nothing."""
    container.reload()
    return "" if container.status == "running" else f"it has ended; its log says {last_words(container)}"


def _remove(container):
    with contextlib.suppress(docker.errors.NotFound):
        container.remove(force=True, v=True)


def _container_density(client, image, port, instances):
    rows, running = [], []
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(progress(total=max(instances), desc="measuring containers", unit="container"))
        for count in instances:
            while len(running) < count:
                running.append(_start_container(client, image, port, stack)[0])
                bar.update(1)
            own, overhead = _memory_of_containers(client, running)
            rows.append({"instances": count, "bytes": own + overhead, "overhead_bytes": overhead})
    return density("container", _how_of(client), "its shim and forwarder", rows)


def _memory_of_containers(client, containers):
    """Return bytes of PSS of the containers' own processes, and of what the engine keeps around them."""
    for container in containers:
        container.reload()
    networks = [container.attrs["NetworkSettings"]["Networks"].values() for container in containers]
    addresses = [next(iter(network), {}).get("IPAddress", "") for network in networks]
    pids = [container.attrs["State"]["Pid"] for container in containers]
    arguments = [f"{pid}={address}" for pid, address in zip(pids, addresses, strict=True)]
    own, overhead = _tool(client, ["perl", "-e", MEMORY_SCRIPT.read_text(), *arguments]).split()
    return int(own), int(overhead)


def _tool(client, command):
    """Return what a command prints in a container that sees the engine's processes."""
    try:
        client.images.get(TOOLS_IMAGE)
    except docker.errors.ImageNotFound:
        remedy = 'base_image(client, "debian:trixie-slim")'
        raise CourseError("reading the memory of containers", f"{TOOLS_IMAGE} is not here", remedy) from None
    options = {"pid_mode": "host", "userns_mode": "host", "network_mode": "none", "cap_add": ["SYS_PTRACE"]}
    try:
        said = run(client, TOOLS_IMAGE, command, security_opt=["apparmor=unconfined"], remove=True, **options)
    except docker.errors.DockerException as error:
        remedy = "an engine that lets a container see its processes (pid_mode='host') is needed here"
        raise CourseError("reading the memory of containers", error, remedy) from error
    return said.decode()
