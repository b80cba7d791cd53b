"""The rules that every notebook keeps, and that nbval really compares."""

import configparser
import itertools
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from nbval.plugin import get_sanitize_patterns

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
IGNORED = "nbval-ignore-output"
PATH_OF_A_MACHINE = re.compile(r"(?<![\w./])/(?:root|home(?!/ubuntu\b)|tmp|srv|work|Users|mnt|opt)/[\w.-]+")

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    """Return a notebook as JSON."""
    return json.loads(path.read_text())


def cells(path, kind):
    """Return ``(position, text, cell)`` of the cells of one kind."""
    found = enumerate(read(path)["cells"], start=1)
    return [(n, "".join(cell["source"]), cell) for n, cell in found if cell["cell_type"] == kind]


def tags(cell):
    """Return a cell's tags."""
    return cell["metadata"].get("tags", [])


def output_text(cell):
    """Return all that a cell printed, showed or raised, without pictures."""
    parts = []
    for output in cell["outputs"]:
        parts += ["".join(output.get("text", "")), output.get("evalue", ""), *output.get("traceback", [])]
        parts += ["".join(data) for kind, data in output.get("data", {}).items() if kind.startswith("text/")]
    return "\n".join(parts)


def test_there_are_notebooks():
    """The parametrised tests below have something to hold."""
    assert [path.stem[:2] for path in NOTEBOOKS] == [f"{n:02}" for n in range(11)]


@every_notebook
def test_stored_executed_in_order(path):
    """Counts go from 1 to n: nbval compares nothing in a cell without one."""
    counts = [cell["execution_count"] for _, _, cell in cells(path, "code")]
    assert counts == list(range(1, len(counts) + 1))


@every_notebook
def test_errors_are_meant(path):
    """A stored error stands only where the cell says so, and a cell that says so has one."""
    for n, _, cell in cells(path, "code"):
        raised = any(output["output_type"] == "error" for output in cell["outputs"])
        assert raised == ("raises-exception" in tags(cell)), f"cell {n}"


@every_notebook
def test_no_traceback_of_a_helper(path):
    """A learner sees sentences, not the inside of the helpers."""
    for n, _, cell in cells(path, "code"):
        assert "Traceback" not in output_text(cell), f"cell {n}"


@every_notebook
def test_at_most_a_quarter_of_the_outputs_is_ignored(path):
    """What is not compared is the exception."""
    code = cells(path, "code")
    ignored = [n for n, _, cell in code if IGNORED in tags(cell)]
    assert len(ignored) <= len(code) / 4, f"cells {ignored} of {len(code)}"


@every_notebook
def test_no_unknown_tags(path):
    """Other tags of nbval would take checks away."""
    for n, _, cell in cells(path, "code"):
        assert set(tags(cell)) <= {IGNORED, "raises-exception"}, f"cell {n}"


@every_notebook
def test_code_cells_are_short(path):
    """At most ten lines."""
    for n, text, _ in cells(path, "code"):
        assert 1 <= len(text.splitlines()) <= 10, f"cell {n}"


@every_notebook
def test_prose_cells_are_short(path):
    """At most eighty words."""
    for n, text, _ in cells(path, "markdown"):
        assert len(text.split()) <= 80, f"cell {n}: {len(text.split())} words"


@every_notebook
def test_headings(path):
    """One title, at the top, and no level left out."""
    text = "\n".join(text for _, text, _ in cells(path, "markdown"))
    levels = [len(mark) for mark in re.findall(r"^(#+) ", text, re.MULTILINE)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


@every_notebook
def test_form(path):
    """What one will do, a guess to make, what one did, and a clean end."""
    prose = "\n".join(text for _, text, _ in cells(path, "markdown"))
    assert "You will" in prose and "**Predict" in prose and "## What you did" in prose
    code = [text for _, text, _ in cells(path, "code")]
    assert code[-1] == "cleanup(client)" or not any("connect()" in text for text in code)


@every_notebook
def test_the_verbs_come_back_in_past_tense(path):
    """As many bold verbs at the end as at the start."""
    prose = [text for _, text, _ in cells(path, "markdown")]
    will = next(text for text in prose if text.startswith("You will"))
    did = next(text for text in prose if text.startswith("## What you did"))
    assert len(re.findall(r"^- \*\*", will, re.MULTILINE)) == len(re.findall(r"^- You \*\*", did, re.MULTILINE)) == 3


@every_notebook
def test_figures_have_words(path):
    """Who cannot see a figure is told what it shows."""
    for n, _, cell in cells(path, "code"):
        for output in cell["outputs"]:
            if "image/png" in output.get("data", {}):
                shown = "".join(output["data"].get("text/html", ""))
                assert re.match('<img alt="[^"]{40,}" src="data:image/png;base64,', shown), f"cell {n}"


@every_notebook
def test_links_lead_somewhere(path):
    """Relative links name files that are there."""
    for n, text, _ in cells(path, "markdown"):
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert target.startswith("https://") or (path.parent / target).exists(), f"cell {n}: {target}"


@every_notebook
def test_metadata(path):
    """No widget state, one kernel name for all, every cell with an id of its own."""
    notebook = read(path)
    assert "widgets" not in notebook["metadata"]
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)


