"""Containers: limits, labels, loopback; and what goes wrong."""

import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import docker
import pytest
import requests

from helpers import base_image, build, run, url, waiting
from helpers import labels as own_labels
from helpers.containers.outcome import status_and_output
from helpers.errors import CourseError

BASE = "debian:trixie-slim"
ENOUGH_SECONDS = 300  # for a container that starts or ends, on a busy computer
WEB = """
use IO::Socket::INET;
sleep 1;
my $server = IO::Socket::INET->new(LocalAddr => "$ARGV[0]:8000", Listen => 5) or die $!;
while (my $client = $server->accept) {
    while (<$client>) { last if /^\\s*$/ }
    print $client "HTTP/1.0 200 OK\\r\\n\\r\\nA web app in a container";
    close $client;
}
"""


def notes(error):
    """Return the three sentences that ``explain`` added."""
    return "\n".join(error.__notes__)


def web(client, base, address):
    """Run a small web server that takes a second to start, and listens on an address of its own; its port is 8000."""
    return run(client, base, ["perl", "-e", WEB, address], detach=True, ports={"8000/tcp": None})


def test_limits_label_and_end(client, base):
    """Memory, processes and log are limited; the label tells whose it is and when it ends."""
    container = run(client, base, ["sleep", "600"], detach=True)
    settings, labels = container.attrs["HostConfig"], container.labels
    assert settings["Memory"] == 512 * 1024**2 and settings["PidsLimit"] == 256
    assert settings["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}}
    assert labels["org.docker-course"] == "1" and labels["org.docker-course.notebook"].startswith("test-")
    assert 3500 < int(labels["org.docker-course.ends"]) - time.time() <= 3600
    assert re.fullmatch("course-[0-9a-f]{8}", container.name)


def test_sdk_arguments_come_first(client, base):
    """What the caller says wins over the limits, and its labels are added."""
    container = run(client, base, ["true"], detach=True, mem_limit="64m", labels={"mine": "yes"})
    assert container.attrs["HostConfig"]["Memory"] == 64 * 1024**2
    assert container.labels["mine"] == "yes" and container.labels["org.docker-course"] == "1"


def test_returns_what_docker_returns(client, base):
    """Bytes of the output; a container when detached."""
    assert run(client, base, ["echo", "hello"], remove=True) == b"hello\n"
    assert isinstance(run(client, base, ["true"], detach=True), docker.models.containers.Container)


def test_input_ends(client, base):
    """A container with stdin_open reads what is sent, and sees its end."""
    container = run(client, base, ["wc", "-l"], detach=True, stdin_open=True)
    stdin = container.attach_socket(params={"stdin": True, "stream": True})
    stdin = getattr(stdin, "_sock", stdin)  # over TLS the SDK returns Python's own socket
    stdin.sendall(b"one\ntwo\n")
    stdin.shutdown(socket.SHUT_WR)
    assert container.wait(timeout=ENOUGH_SECONDS)["StatusCode"] == 0
    assert container.logs() == b"2\n"


@pytest.mark.parametrize(
    "order",
    [
        lambda client: run(client, "course/first"),
        lambda client: base_image(client, "debian:trixie-slim"),
        lambda client: build(client, Path(__file__).parents[2] / "notebooks" / "apps" / "first", tag="course/first"),
    ],
    ids=["run", "base_image", "build"],
)
def test_an_engine_that_is_gone(order):
    """Three sentences instead of pages about sockets, and the way back."""
    client = docker.DockerClient(base_url="unix:///nowhere/docker.sock", version="1.41")
    with pytest.raises(requests.exceptions.ConnectionError) as caught:
        order(client)
    assert "client = connect()" in caught.value._render_traceback_()[0]


def test_localhost_is_an_address_too(client, base):
    """The engine would take a name for no address, and open the port to everybody."""
    container = run(client, base, ["sleep", "600"], detach=True, ports={"80/tcp": ("localhost", None)})
    container.reload()
    assert [binding["HostIp"] for binding in container.ports["80/tcp"]] == ["127.0.0.1"]
    with pytest.raises(CourseError, match="in numbers"):
        run(client, base, ["true"], ports={"80/tcp": ("example.org", None)})


@pytest.mark.parametrize("wanted", ["any", "one"])
def test_ports_are_published_on_loopback_only(client, base, own_port, wanted):
    """None is any free port, a number that one; both on 127.0.0.1."""
    published = {"8000/tcp": None if wanted == "any" else own_port}
    container = run(client, base, ["sleep", "600"], detach=True, ports=published)
    container.reload()
    bindings = container.ports["8000/tcp"]
    assert [binding["HostIp"] for binding in bindings] == ["127.0.0.1"]
    assert wanted == "any" or bindings[0]["HostPort"] == str(own_port)


def test_url(client, base):
    """The address answers as soon as it is returned."""
    address = url(web(client, base, "0.0.0.0"), 8000, timeout=ENOUGH_SECONDS)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    assert b"A web app in a container" in opener.open(f"{address}/demo/").read()


def test_url_of_a_port_that_is_not_published(client, base):
    """The remedy is the argument to write."""
    container = run(client, base, ["sleep", "600"], detach=True)
    with pytest.raises(CourseError, match="not published") as caught:
        url(container, 8000)
    assert "ports={'8000/tcp': None}" in str(caught.value)


def test_url_of_a_container_that_ended(client, base):
    """Its log is shown."""
    container = run(client, base, ["sh", "-c", "echo the reason; exit 1"], detach=True, ports={"8000/tcp": None})
    container.wait(timeout=ENOUGH_SECONDS)
    with pytest.raises(CourseError, match="it has ended: the reason"):
        url(container, 8000)


def test_url_of_a_server_that_listens_inside_only(client, base):
    """A server on the container's own 127.0.0.1 is not reached: a frequent mistake, named."""
    with pytest.raises(CourseError, match=r"does it listen on 0\.0\.0\.0"):
        url(web(client, base, "127.0.0.1"), 8000, timeout=2)


def test_port_in_use(client, base, own):
    """The second one is refused, removed, and told what to do."""
    first = run(client, base, ["sleep", "600"], detach=True, ports={"8000/tcp": None})
    first.reload()
    port = int(first.ports["8000/tcp"][0]["HostPort"])
    with pytest.raises(docker.errors.APIError) as caught:
        run(client, base, ["sleep", "600"], detach=True, ports={"8000/tcp": port})
    assert "already" in notes(caught.value) and "None" in notes(caught.value)
    assert [container.id for container in client.containers.list(all=True, filters=own)] == [first.id]


def test_port_in_use_by_another_program(client, base):
    """A port that some program of this computer has."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(docker.errors.APIError) as caught:
            run(client, base, ["true"], detach=True, ports={"8000/tcp": other.getsockname()[1]})
    assert "another program has that port" in notes(caught.value)


def test_failing_command(client, base):
    """Docker's own exception, with what the program said."""
    with pytest.raises(docker.errors.ContainerError) as caught:
        run(client, base, ["ls", "/no-such-file"], remove=True)
    assert caught.value.exit_status == 2
    assert "docker run debian:trixie-slim" in notes(caught.value) and "No such file" in notes(caught.value)
    assert caught.value._render_traceback_()[0].startswith("ContainerError: docker run")


@pytest.mark.parametrize(
    ("line", "status"), [("sleep 300", None), ("exit 3", 3), ("n=0; while [ $n -lt 400000 ]; do n=$((n+1)); done", 0)]
)
def test_one_that_sleeps_is_given_up_and_one_that_works_is_not(client, base, line, status):
    """A check waits for what is at work, not for what waits itself."""
    began = time.monotonic()
    assert status_and_output(client, base, ["sh", "-c", line], seconds=2 * ENOUGH_SECONDS, awake=True)[0] == status
    assert time.monotonic() - began < ENOUGH_SECONDS


def test_one_that_sleeps_has_time_without_awake(client, base):
    """Longer than one that is looked at would have."""
    assert status_and_output(client, base, ["sleep", "2"], seconds=ENOUGH_SECONDS)[0] == 0


def test_killed_at_the_memory_limit(client, base):
    """Status 137 is explained."""
    with pytest.raises(docker.errors.ContainerError) as caught:
        run(client, base, ["sh", "-c", "head -c 200m /dev/zero | tail"], remove=True, mem_limit="16m")
    assert caught.value.exit_status == 137 and "memory limit" in notes(caught.value)


@pytest.mark.parametrize(
    ("image", "command", "said", "advice"),
    [
        ("course/no-such-image", None, "no-such-image", "spelling|registry"),
        ("course/Upper", None, "invalid reference", "lower case"),
        ("debian:trixie-slim", ["no-such-program"], "no-such-program", "does not hold that command"),
    ],
    ids=["unknown image", "upper case", "unknown command"],
)
def test_bad_input(client, base, own, image, command, said, advice):
    """What was tried, what the engine said, what to do; and nothing is left."""
    with pytest.raises(docker.errors.DockerException) as caught:
        run(client, image, command, remove=True)
    assert f"docker run {image}" in notes(caught.value) and said in str(caught.value)
    assert [word for word in advice.split("|") if word in notes(caught.value).partition("next:")[2]]
    assert client.containers.list(all=True, filters=own) == []


@pytest.mark.parametrize("labelled", [False, True], ids=["somebody", "this notebook, just now"])
def test_name_in_use(client, base, labelled):
    """The one that has the name already stays as it is, whoever made it; the remedy is to leave the name out."""
    name = f"course-foreign-{time.time_ns()}"
    foreign = client.containers.create(base, ["true"], name=name, labels=own_labels() if labelled else {})
    try:
        with pytest.raises(docker.errors.APIError) as caught:
            run(client, base, ["true"], name=foreign.name)
        assert "leave name= out" in notes(caught.value)
        assert client.containers.get(foreign.name).id == foreign.id
    finally:
        foreign.remove()


def test_interrupted(client, base):
    """Ctrl-C while a container runs that never ends: it is gone."""
    name = f"course-interrupted-{time.time_ns()}"
    code = f"from helpers import engine, run; run(engine.find()[0], {BASE!r}, ['sleep', '3600'], name={name!r})"
    running = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    found = {"all": True, "filters": {"name": name, "status": "running"}, "ignore_removed": True}
    assert waiting.until(lambda: client.containers.list(**found), ENOUGH_SECONDS)
    running.send_signal(signal.SIGINT)
    assert "the container is removed: run the cell again" in running.communicate(timeout=ENOUGH_SECONDS)[1]
    assert client.containers.list(all=True, filters={"name": name}) == []


def test_interrupted_before_there_is_a_container(client, base, monkeypatch):
    """Nothing is said to be removed."""
    monkeypatch.setattr(client.api, "create_container", stop)
    with pytest.raises(KeyboardInterrupt) as caught:
        run(client, base, ["true"])
    assert "run the cell again" in notes(caught.value) and "removed" not in notes(caught.value)


def stop(*_arguments, **_named):
    """Do what Ctrl-C does."""
    raise KeyboardInterrupt


def test_detached_ends_with_its_process(client, base):
    """A detached container that nobody cleaned up is removed when the kernel that ran it ends."""
    name = f"course-detached-{time.time_ns()}"
    code = f"""
from helpers import engine, run
container = run(engine.find()[0], {BASE!r}, ['sleep', '3600'], name={name!r}, detach=True)
container.reload()
print(container.status)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=ENOUGH_SECONDS)
    assert (done.stdout, done.stderr) == ("running\n", "")
    assert client.containers.list(all=True, filters={"name": name}) == []


def test_ports_as_in_a_terminal(client, base):
    """The form of docker run -p is answered with the SDK's."""
    with pytest.raises(CourseError, match=r"ports=\{'8000/tcp': None\}"):
        run(client, base, ports="8000:8000")


def test_url_of_a_container_that_was_removed(client, base):
    """Docker's own exception, with what to do."""
    container = run(client, base, ["true"], detach=True)
    container.remove(force=True)
    with pytest.raises(docker.errors.NotFound) as caught:
        url(container, "8000/tcp")
    assert "on its port 8000" in notes(caught.value) and "it was removed" in notes(caught.value)
