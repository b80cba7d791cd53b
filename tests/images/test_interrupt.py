"""A build that is stopped from here ends on the engine, too: its step is a process there, and no container."""

import secrets
import signal
import subprocess
import sys

import pytest
from samples import folder_of

from helpers import waiting

ENOUGH_SECONDS = 300  # for a build that is interrupted, on a busy computer


@pytest.fixture
def building(client, base, tmp_path):
    """Return a build, in a process of its own, whose step waits; in the end, both are gone."""
    seconds = str(3000 + secrets.randbelow(10**6))
    folder_of(tmp_path, Dockerfile=f"FROM debian:trixie-slim\nRUN echo begun && sleep {seconds}\n")
    code = (
        f"from helpers import build, engine; build(engine.find()[0], {str(tmp_path)!r}, tag='course/test-interrupted')"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield process, f"sleep {seconds}"
    process.kill()
    process.communicate()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda one: one.name)
def test_the_step_ends_on_the_engine(client, building, runs_there, how):
    """By Ctrl-C, by the end of the kernel, and by a kernel that is killed: no process, no image, nothing endless."""
    process, words = building
    assert waiting.until(lambda: runs_there(words) or process.poll() is not None, ENOUGH_SECONDS, pause=0.5)
    assert process.poll() is None, process.stderr.read()
    process.send_signal(how)
    _, said = process.communicate(timeout=ENOUGH_SECONDS)
    assert process.returncode != 0
    if how == signal.SIGINT:
        assert "KeyboardInterrupt" in said and "answer: stopped from here, and on the engine, too" in said
    assert waiting.until(lambda: not runs_there(words), ENOUGH_SECONDS, pause=0.5)
    assert client.images.list("course/test-interrupted") == []
