"""Progress bars: shown in time, with a clock that goes on, and gone in the end."""

import io
import re
import sys
import time
from types import SimpleNamespace

import pytest

from helpers import waiting
from helpers.progress import progress

ENOUGH_SECONDS = 60  # for something that takes two, on a busy computer


@pytest.fixture
def terminal():
    """Return a file that says it is a terminal, and keeps what is written."""
    file = io.StringIO()
    file.isatty = lambda: True
    return file


@pytest.fixture
def outputs(monkeypatch):
    """Return what a notebook would show: a list that each display and each update adds to."""
    kept = []
    shell = SimpleNamespace(kernel=True)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))

    def display(data, **_):
        kept.append(data)
        return SimpleNamespace(update=lambda data, **_: kept.append(data))

    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    return kept


def shown(terminal):
    """Return the last words that a terminal's line holds."""
    return terminal.getvalue().split("\r")[-1].strip()


def test_in_a_terminal(terminal):
    """Words, a bar, numbers and the time; afterwards the line is empty."""
    with progress(total=4, desc="building", file=terminal) as bar:
        bar.update(1)
        bar.refresh()
        assert shown(terminal).startswith("building") and "1 of 4 steps, 00:0" in shown(terminal)
    assert shown(terminal) == ""


def test_its_clock_goes_on(terminal):
    """Nothing happens, and one sees that it is still at work."""
    with progress(total=None, desc="importing", file=terminal):
        assert waiting.until(lambda: re.fullmatch("importing, 00:0[2-9]", shown(terminal)), ENOUGH_SECONDS)
    assert shown(terminal) == ""


def test_what_is_done_in_time_shows_nothing(terminal, outputs, monkeypatch):
    """With a delay, neither a terminal nor a notebook shows anything before it; after it, both do, and clear it."""
    with progress(total=None, desc="running", delay=600):
        time.sleep(0.1)
    assert outputs == []
    with progress(total=None, desc="running", delay=0.2):
        assert waiting.until(lambda: outputs, ENOUGH_SECONDS)
    assert "running, 00:0" in outputs[0]["image/svg+xml"] and outputs[-1] == {"text/plain": ""}
    monkeypatch.undo()
    with progress(total=None, desc="running", delay=600, file=terminal):
        time.sleep(0.1)
    assert terminal.getvalue() == ""
    with progress(total=None, desc="running", delay=0.2, file=terminal):
        assert waiting.until(lambda: shown(terminal).startswith("running, 00:0"), ENOUGH_SECONDS)
    assert shown(terminal) == ""


def test_in_a_notebook(outputs):
    """A picture with a title for who cannot see it, and nothing in the end."""
    with progress(total=2e6, desc="pulling", unit="B", unit_scale=True) as bar:
        bar.update(1e6)
        bar.set_postfix_str("1 of <2 layers")
    title = r"<title>pulling 1\.00M of 2\.00M B, 00:0\d, 1 of &lt;2 layers</title>"
    assert re.search(title, outputs[-2]["image/svg+xml"])
    assert outputs[-1] == {"text/plain": ""}


def test_no_bar_in_a_file(capsys):
    """Where no terminal is, a log is not filled with bars, and no clock runs."""
    with progress(total=None, desc="building") as bar:
        assert not hasattr(bar, "clock")
    assert capsys.readouterr().err == ""
