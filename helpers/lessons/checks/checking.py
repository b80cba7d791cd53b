"""Check an exercise, list all of them, and remember which ones have passed."""

import datetime
import difflib
import json

import docker
import requests

from helpers import engine, state
from helpers.errors import CourseError
from helpers.lessons.checks.observing import end_of_text
from helpers.progress import progress

EXERCISES = {}  # name → what to pass, the function that yields its facts, the question for a learner before they begin
WHAT_TO_PASS = {
    "container": "run(…, detach=True) and client.containers.create(…) return one. What did you pass? Is it there?",
    "image": "build(…) and client.images.get(…) return an image. What did you pass? Is its name spelt right?",
    "volume": "client.volumes.create() returns a volume. What did you pass, and is it still there?",
    "answer": "what did you find out? Pass it as it is.",
}


def exercise(name, kind, question):
    """
    Register a function as an exercise: it yields facts, and its docstring is the task.

    A fact is ``(fact, holds, question)``; the first one that does not hold ends the check, with its question. ``kind``
    is what the learner passes: a container, an image, a volume or an answer. ``question`` is for a learner who has not
    begun.

    Example::

        @exercise("01-create", "container", "which call of the SDK makes a container and starts nothing?")
    """

    def register(facts_of):
        EXERCISES[name] = (kind, facts_of, question)
        return facts_of

    return register


def check(name: str, mine: object = None) -> None:
    """
    Look on the engine whether an exercise is done; print what holds, what does not yet, and a question that leads on.

    ``mine`` is what the exercise asks for: a container, an image or a volume (or its name), or what was found out. Only
    what the engine shows of it counts, not the way there. What has passed is remembered in the course's state folder.
    SDK calls: ``client.images.get`` and the like, ``inspect``; some run a container of the image for a moment.

    Raises:
        CourseError: there is no exercise of that name.

    Example::

        check("07-smaller", "course/my-answer")
    """
    if name not in EXERCISES:
        near = difflib.get_close_matches(str(name), EXERCISES, n=3, cutoff=0.5) or EXERCISES
        raise CourseError(f"checking exercise {name}", "there is none", f"did you mean {', '.join(near)}?")
    kind, facts_of, question = EXERCISES[name]
    if mine is None:
        return _print_not_yet(name, [], f"mine is {with_article(kind)}", question)
    held = []
    with progress(total=None, desc=f"checking {name}", delay=2):
        for fact, holds, question in _facts(_client_of(mine), kind, facts_of, mine):
            if not holds:
                return _print_not_yet(name, held, fact, question)
            held.append(fact)
    print(f"{name}: passed")
    print(*[f"  holds:   {fact}" for fact in held], sep="\n")
    remember_passed(name)


def _print_not_yet(name, held, fact, question):
    print(f"{name}: not yet")
    print(*[f"  holds:   {fact}" for fact in held], f"  not yet: {fact}", f"  think:   {question}", sep="\n")


def _client_of(mine):
    """Return the client that made what the learner passed, else one on the course's engine."""
    client = getattr(mine, "client", None)
    return client if isinstance(client, docker.DockerClient) else engine.find()[0]


def _facts(client, kind, facts_of, mine):
    """
    Yield the facts of one exercise, or the one that the learner's object or the engine is not there.

    Only what goes wrong in looking up the learner's object is told as such: a bug in a check has to show as a bug.
    """
    try:
        found = _look_up(client, kind, mine)
    except (docker.errors.APIError, docker.errors.NullResource):
        yield f"the engine has {with_article(kind)} of that name, {str(mine)[:60]!r}", False, WHAT_TO_PASS[kind]
        return
    except (AttributeError, TypeError, ValueError):  # it has no id, or one that is no text
        yield f"mine is {with_article(kind)} (it is of type {type(mine).__name__})", False, WHAT_TO_PASS[kind]
        return
    try:
        yield from facts_of(client, found)
    except docker.errors.ImageNotFound as error:
        yield "the images of this lesson are here", False, f"{error.explanation}. Did its cells above run?"
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        question = f"it says: {end_of_text(str(error))}. What did you pass?"
        yield "the engine could be asked about it", False, question


def _look_up(client, kind, mine):
    """Return the container, image or volume as the engine has it now; of an answer, its text."""
    if kind == "answer":
        text = mine.decode(errors="replace") if isinstance(mine, bytes) else str(mine)
        return text.strip()
    name = mine if isinstance(mine, str) else mine.id
    if kind == "container":
        return client.containers.get(name)
    if kind == "image":
        return client.images.get(name)
    return client.volumes.get(name)


def with_article(noun):
    """Return a noun with ``a`` or ``an`` before it."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def exercises(reset: bool = False) -> list[dict]:
    """
    Return a row an exercise: ``exercise`` (its name), ``passed`` (the day, or ``-``) and ``task``.

    With ``reset``, what has passed is forgotten first. It calls nothing of the SDK.

    Example::

        table(exercises())
    """
    if reset:
        record_path().unlink(missing_ok=True)
    days = passed_days()
    return [
        {"exercise": name, "passed": days.get(name, "-"), "task": facts_of.__doc__.strip().rstrip(".")}
        for name, (_, facts_of, _) in EXERCISES.items()
    ]


def record_path():
    """Return the file that records what has passed; tests have one of their own."""
    return state.folder() / ("exercises-of-tests.json" if state.notebook().startswith("test-") else "exercises.json")


def passed_days():
    """Return the day on which each exercise has passed, of those that have."""
    try:
        return json.loads(record_path().read_text())
    except (OSError, ValueError):  # none yet, or cut off: nothing that a check could not bring back
        return {}


def remember_passed(name):
    """Record that an exercise has passed today; the first day stays."""
    with state.Lock(record_path().with_suffix(".lock")):  # two notebooks may pass something at once
        days = {name: datetime.date.today().isoformat(), **passed_days()}
        unfinished = record_path().with_suffix(".new")
        unfinished.write_text(json.dumps(days, indent=1))
        unfinished.replace(record_path())
