"""The lines that the notebooks print for a terminal, and what tests/terminal/lines.toml says about them."""

import json
import re
import tomllib
from pathlib import Path

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
TABLE = Path(__file__).with_name("lines.toml")
COMMANDS = r"(?:docker|curl|python3|echo|mkdir|tar) "  # a line begins with one of these
FOLDER = re.compile(r"(?:notebooks/)?(apps/[\w/-]+)")
EXERCISE = re.compile(r"%load (exercises/\w+\.py)")
PLACEHOLDER = re.compile(r"…|\b(?:NAME|CONTAINER|IMAGE|ADDRESS|COMMAND|PORT|FOLDER|FILE)\b")


def lines(path):
    """
    Return the lines of a notebook in order, those of an exercise where its solution is offered.

    A line is what stands in backticks in a paragraph, or in a comment of an exercise, that speaks of a terminal. Each
    is a dict of ``cell`` (its position), ``line`` and ``folder``, where the paragraph names one before it, else None.
    """
    found = []
    for position, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            paragraphs = [*re.split(r"\n\s*\n", text), *map(comment, EXERCISE.findall(text))]
            found += [{"cell": position, **one} for paragraph in paragraphs for one in in_paragraph(paragraph)]
    return found


def comment(exercise):
    """Return the comments of an exercise as one line of text."""
    text = (path.read_text(encoding="utf-8") if (path := NOTEBOOKS / exercise).exists() else "").splitlines()
    return " ".join(line.lstrip("# ") for line in text if line.startswith("#"))


def in_paragraph(text):
    """Return the lines of a paragraph, each with the folder that was named last."""
    found, folder = [], None
    for words in re.findall(r"`([^`]+)`", text) if re.search("terminal", text, re.I) else ():
        if named := FOLDER.fullmatch(words):
            folder = named[1]
        elif re.match(COMMANDS, words):
            found.append({"line": words, "folder": folder})
            folder = None
    return found


def table():
    """Return the rows of lines.toml by notebook."""
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


def joined(path, rows):
    """
    Return a notebook's lines, each with what its row says, and the rows that belong to none.

    Of several rows with one line, the first belongs to where it is printed first, and so on; the last is for the rest.
    """
    found, waiting = [], list(rows)
    used = {}
    for one in lines(path):
        mine = [row for row in waiting if row["line"] == one["line"]]
        if mine:
            used[one["line"]] = mine[0]
            waiting.remove(mine[0])
        found.append({**used.get(one["line"], {}), **one})
    return found, waiting
