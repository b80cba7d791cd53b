"""Fixtures, and nbval's settings for the tests typed at the root."""

import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import apart
import nbval_settings


def pytest_configure(config):
    """Set nbval's options; and have Ctrl-C reach what the tests start, where a shell's background job ignores it."""
    nbval_settings.apply(config)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def client():
    """Return a client on the engine that the course uses."""
    from helpers import engine

    found, _ = engine.find()
    return found


@pytest.fixture(scope="session")
def base(client):
    """Return the Debian base image."""
    from helpers import base_image

    return base_image(client, "debian:bookworm-slim")


@pytest.fixture(autouse=True)
def test_objects(monkeypatch, request):
    """Label what a test makes with the test's name, and remove it at its end."""
    monkeypatch.setenv("JPY_SESSION_NAME", f"test-{request.node.name}")
    yield
    if "client" in request.fixturenames:
        from helpers import cleanup

        cleanup(request.getfixturevalue("client"))


@pytest.fixture(scope="session")
def state_homes():
    """Return a function that makes a folder for XDG_STATE_HOME; in the end, see that no engine of theirs is left."""
    folders = []

    def made():
        folders.append(tempfile.mkdtemp(prefix="dc-"))  # short, since sockets lie in it
        return folders[-1]

    yield made
    assert [folder for folder in folders if not apart.engine_ended(folder)] == []
    for folder in folders:
        shutil.rmtree(folder)


@pytest.fixture
def state_home(state_homes):
    """Return a folder for XDG_STATE_HOME."""
    return state_homes()
