"""Quizzes: what is displayed, and the one line of it that a notebook stores."""

import nbformat
import pytest
from nbclient import NotebookClient

from helpers import quiz
from helpers.errors import CourseError
from helpers.lessons.quizzes import STORED_LINE, _questions, without_scripts


@pytest.fixture(scope="module")
def displayed():
    """Return what a kernel displays for the quiz of a copy of a notebook."""
    source = "from helpers import quiz\nquiz('00_start_here-Copy1.ipynb')"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(notebook, kernel_name="python3").execute()
    return notebook.cells[0].outputs


def test_page_and_script(displayed):
    """Both are displayed, and nothing is fetched to set formulas."""
    page, script = (output.data for output in displayed)
    assert set(page) == {"text/html", "text/plain"} and set(script) == {"application/javascript", "text/plain"}
    assert "It does nothing by itself" in script["application/javascript"]
    assert "NoMathJax" in script["application/javascript"]


def test_one_line_is_stored(displayed):
    """The page and the script are left out; other outputs, and what was displayed, stay as they are."""
    other = nbformat.v4.new_output("stream", text="42")
    kept = without_scripts([other, *displayed])
    assert kept == [other, nbformat.v4.new_output("display_data", {"text/plain": STORED_LINE})]
    assert "text/html" in displayed[0].data and without_scripts(kept) == kept


def test_unknown_name():
    """Those that there are are named."""
    with pytest.raises(CourseError, match="00_start_here, 01_containers_and_vms"):
        quiz("no such notebook")


def test_where_nothing_says_which_notebook_this_is(monkeypatch, capsys):
    """A line says how to name it, and the cells below can run."""
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    quiz()
    assert "quiz('07')" in capsys.readouterr().out


def test_by_number():
    """As ``run`` takes it."""
    assert _questions("7").stem[:2] == _questions("07").stem[:2] == "07"
