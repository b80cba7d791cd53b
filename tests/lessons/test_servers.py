"""The fresh server of the first practical; notebook 04 installs Docker on it and pulls from the registry beside it."""

import apart
import pytest

from helpers import cleanup, run, server
from helpers.errors import CourseError
from helpers.lessons import servers


@pytest.fixture
def machine(client):
    """Return a server; the fixture test_objects removes it."""
    return server(client)


def typed(machine, command, user="ubuntu"):
    """Return exit status and output of a command on the server."""
    status, output = machine.exec_run(["bash", "-lc", command], user=user)
    return status, output.decode()


def test_a_server(client, machine, capsys):
    """Process 1 is systemd, healthy, there is no Docker yet, and all packages lie on the machine itself."""
    assert typed(machine, "ps -p 1 -o comm=") == (0, "systemd\n")
    assert typed(machine, "systemctl is-system-running")[1] == "running\n"
    assert typed(machine, "command -v docker")[0] == 1
    sources = typed(machine, "cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null")[1]
    assert sources == "deb [trusted=yes] file:/archive ./\n"
    assert typed(machine, "sudo whoami") == (0, "root\n")
    status, said = typed(machine, "sudo apt-get update")
    assert status == 0 and "Err" not in said and "W:" not in said


def test_limits_and_end(client, machine, own):
    """It is labelled, limited and has an end; so have the network, the volume and the registry."""
    settings = machine.attrs["HostConfig"]
    assert settings["Memory"] == 1024**3 and settings["PidsLimit"] == 1024 and not settings["Privileged"]
    containers = client.containers.list(filters=own)
    assert len(containers) == 2
    assert len(client.networks.list(filters=own)) == 1
    assert machine.attrs["Mounts"] and client.volumes.list(filters=own)
    [port] = [one.ports["5000/tcp"][0]["HostPort"] for one in containers if one.ports.get("5000/tcp")]
    assert client.api.images(f"127.0.0.1:{port}/library/hello-world") == []


def test_cleanup_leaves_nothing(client, own):
    """Containers, networks and volumes, the anonymous one of the registry too."""
    server(client)
    mounts = [mount for container in client.containers.list(filters=own) for mount in container.attrs["Mounts"]]
    volumes = {mount["Name"] for mount in mounts if mount["Type"] == "volume"}
    assert len(volumes) == 2
    cleanup(client)
    assert client.containers.list(all=True, filters=own) == [] and client.networks.list(filters=own) == []
    assert volumes & {volume.name for volume in client.volumes.list()} == set()


def test_a_machine_that_does_not_come_up(client, base):
    """Where systemd cannot start, the container's last words are shown, and how to go on."""
    container = run(client, base, ["sh", "-c", "echo Failed to mount cgroup; exit 255"], detach=True)
    container.wait(timeout=30)
    with pytest.raises(CourseError) as caught:
        servers.wait(container)
    assert "Failed to mount cgroup" in str(caught.value)
    assert "lets no container act as a machine" in str(caught.value)


@apart.needs_root
def test_an_engine_that_refuses(state_home):
    """An engine that lacks a right cannot give it: refused in its words, and no container is left."""
    code = """
        import ctypes, io, tarfile
        ctypes.CDLL(None).prctl(24, 29)  # PR_CAPBSET_DROP, CAP_AUDIT_WRITE: the engine starts without it
        client, _ = engine.find("dockerd")
        empty = io.BytesIO()
        tarfile.open(fileobj=empty, mode="w").close()
        client.api.import_image_from_data(empty.getvalue(), repository="course/empty", changes=['CMD ["/sbin/init"]'])
        from helpers.lessons import servers
        try:
            servers.start(client, client.images.get("course/empty"), client.networks.create("course-test"))
        except docker.errors.APIError as error:
            print(*error._render_traceback_(), client.containers.list(all=True))
    """
    done = apart.python(code, XDG_STATE_HOME=state_home)
    assert "starting a server with systemd" in done.stdout and "operation not permitted" in done.stdout, done.stderr
    assert "lets no container act as a machine" in done.stdout and done.stdout.rstrip().endswith("[]")
