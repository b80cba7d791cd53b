"""Fixtures, and nbval's settings for the tests typed at the root."""

import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import apart
import nbval_settings

APART = {"test_bootstrap", "test_claims", "test_cleaning", "test_commands", "test_doctor", "test_draw", "test_engine"}
APART |= {"test_environment", "test_execute", "test_fixes", "test_machines", "test_memory", "test_network"}
APART |= {"test_notebooks", "test_progress"}


def pytest_configure(config):
    """Set nbval's options; and have Ctrl-C reach what the tests start, where a shell's background job ignores it."""
    nbval_settings.apply(config)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)  # without the plugin, too, the tests can be run
def pytest_xdist_make_scheduler(config, log):
    """Give pytest-xdist two groups: tests that share an engine follow one another, beside those that are apart."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return "apart" if Path(nodeid.partition("::")[0]).stem in APART else "shared"

    return Groups(config, log)


def pytest_terminal_summary(terminalreporter):
    """Say how much of the course's practice was looked at."""
    from helpers.lessons.checks import EXERCISES

    passed = [report.nodeid for report in terminalreporter.stats.get("passed", ())]
    checks, browser = (
        sum(one.startswith(f"tests/{part}") for one in passed) for part in ("test_checks.py", "browser/")
    )
    quizzes = (Path(__file__).parents[1] / "notebooks" / "quiz").glob("*.json")
    questions = sum(len(json.loads(path.read_text(encoding="utf-8"))) for path in quizzes)
    terminalreporter.write_line(
        f"{len(EXERCISES)} exercises, {checks} tests of their checks passed; {questions} quiz questions; "
        f"{browser} tests in a browser passed"
    )


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
