"""The lines that the notebooks print for a terminal are those that lines.toml knows: no engine is needed for that."""

import json
import re

import printed
import pytest

NOTEBOOKS = sorted(printed.NOTEBOOKS.glob("*.ipynb"))
EXERCISES = sorted((printed.NOTEBOOKS / "exercises").glob("*.py"))
KEYS = {"line", "type", "later", "answers", "until", "seconds", "status", "says", "check", "not_typed"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_table_knows_each_line(path):
    """A line with a placeholder says what is typed in its place; no row is left of a line that is gone."""
    found, left = printed.joined(path, printed.table().get(path.stem, ()))
    assert [row["line"] for row in left] == []
    open_ones = [row["line"] for row in found if printed.PLACEHOLDER.search(row["line"])]
    told = [row["line"] for row in found if {"type", "not_typed"} & row.keys()]
    assert [line for line in open_ones if line not in told] == []


def test_the_table_has_no_other_notebook_and_no_other_word():
    """A word that is spelt wrong would be a check that nobody makes."""
    assert set(printed.table()) <= {path.stem for path in NOTEBOOKS}
    assert [row for rows in printed.table().values() for row in rows if not row.keys() <= KEYS] == []


@pytest.mark.parametrize("path", EXERCISES, ids=lambda path: path.stem)
def test_an_exercise_has_its_line_in_backticks(path):
    """Else nobody types it; and a notebook offers the exercise."""
    said = printed.comment(f"exercises/{path.name}")
    assert bool(printed.in_paragraph(said)) == ("in a terminal" in said.lower())
    texts = [notebook.read_text(encoding="utf-8") for notebook in NOTEBOOKS]
    assert any(f"%load exercises/{path.name}" in text for text in texts)


def test_lines_and_folders_are_found():
    """In paragraphs that speak of a terminal, and there only what is a line."""
    text = (
        "In a terminal, in `notebooks/apps/web`: `docker build .`, then `docker images`. The `docker` command, `-p 80`."
    )
    assert printed.in_paragraph(text) == [
        {"line": "docker build .", "folder": "apps/web"},
        {"line": "docker images", "folder": None},
    ]
    assert printed.in_paragraph(text.replace("terminal", "cell")) == []


def test_a_line_that_is_printed_twice_has_two_rows(tmp_path):
    """In the order of the notebook; one row does for both, too."""
    cell = {"cell_type": "markdown", "source": ["In a terminal: `docker rm NAME`"]}
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": [cell, cell]}))
    rows = [{"line": "docker rm NAME", "type": "docker rm a"}, {"line": "docker rm NAME", "type": "docker rm b"}]
    found, left = printed.joined(path, rows)
    assert [row["type"] for row in found] == ["docker rm a", "docker rm b"] and left == []
    found, left = printed.joined(path, rows[:1])
    assert [row["type"] for row in found] == ["docker rm a", "docker rm a"] and left == []
    assert printed.joined(path, [*rows, rows[0]])[1] == [rows[0]]


def test_regular_expressions_are_well_formed():
    """They are tried before an engine is started."""
    for row in (row for rows in printed.table().values() for row in rows):
        for pattern in [
            row.get("says", ""),
            row.get("until", ""),
            *(question for question, _ in row.get("answers", ())),
        ]:
            re.compile(pattern)
