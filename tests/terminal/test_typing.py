"""Every line for a terminal is typed into one, in order, in the state that its notebook has by then."""

import re

import nbformat
import own_engine
import printed
import pytest
import shell
from nbclient import NotebookClient

NOTEBOOKS = [path for path in sorted(printed.NOTEBOOKS.glob("*.ipynb")) if printed.lines(path)]
LIMIT_SECONDS = 600
SHOWN = 1500  # of what a line printed

pytestmark = pytest.mark.terminal


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_line_does_what_it_says(path, client, terminal, monkeypatch, record_property):
    """It ends with the status, and prints the words, that lines.toml has for it."""
    monkeypatch.setenv("JPY_SESSION_NAME", f"test-{path.name}")
    rows, _ = printed.joined(path, printed.table().get(path.stem, ()))
    before = own_engine.inventory(client)
    try:
        with shell.bash(printed.NOTEBOOKS, terminal) as typed:
            wrong = play(path, [row for row in rows if "not_typed" not in row], typed)
    finally:
        own_engine.remove_new(client, before)
    record_property("typed", sum("not_typed" not in row for row in rows))
    if wrong:
        pytest.fail("\n\n".join(wrong), pytrace=False)


def play(path, rows, typed):
    """Execute a notebook up to its last line, and type each line where it is printed; return what went wrong."""
    notebook, wrong = nbformat.read(path, as_version=4), []
    last = max(row["cell"] + row.get("later", 0) for row in rows)
    player = NotebookClient(notebook, timeout=1200, kernel_name="python3", extra_arguments=["--log-level=ERROR"])
    with player.setup_kernel(cwd=str(path.parent)):
        for position, cell in enumerate(notebook.cells[: last + 1]):
            if cell.cell_type == "code":
                player.execute_cell(cell, position)
            for row in rows:
                if row["cell"] + row.get("later", 0) == position:
                    wrong += type_row(row, typed, lambda code: ask(player, code))
        player.execute_cell(notebook.cells[-1], len(notebook.cells) - 1)
    return wrong


def ask(player, code):
    """Return what the notebook's kernel prints for a line of Python."""
    player.nb.cells.append(nbformat.v4.new_code_cell(code))
    done = player.execute_cell(player.nb.cells[-1], len(player.nb.cells) - 1)
    player.nb.cells.pop()
    return "".join(output.get("text", "") for output in done.outputs).strip()


def _expected(row, status):
    """Return the exit statuses that are right for a row; Ctrl-C makes any of them right."""
    wanted = row.get("status", status if "until" in row else 0)
    return wanted if isinstance(wanted, list) else [wanted]


def type_row(row, typed, asked):
    """Type one line; return what is wrong with its answer, a text or none."""
    fill = lambda text: re.sub(r"(?<!\{)\{([^{}]+)\}(?!\})", lambda found: asked(f"print({found[1]})"), text)  # noqa: E731
    if row["folder"]:
        typed(f"cd {printed.NOTEBOOKS / row['folder']}")
    line = fill(row.get("type", row["line"])) if "type" in row else row["line"]
    answers = [(question, fill(answer)) for question, answer in row.get("answers", ())]
    print(f"$ {line}", flush=True)
    status, output = typed(line, answers, row.get("until"), row.get("seconds", LIMIT_SECONDS))
    print(output[-SHOWN:], flush=True)
    wrong = []
    if status is None:
        wrong.append("did not end")
    elif status not in _expected(row, status):
        wrong.append(f"status {status}")
    if not re.search(row.get("says", ""), output, re.MULTILINE):
        wrong.append(f"does not say {row['says']!r}")
    if "check" in row:
        name, mine = row["check"]
        answer = asked(f"check({name!r}, {mine})")
        wrong += [] if f"{name}: passed" in answer else [answer]
    typed_as = f"\n  typed: {line}" if line != row["line"] else ""
    return [f"cell {row['cell']}: {row['line']}{typed_as}\n  {', '.join(wrong)}\n{output[-SHOWN:]}"] if wrong else []
