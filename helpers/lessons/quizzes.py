"""Questions with answers to choose from, shown by jupyterquiz."""

from pathlib import Path

from helpers import state
from helpers.errors import CourseError

QUESTIONS = Path(__file__).parents[2] / "notebooks" / "quiz"


def quiz(name=None):
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

    name = name or state.notebook().removeprefix("test-")
    there = sorted(path.stem for path in QUESTIONS.glob("*.json"))
    found = [stem for stem in there if name.startswith(stem)]  # a copy's name goes on with -Copy1
    if not found:
        remedy = f"quiz(NAME), such as quiz({there[0]!r}); there are {', '.join(there)}"
        raise CourseError(f"looking for questions of {name}", "there are none", remedy)
    with capture_output() as shown:
        display_quiz(str(QUESTIONS / f"{found[0]}.json"))
    for output in shown.outputs:
        data = {kind: text.replace("MathJax", "NoMathJax") for kind, text in output.data.items()}
        display({**data, "text/plain": "Questions. Run this cell to answer them."}, raw=True)
