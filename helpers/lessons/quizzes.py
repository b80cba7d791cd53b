"""Questions with answers to choose from, shown by jupyterquiz."""

import copy
from pathlib import Path

from helpers import state
from helpers.errors import CourseError

QUESTIONS = Path(__file__).parents[2] / "notebooks" / "quiz"
STORED_LINE = "Questions. Run this cell to answer them."


def quiz(name: str | None = None) -> None:
    """
    Show the three questions of a notebook, this one unless told; answers are explained when they are chosen.

    They lie in ``notebooks/quiz``, and work offline: what jupyterquiz would fetch to set formulas is left out. It calls
    nothing of the SDK.

    Raises:
        CourseError: there are no questions for a notebook of this name.

    Example::

        quiz()
    """
    from IPython.display import display
    from IPython.utils.capture import capture_output
    from jupyterquiz import display_quiz

    own = state.notebook().removeprefix("test-")
    if name is None and own == state.NO_NOTEBOOK:  # where nothing tells a kernel which notebook it serves
        print("Questions. quiz('07'), with this notebook's number, shows them.")
        return
    path = _questions(str(name or own))
    with capture_output() as shown:
        display_quiz(str(path))
    for output in shown.outputs:
        data = {kind: text.replace("MathJax", "NoMathJax") for kind, text in output.data.items()}
        display({**data, "text/plain": STORED_LINE}, raw=True)


def _questions(name):
    paths = sorted(QUESTIONS.glob("*.json"))
    number = name.zfill(2)
    found = [path for path in paths if name.startswith(path.stem) or path.stem[:2] == number]  # or a copy: …-Copy1
    if not found:
        remedy = f"quiz(NAME), such as quiz({paths[0].stem!r}); there are {', '.join(path.stem for path in paths)}"
        raise CourseError(f"looking for questions of {name}", "there are none", remedy)
    return found[0]


def without_scripts(outputs):
    """
    Return a cell's outputs with one line in place of a quiz: its page and its script take 40 kB in a notebook.

    Example::

        cell.outputs = without_scripts(cell.outputs)
    """
    kept, line_is_there = [], False
    for output in outputs:
        if output.get("data", {}).get("text/plain") != STORED_LINE:
            kept.append(output)
        elif not line_is_there:
            line = copy.copy(output)
            line["data"] = {"text/plain": STORED_LINE}
            kept.append(line)
            line_is_there = True
    return kept
