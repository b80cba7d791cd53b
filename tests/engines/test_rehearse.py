"""What tests/engines/rehearse makes of its arguments, of pytest's report, and of this computer's routes."""

import importlib.util
import ipaddress
import json
import subprocess
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import SimpleNamespace

import beside
import only_client
import pytest


@pytest.fixture(scope="module")
def rehearse():
    """Return the program as a module."""
    loader = SourceFileLoader("rehearse", str(Path(__file__).with_name("rehearse")))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("rehearse", loader))
    loader.exec_module(module)
    return module


def test_without_words_everything_is_rehearsed(rehearse):
    """All rows, all notebooks and tests."""
    options = rehearse.arguments([])
    assert options.rows == ["26.1", "26.1-containerd", "28.5", "28.5-containerd"]
    assert options.files == ["notebooks", "tests"]


def test_words_are_rows_notebooks_and_tests(rehearse):
    """In any order; the beginning of a notebook's name is enough."""
    options = rehearse.arguments(["04", "28.5-containerd", "tests/images", "26.1"])
    assert options.rows == ["28.5-containerd", "26.1"]
    assert options.files == ["notebooks/04_first_practical.ipynb", "tests/images"]


def test_an_unknown_word_is_told(rehearse, capsys):
    """Neither a row nor a notebook: the rows are named."""
    with pytest.raises(SystemExit):
        rehearse.arguments(["27.0"])
    assert "27.0 is no row (26.1, " in capsys.readouterr().err


def test_a_report_is_counted(rehearse, tmp_path):
    """What failed and what broke before it began have failed; what was skipped has not passed."""
    cases = ["", "<failure/>", "<error/>", "<skipped/>", "<system-out/>"]
    lines = [f'<testcase classname="a" name="{number}">{child}</testcase>' for number, child in enumerate(cases)]
    (tmp_path / "report.xml").write_text(f"<testsuites><testsuite>{''.join(lines)}</testsuite></testsuites>")
    assert rehearse.counted(tmp_path / "report.xml") == (2, ["a::1", "a::2"])


def test_the_table_names_what_failed(rehearse, capsys):
    """One line an engine under the heads, then a line for each failed test."""
    one = {"engine": "28.5.2", "image store": "containerd", "passed": 7, "failed": ["a::1"], "seconds": 61}
    rehearse.table([one, {**one, "engine": "26.1.5", "failed": []}])
    lines = [line.split() for line in capsys.readouterr().out.strip().splitlines()]
    assert lines[1:3] == [["28.5.2", "containerd", "7", "1", "61"], ["26.1.5", "containerd", "7", "0", "61"]]
    assert lines[3:] == [["failed", "on", "28.5.2,", "containerd:", "a::1"]]


def test_only_tests_with_no_more_than_a_client_are_kept():
    """Others start engines of this computer, whatever DOCKER_HOST says; cells of notebooks stay."""
    left_out = []
    config = SimpleNamespace(hook=SimpleNamespace(pytest_deselected=lambda items: left_out.extend(items)))
    cell, own, other, both = (SimpleNamespace(path=Path(name)) for name in ("04.ipynb", "a.py", "b.py", "c.py"))
    own.fixturenames, other.fixturenames, both.fixturenames = ["client"], ["state_home"], ["client", "state_homes"]
    items = [cell, own, other, both]
    only_client.pytest_collection_modifyitems(config, items)
    assert [item.path.name for item in items] == ["04.ipynb", "a.py"]
    assert [item.path.name for item in left_out] == ["b.py", "c.py"]


def test_an_engine_gets_a_network_of_its_own(tmp_path, monkeypatch):
    """
    The first where no route leads, and the same the next time; another where that is taken meanwhile.

    The engine forgets the networks that it had: one that starts with a bridge network and pools deletes docker0.
    """
    monkeypatch.setattr(beside, "_remove_network", lambda *_: None)
    taken = ["default", "10.192.0.0/16", "10.193.7.0/24"]
    routes = lambda *_, **__: SimpleNamespace(returncode=0, stdout=json.dumps([{"dst": one} for one in taken]))  # noqa: E731
    monkeypatch.setattr(subprocess, "run", routes)
    assert beside._own_network(tmp_path) == ipaddress.ip_network("10.194.0.0/16")
    taken.remove("10.192.0.0/16")
    remembered = tmp_path / "data" / "network"
    remembered.mkdir(parents=True)
    assert beside._own_network(tmp_path) == ipaddress.ip_network("10.194.0.0/16") and not remembered.exists()
    taken.append("10.194.0.0/16")
    assert beside._own_network(tmp_path) == ipaddress.ip_network("10.192.0.0/16")
