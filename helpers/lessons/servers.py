"""A fresh server to practise on: Debian with systemd, played by a container."""

import re
import secrets

import docker

from helpers.containers.run import labels, run
from helpers.containers.url import url
from helpers.errors import CourseError, explain, refusal
from helpers.images.bases import FOLDER, base_image
from helpers.images.build import build
from helpers.progress import progress

HELLO = "hello-world"
READY = "until systemctl list-units >/dev/null 2>&1; do sleep 0.1; done; systemctl is-system-running --wait"


def server(client: docker.DockerClient) -> docker.models.containers.Container:
    """
    Start a fresh Debian server and return its container, as soon as systemd is up.

    It has a user ``ubuntu`` who may use sudo, and its own archive of packages, so that ``apt install docker.io`` works
    without a network. A registry with ``hello-world`` stands beside it, where its Docker looks first. ``cleanup``
    removes all of it. SDK calls: ``client.networks.create``, ``client.volumes.create``, ``client.containers.run``,
    ``container.exec_run``.

    Raises:
        docker.errors.APIError, CourseError: this engine lets no container run systemd; with its reason.

    Example::

        machine = server(client)
        machine.exec_run(["sudo", "apt", "update"], user="ubuntu")
    """
    image, registry, hello = images(client)
    with progress(total=3, desc="starting a server") as bar:
        network = client.networks.create(f"course-{secrets.token_hex(4)}", labels=labels())
        _registry(client, network, registry, hello)
        bar.update(1)
        machine = start(client, image, network)
        bar.update(1)
        wait(machine)
    return machine


def images(client):
    """Return the images of the server, of the registry beside it, and of what that holds."""
    base_image(client, "debian:bookworm-slim")  # its systemd starts on cgroup v1, too
    made = build(client, FOLDER / "server", tag="course/server")
    return made, base_image(client, "registry:2"), base_image(client, HELLO)


def start(client, image, network):
    """Run an image with systemd as process 1: more rights than usual, though not all, and a volume for its Docker."""
    volume = client.volumes.create(labels=labels())
    volumes = {volume.name: {"bind": "/var/lib/docker", "mode": "rw"}}
    options = {}
    if client.info().get("CgroupVersion", "1") == "1":
        volumes["/sys/fs/cgroup"] = {"bind": "/sys/fs/cgroup", "mode": "rw"}
        options["cgroupns"] = "host"
    else:
        options["cgroupns"] = "private"
    try:
        return run(
            client,
            image,
            detach=True,
            tty=True,  # systemd tells its troubles to a terminal only
            hostname="server",
            network=network.name,
            volumes=volumes,
            tmpfs={"/run": "", "/run/lock": "", "/tmp": "exec"},
            cap_add=["SYS_ADMIN", "NET_ADMIN"],
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
            mem_limit="1g",
            pids_limit=1024,
            **options,
        )
    except docker.errors.APIError as error:
        raise explain(error, "starting a server with systemd", error.explanation, _advice()) from None


def _registry(client, network, image, hello):
    """Start a registry in the network, with hello-world pushed to it."""
    registry = run(client, image, detach=True, ports={"5000/tcp": None})
    network.connect(registry, aliases=["registry"])
    repository = f"{url(registry, 5000).removeprefix('http://')}/library/{HELLO}"
    hello.tag(repository, "latest")
    try:
        for event in client.images.push(repository, tag="latest", stream=True, decode=True):
            if said := refusal(event):
                raise CourseError(f"docker push {repository}", said, "python3 -m helpers doctor")
    finally:
        client.images.remove(f"{repository}:latest")


def wait(machine):
    """Wait until systemd has started what it starts; a container that ended tells why in its log."""
    machine.reload()
    said = machine.logs(tail=5).decode(errors="replace").strip()
    if machine.status == "running":
        try:
            said = machine.exec_run(["timeout", "60", "sh", "-c", READY]).output.decode(errors="replace").strip()
        except docker.errors.APIError as error:  # it ended meanwhile
            said = error.explanation
        if said.endswith(("running", "degraded")):
            return
    said = re.sub(r"\x1b\[[\d;]*m", "", said)  # systemd writes in colours
    raise CourseError("starting a server with systemd", said or "it ended at once", _advice())


def _advice():
    return (
        "this engine lets no container act as a machine (rootless, or locked down). The parts of the notebook after "
        "'On your own engine' work without it"
    )
