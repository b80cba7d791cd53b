"""The docker command for terminals: only where this computer has none."""

import os
import subprocess
import sys
import types

import pytest

from helpers import engine
from helpers.commands import lab
from helpers.machines import disk, terminal


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return the folder of a machine in which a docker command is packed."""
    monkeypatch.setattr(disk, "folder", lambda: tmp_path)
    (tmp_path / terminal.ARCHIVE).touch()
    return tmp_path


@pytest.fixture
def other(tmp_path):
    """Return a folder with another docker command."""
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "docker").touch(mode=0o755)
    return folder


@pytest.fixture
def opened(monkeypatch):
    """Return a function that opens JupyterLab with the machine's engine, and gives its options and its PATH."""
    launched = []
    application = types.SimpleNamespace(LabApp=types.SimpleNamespace(launch_instance=launched.extend))
    monkeypatch.setitem(sys.modules, "jupyterlab.labapp", application)
    monkeypatch.setattr(engine, "find", lambda: (None, "vm"))
    monkeypatch.setattr(engine, "describe", lambda *_: "")
    monkeypatch.setattr(engine, "variables", lambda _: {})
    monkeypatch.setattr(os, "chdir", lambda _: None)

    def open_with(path):
        monkeypatch.setenv("PATH", str(path))
        lab.lab([])
        return [one for one in launched if "shell_command" in one], os.environ["PATH"]

    return open_with


def test_terminals_find_it(machine, opened, tmp_path):
    """It comes first on PATH; where JupyterLab would start login shells, which set PATH again, others are started."""
    options, path = opened(tmp_path)
    assert path == f"{terminal.BIN}:{tmp_path}"
    assert len(options) == (0 if sys.stdout.isatty() else 1)


def test_another_one_stays(machine, opened, other):
    """A computer's own docker command is what its terminals find."""
    assert opened(other) == ([], str(other))


def test_none_is_made(machine, opened, tmp_path):
    """A machine that was made where there was a docker command has none."""
    (machine / terminal.ARCHIVE).unlink()
    assert opened(tmp_path) == ([], str(tmp_path))


def test_a_link_to_it_is_no_other_one(monkeypatch, tmp_path):
    """Binder's postBuild makes such a link: what is built again there has a docker command all the same."""
    (tmp_path / "docker").symlink_to(terminal.BIN / "docker")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert terminal.wanted()


def test_it_says_what_it_lacks(tmp_path):
    """After ``clean``, a terminal that is still open is told what to do."""
    variables = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run([terminal.BIN / "docker", "ps"], env=variables, capture_output=True, text=True)
    assert done.returncode == 127 and "next: python3 -m helpers machine" in done.stderr