@every_notebook
def test_no_paths_of_a_machine_in_stored_outputs(path):
    """Outputs are the same on every computer."""
    for n, _, cell in cells(path, "code"):
        assert not PATH_OF_A_MACHINE.findall(output_text(cell)), f"cell {n}"


@every_notebook
def test_apps_and_helpers_by_public_names(path):
    """Notebooks use the package's public names and the SDK, never a room of the house."""
    import helpers

    code = "\n".join(text for _, text, _ in cells(path, "code"))
    assert not re.findall(r"helpers\.\w+", code)
    for names in re.findall(r"^from helpers import \(?([\w,\s]+?)\)?$", code, re.MULTILINE):
        assert set(names.replace("\n", " ").replace(",", " ").split()) <= set(helpers.__all__)


def test_each_line_of_the_sanitiser_matches_something():
    """A pattern that matches nothing hides something one day; and nbval reads each (it wants a text after replace:)."""
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "tests" / "sanitize.cfg")
    compared = "\n".join(
        output_text(cell) for path in NOTEBOOKS for _, _, cell in cells(path, "code") if IGNORED not in tags(cell)
    )
    for section in parser.sections():
        assert re.search(parser[section]["regex"], compared), section
    assert len(get_sanitize_patterns((ROOT / "tests" / "sanitize.cfg").read_text())) == len(parser.sections())


def test_the_conda_environment_has_the_same_packages():
    """environment.yml and pyproject.toml name the same packages with the same bounds, and Python within its own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "environment.yml").read_text()
    lines = [re.sub(r"\s*#.*", "", line).strip() for line in text.partition("dependencies:")[2].splitlines()]
    packages = {line.removeprefix("- ") for line in lines if line and line not in ("- pip", "- pip:", "- -e .")}
    python = next(line for line in packages if re.fullmatch(r"python=3\.\d+", line))  # the form that Binder reads
    assert int(python.rpartition(".")[2]) >= int(project["requires-python"].rpartition(".")[2])
    assert packages - {python} == set(project["dependencies"])


def dockerfiles():
    """Return every Dockerfile of the course."""
    return sorted(
        [
            *(ROOT / "notebooks" / "apps").rglob("Dockerfile*"),
            *(ROOT / "helpers" / "images" / "recipes").rglob("Dockerfile*"),
        ]
    )


@pytest.mark.parametrize("path", dockerfiles(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_each_dockerfile_is_as_anybody_would_write_it(path):
    """FROM names an image that stands there; nothing in it is for the course's sake."""
    text = path.read_text()
    bases = re.findall(r"^FROM (\S+)", text, flags=re.MULTILINE)
    assert bases and not any("$" in base for base in bases)
    assert "org.docker-course" not in text and "docker-course-" not in text


def test_the_older_builder_appears_once():
    """docker-py's own build is shown for comparison; all else is built by BuildKit."""
    programs = [*(ROOT / "helpers").rglob("*.py"), *(ROOT / "notebooks" / "exercises").glob("*.py")]
    texts = [path.read_text() for path in programs]
    notebooks = [json.loads(path.read_text()) for path in NOTEBOOKS]
    texts += ["".join(cell["source"]) for one in notebooks for cell in one["cells"] if cell["cell_type"] == "code"]
    calls = [line for text in texts for line in text.splitlines() if re.search(r"\bclient\.images\.build\(", line)]
    assert len(calls) == 1, calls


def notebook_of(source):
    """Return a stored notebook with one cell, which printed 42 when it was stored."""
    cell = {
        "cell_type": "code",
        "execution_count": 1,
        "id": "a",
        "metadata": {},
        "outputs": [{"name": "stdout", "output_type": "stream", "text": ["42\n"]}],
        "source": [source],
    }
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return json.dumps({"cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5})


@pytest.mark.engine  # held while nbval runs
@pytest.mark.parametrize(
    ("where", "arguments", "closing"),
    [("notebooks", [], "1 failed, 1 passed"), (".", ["notebooks/b.ipynb"], "1 failed in")],
    ids=["in notebooks/", "one file"],
)
def test_nbval_fails_after_an_edit(tmp_path, where, arguments, closing):
    """A cell that computes something else fails, by name, wherever pytest is typed; one that does not, passes."""
    for name in ("tests/nbval_settings.py", "tests/sanitize.cfg", "notebooks/conftest.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "notebooks" / "a.ipynb").write_text(notebook_of("print(6 * 7)"))
    (tmp_path / "notebooks" / "b.ipynb").write_text(notebook_of("print(6 * 8)"))
    command = [sys.executable, "-m", "pytest", "--nbval", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=tmp_path / where, capture_output=True, text=True)
    assert done.returncode == 1 and closing in done.stdout, done.stdout
    assert "b.ipynb::Cell 0" in done.stdout and "print(6 * 8)" in done.stdout
