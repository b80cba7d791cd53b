"""What a command prints arrives also where the client is slower than the command."""

import http.client
import socket
import time

import pytest

from helpers import base_image, run, waiting
from helpers.engine.exec_output import lose_nothing

ENOUGH_SECONDS = 60  # for a command to print, on a busy computer
LINES = ["sh", "-c", "echo now; sleep 0.5; echo later"]


@pytest.fixture
def box(client):
    container = run(client, base_image(client, "debian:trixie-slim"), ["sleep", "60"], detach=True)
    yield container
    container.remove(force=True)


def is_complete(answer):
    """Return whether headers that announce a stream are followed by something of it."""
    headers, _, rest = answer.partition(b"\r\n\r\n")
    return b"-stream" not in headers or bool(rest)


@pytest.fixture
def slow(monkeypatch):
    """Read the headers of an answer when what the command printed is there, too: a client on a busy computer."""
    begin = http.client.HTTPResponse.begin

    def late(response):
        waiting.until(lambda: is_complete(response.fp.raw._sock.recv(4096, socket.MSG_PEEK)), ENOUGH_SECONDS)
        begin(response)

    monkeypatch.setattr(http.client.HTTPResponse, "begin", late)


def test_the_output_of_a_quick_command(slow, box):
    assert box.exec_run(LINES) == (0, b"now\nlater\n")


def test_each_stream_apart(slow, box):
    both = ["sh", "-c", "echo out; echo err >&2"]
    assert box.exec_run(both, demux=True).output == (b"out\n", b"err\n")


def test_a_terminal(slow, box):
    assert box.exec_run(LINES, tty=True).output == b"now\r\nlater\r\n"


def test_a_stream_comes_as_it_is_printed(slow, box):
    began = time.monotonic()
    arrived = [(line, time.monotonic() - began) for line in box.exec_run(LINES, stream=True).output]
    assert b"".join(line for line, _ in arrived) == b"now\nlater\n"
    assert arrived[-1][1] - arrived[0][1] > 0.2


def test_nothing_is_printed(box):
    assert box.exec_run(["false"]) == (1, b"")


def test_without_a_limit_of_time(box, monkeypatch):
    """As docker-py: a command may be silent for longer than a call may take."""
    monkeypatch.setattr(box.client.api, "timeout", 1)
    assert box.exec_run(["sh", "-c", "sleep 2; echo awake"]).output == b"awake\n"


def test_docker_py_still_loses_it(slow, box, monkeypatch):
    """Where this fails, ``helpers/engine/exec_output.py`` is no longer needed."""
    monkeypatch.delattr(box.client.api, "_read_from_socket")
    assert b"now" not in box.exec_run(LINES).output
    lose_nothing(box.client)
    assert b"now" in box.exec_run(LINES).output
