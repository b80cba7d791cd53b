"""Fixtures, markers by what a test needs, a summary, and nbval's settings for the tests typed at the root."""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import apart
import nbval_settings

TESTS = Path(__file__).parent
MARKERS = {
    "engine": "needs a Docker Engine, or starts one: set by itself for the fixtures in ENGINE_FIXTURES and notebooks",
    "machine": "is about the course's virtual machine: set by itself in tests/machines",
    "slow": "needs no engine, but some seconds for processes of pip, pytest or Jupyter: left out by test --quick",
    "browser": "opens JupyterLab in a browser: set by itself in tests/browser",
    "terminal": "types the notebooks' lines for a terminal: needs an engine of tests/engines/rehearse, and says so",
}
ENGINE_FIXTURES = {"client", "state_home", "state_homes"}
FOLDER_MARKERS = {"machines": "machine", "browser": "browser"}


def pytest_configure(config):
    """Set nbval's options; and have Ctrl-C reach what the tests start, where a shell's background job ignores it."""
    for name, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    nbval_settings.apply(config)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before pytest's own looks at -m
def pytest_collection_modifyitems(items):
    """Mark each test with what it needs."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""
        by_folder = FOLDER_MARKERS.get(folder)
        if by_folder:
            item.add_marker(by_folder)
        if by_folder or item.path.suffix == ".ipynb" or ENGINE_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("engine")


def pytest_terminal_summary(terminalreporter):
    """Say how much of the course's practice was looked at, and what was skipped, and why."""
    from helpers.lessons.checks import EXERCISES

    passed = [report.nodeid for report in terminalreporter.stats.get("passed", ())]
    checks, browser = (
        sum(one.startswith(f"tests/{part}") for one in passed) for part in ("lessons/test_checks.py", "browser/")
    )
    quizzes = (TESTS.parent / "notebooks" / "quiz").glob("*.json")
    questions = sum(len(json.loads(path.read_text(encoding="utf-8"))) for path in quizzes)
    terminalreporter.write_line(
        f"{len(EXERCISES)} exercises, {checks} tests of their checks passed; {questions} quiz questions; "
        f"{browser} tests in a browser passed"
    )
    for reason, count in Counter(map(_skip_reason, terminalreporter.stats.get("skipped", ()))).items():
        terminalreporter.write_line(f"skipped {count}: {reason}")


def _skip_reason(report):
    """Return why a test was skipped."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


@pytest.fixture(scope="session")
def client():
    """Return a client on the engine that the course uses."""
    from helpers import engine

    found, _ = engine.find()
    return found


@pytest.fixture(scope="session")
def base(client):
    """Return the Debian base image; notebooks use it at the same time, so no test gives it a name."""
    from helpers import base_image

    return base_image(client, "debian:trixie-slim")


@pytest.fixture
def runs_there(client, base):
    """Return a function that says whether a process of the engine has words: a step of BuildKit's is no container."""
    look = "for one in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $one; echo; done 2>/dev/null"

    def runs(words):
        seen = client.containers.run(base, ["sh", "-c", look], pid_mode="host", network_mode="none", remove=True)
        return words in seen.decode(errors="replace")

    return runs


@pytest.fixture(autouse=True)
def test_objects(monkeypatch, request):
    """Label what a test makes with a name that no other test has, and remove it at its end."""
    name = re.sub(r"[^\w.-]+", "-", f"test-{request.path.stem}-{request.node.name}-{os.getpid()}")
    monkeypatch.setenv("JPY_SESSION_NAME", name)
    yield
    if "client" in request.fixturenames:
        from helpers import cleanup

        monkeypatch.setenv("JPY_SESSION_NAME", name)
        cleanup(request.getfixturevalue("client"))


@pytest.fixture
def own(test_objects):
    """Return the filters by which ``client.containers.list`` and its like show what this test has made."""
    from helpers import state

    return {"label": f"{state.NOTEBOOK_LABEL}={state.notebook()}"}


@pytest.fixture
def own_tag(client):
    """Return a name for an image that no other test uses; in the end, it is taken away."""
    name = f"course/test-{secrets.token_hex(4)}"
    yield name
    for image in client.api.images(name):
        for tag in image["RepoTags"]:
            if tag.startswith(f"{name}:"):
                client.api.remove_image(tag, force=True)


@pytest.fixture
def own_port():
    """Return a free port of this computer that no program is given by chance: it is below those that Linux gives."""
    ports = (20_000 + secrets.randbelow(10_000) for _ in range(100))
    return next(port for port in ports if _is_free(port))


def _is_free(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


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
