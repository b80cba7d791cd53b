"""Questions with answers to choose from, shown by jupyterquiz."""

from pathlib import Path

from helpers import state
from helpers.errors import CourseError, message

QUESTIONS = Path(__file__).parents[1] / "notebooks" / "quiz"


def quiz():
    """
    Show the three questions of this notebook, from ``notebooks/quiz``; answers are explained when they are chosen.

    They work offline: what jupyterquiz would fetch to set formulas is left out. It calls nothing of the SDK.

    Raises:
        CourseError: there are no questions for a notebook of this name.

    Example::

        quiz()
    """
    from IPython.display import display
    from IPython.utils.capture import capture_output
    from jupyterquiz import display_quiz

    name = state.notebook().removeprefix("test-")
    path = QUESTIONS / f"{name}.json"
    if not path.exists():
        remedy = f"there are some for {', '.join(sorted(one.stem for one in QUESTIONS.glob('*.json')))}"
        raise CourseError(message(f"looking for questions of {name}", "there are none", remedy))
    with capture_output() as shown:
        display_quiz(str(path))
    for output in shown.outputs:
        data = {kind: text.replace("MathJax", "NoMathJax") for kind, text in output.data.items()}
        display({**data, "text/plain": "Questions. Run this cell to answer them."}, raw=True)
