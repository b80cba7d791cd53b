"""Notebooks executed outside JupyterLab."""

import os
import signal
import sys
import threading
import time

import nbformat
import pytest

from helpers.commands import execute
from helpers.errors import CourseError


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    """Return a folder with a notebook that works and one that does not."""
    for name, source in {"01_good": "print(6 * 7)", "02_bad": "open('no such file')"}.items():
        notebook = nbformat.v4.new_notebook()
        notebook.cells = [nbformat.v4.new_markdown_cell("# Title"), nbformat.v4.new_code_cell("import os")]
        notebook.cells.append(nbformat.v4.new_code_cell(source))
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    monkeypatch.setattr(execute, "NOTEBOOKS", tmp_path)
    return tmp_path


def test_failing_cell_is_named_and_the_others_are_run(notebooks):
    """Executed copies and pages of all; the originals stay as they were."""
    before = (notebooks / "01_good.ipynb").read_text()
    failures = execute.execute(output=notebooks / "out")
    assert len(failures) == 1
    assert failures[0].startswith("02_bad.ipynb: cell [2] (open('no such file')) failed: FileNotFoundError")
    assert sorted(path.name for path in (notebooks / "out").iterdir()) == [
        "01_good.html", "01_good.ipynb", "02_bad.html", "02_bad.ipynb"
    ]  # fmt: skip
    assert "42" in (notebooks / "out" / "01_good.html").read_text()
    assert (notebooks / "01_good.ipynb").read_text() == before


def test_in_place(notebooks):
    """Without an output folder, a notebook that works is stored back, counted from 1."""
    assert execute.execute(names=["01_good"]) == []
    stored = nbformat.read(notebooks / "01_good.ipynb", as_version=4)
    assert [cell.execution_count for cell in stored.cells if cell.cell_type == "code"] == [1, 2]
    assert stored.cells[2].outputs[0].text == "42\n" and "widgets" not in stored.metadata


@pytest.mark.parametrize("name", ["01", "01_good.ipynb", "notebooks/01_good.ipynb"])
def test_names_as_people_type_them(notebooks, name):
    """The beginning of a name, a file name, a path."""
    assert execute.prepare(names=[name], output=notebooks / "out") == [notebooks / "01_good.ipynb"]


@pytest.mark.slow
def test_one_by_its_name(notebooks):
    """It is executed, and no other."""
    assert execute.execute(names=["01"], output=notebooks / "out") == []
    assert sorted(path.name for path in (notebooks / "out").iterdir()) == ["01_good.html", "01_good.ipynb"]


def test_a_file_that_is_no_notebook(notebooks):
    """It is named among the failures, and the others are run."""
    (notebooks / "02_bad.ipynb").write_text("no JSON")
    (failure,) = execute.execute(output=notebooks / "out")
    assert failure.startswith("02_bad.ipynb: it cannot be read") and "git checkout" in failure
    assert (notebooks / "out" / "01_good.html").exists()


def test_a_folder_that_cannot_be_made(notebooks):
    """A file in its place is named, and what to do."""
    with pytest.raises(CourseError, match="--output FOLDER"):
        execute.execute(names=["01"], output=notebooks / "01_good.ipynb")


def test_unknown_name(notebooks):
    """Those that there are are named."""
    with pytest.raises(CourseError, match="01_good, 02_bad"):
        execute.execute(names=["03_none"])


@pytest.mark.skipif(sys.platform == "win32", reason="there, Ctrl-C reaches the kernel by itself")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "kill, or timeout"])
def test_interrupted(notebooks, number):
    """It interrupts the cell, which puts its things away; nothing is written, and it is no failed cell."""
    source = "try:\n    open('began', 'w').close()\n    time.sleep(600)\nfinally:\n    open('put away', 'w').close()"
    endless = nbformat.read(notebooks / "01_good.ipynb", as_version=4)
    endless.cells[1].source, endless.cells[2].source = "import time", source
    nbformat.write(endless, notebooks / "01_good.ipynb")

    def interrupt():
        while not (notebooks / "began").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        execute.execute(names=["01_good"], output=notebooks / "out")
    assert (notebooks / "put away").exists() and not list((notebooks / "out").iterdir())
