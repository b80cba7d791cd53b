"""The exercises' checks, each in three ways: untouched, a plausible wrong answer, the solution."""

import contextlib
import hashlib
import io
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import docker
import pytest
import requests

from helpers import check, cleanup, exercises, labels, run
from helpers.errors import CourseError
from helpers.images.build import build_quietly
from helpers.images.contents import read_file
from helpers.lessons import checks
from helpers.lessons.checks import checking

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
OWN_LABEL = f"test-checks-{os.getpid()}"  # of what the notebooks' cells make
OWN_IMAGES = f"course/{OWN_LABEL}-"  # how the names of this file's own images begin
CONNECT = ("client = connect()",)
CELLS = {  # the cells of each notebook that its exercises rest on, by something in them
    "01": (*CONNECT, 'build(client, "apps/first"', "def ask(image, command)"),
    "02": CONNECT,
    "03": (*CONNECT, "def get(path)"),
    "04": (*CONNECT, 'image = build(client, "apps/first"', "secrets.token_urlsafe", "REGISTRY_AUTH_HTPASSWD_PATH"),
    "05": (*CONNECT, "Dockerfile.forgotten", "cat requirements.txt"),
    "06": (*CONNECT, 'image = build(client, "apps/web"', "web = run(client, image, detach=True)\nweb.reload()"),
    "07": (*CONNECT, "single = build(", "large = build("),
    "08": (*CONNECT, "on_distroless = build(", "options = {"),
    "09": (*CONNECT, "multi = build(", "single = build("),
}
AT_MOST = {"Name": "on-failure", "MaximumRetryCount": 3}
WRONG = [  # exercise, what a learner may try, what the answer to it has to say
    ("01-create", "run(client, 'course/first', detach=True)", "does two things"),
    ("01-create", "client.containers.create(base, labels=labels())", "which image did you name"),
    ("01-kernel", "ask(older, '. /etc/os-release; echo $VERSION_ID')", "Who knows the kernel"),
    ("01-kernel", "'6.0.0-none'", "did `uname -r` run in a container"),
    ("01-kernel", "client.info()['KernelVersion'][:3]", "How does it go on"),
    ("02-limit", "run(client, base, ['sleep', '300'], detach=True)", "mem_limit= takes"),
    ("02-limit", "ended(run(client, base, ['true'], detach=True))", "A container ends with its program"),
    ("02-keep", "client.volumes.create(labels=labels())", "At which path was it mounted"),
    ("02-keep", "kept('touch /data/note /data/other')", "and into what"),
    ("02-keep", "kept('mkdir /data/note')", "and into what"),
    ("02-keep", "kept('echo word > /data/nota')", "there is: nota"),
    ("02-no-rights", "run(client, base, ['sleep', '300'], detach=True, cap_drop=['ALL'])", "Which is root's"),
    ("02-no-rights", "run(client, base, ['sleep', '300'], detach=True, user=1000)", "cap_drop= takes a list"),
    (
        "03-by-hand",
        "len([run(client, base, ['true'])]) and get('/info').json()['ContainersRunning']",
        "Which number counts all",
    ),
    ("03-again", "run(client, base, ['false'], detach=True)", "restart_policy= takes a dict"),
    ("03-again", "run(client, base, ['sleep', '9'], detach=True, restart_policy={'Name': 'always'})", "without end"),
    ("03-again", "run(client, base, ['false'], detach=True, restart_policy={'Name': 'on-failure'})", "second key"),
    ("03-again", "run(client, base, ['true'], detach=True, restart_policy=AT_MOST)", "another status than 0"),
    ("04-own-words", "client.images.get('course/first')", "What has to be built again"),
    ("04-own-words", "client.images.get('registry:2')", "what does its command wait for"),
    ("04-push", "hello", "gives an image one more name"),
    (
        "04-push",
        "tagged(hello, f'{address}/{OWN_IMAGES}unsent')",
        "a name sends nothing",
    ),
    ("05-key", "'removed'", "How many layers are there"),
    ("05-key", "'0123456789abcdef'", "image.save()"),
    ("05-order", "text", "which lines stand before the slow step"),
    ("05-order", "'FROM'", "the engine says"),
    ("05-order", "text + 'RUN grep was app.py'", "it builds after an edit, too"),
    (
        "05-order",
        "'FROM debian:trixie-slim\\nWORKDIR /app\\nRUN echo something slow > installed\\n'",
        "what did you leave out",
    ),
    (
        "05-greet",
        'built(\'FROM debian:trixie-slim\', \'CMD ["echo", "hello", "world"]\')',
        "takes the place of CMD",
    ),
    (
        "05-greet",
        "built('FROM debian:trixie-slim', 'ENTRYPOINT echo hello', 'CMD [\"world\"]')",
        "do brackets",
    ),
    ("05-greet", "built('FROM debian:trixie-slim', 'ENTRYPOINT [\"echo\", \"hello\"]')", "What is CMD for"),
    ("06-only-here", "web", "What does -p look like in Python"),
    ("06-only-here", "run(client, image, detach=True, ports={'8000/tcp': ('0.0.0.0', None)})", "it listens on 0.0.0.0"),
    ("06-shop", "run(client, image, detach=True, ports={'8000/tcp': None})", "knows no names"),
    ("06-shop", "as_shop('python3', '-m', 'http.server', '8000')", "Is it the web app"),
    ("07-smaller", "large", "what does the last FROM begin with"),
    ("07-smaller", "base_image(client, 'hello-world')", "Is the page there"),
    ("07-smaller", "built('FROM scratch', 'CMD nothing')", "Is the page there"),
    ("07-borrow", "single", "to which path did you copy it"),
    ("07-borrow", "built('FROM debian:trixie-slim', 'COPY --from=course/web /app/ /')", "What did you name"),
    ("07-borrow", "built('FROM course/web', 'RUN mv /app/manage.py /')", "what does the last FROM name"),
    ("07-borrow", "built('FROM course/web', 'RUN cp manage.py /')", "what does the last FROM name"),
    (
        "08-users",
        "int(run(client, debian, ['sh', '-c', 'wc -l < /etc/passwd'], remove=True))",
        "Which image did you ask",
    ),
    ("08-users", "len(read_file(distroless, '/etc/passwd').decode().split(chr(10)))", "Is the last line empty"),
    (
        "08-version",
        "built('FROM gcr.io/distroless/python3-debian13', 'CMD python3 --version')",
        "Who was given these words",
    ),
    ("08-version", "built('FROM debian:trixie-slim', 'CMD echo Python 3.13.5')", "Which base has none"),
    ("08-not-root", "run(client, on_distroless, detach=True, ports={'8000/tcp': None})", "that is root"),
    (
        "08-not-root",
        "run(client, build(client, 'apps/answer', tag='course/answer'), detach=True, ports={8000: None})",
        "is it course/web-distroless",
    ),
    ("08-not-root", "run(client, on_distroless, detach=True, user='65532')", "is its port 8000 published"),
    ("09-answer", "run(client, multi, detach=True)", "Did it get the line"),
    ("09-answer", "run(client, multi, stdin_open=True, detach=True)", "Did it get the line"),
    ("09-answer", "run(client, base, ['echo', '6 * 7 = 42'], detach=True)", "Which image did you run"),
    ("09-signed", "multi", "LABEL name=value"),
    ("09-signed", "single", "what does its last FROM begin with"),
]


@pytest.fixture(scope="module")
def lessons(client):
    """Return a function that gives the names of a notebook, as they are when a learner comes to its exercises."""
    known = {}

    def names(number):
        if number not in known:
            tools = answer_tools(client)
            if number == "06":  # a cell removes the image that an earlier one has listed among all without a name
                tools["nameless"] = tools["built"]("FROM scratch", "LABEL made-for=removal")
            known[number] = run_cells(number, tools)
        return known[number]

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(NOTEBOOKS)
        patch.setenv("JPY_SESSION_NAME", OWN_LABEL)
        yield names
        cleanup(client)
    remove_own_images(client)


def run_cells(number, tools):
    """Return the names of a notebook after the cells that its exercises rest on."""
    names, path = dict(tools), next(NOTEBOOKS.glob(f"{number}_*.ipynb"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JPY_SESSION_NAME", OWN_LABEL)  # what they make stays until the last test
        for cell in json.loads(path.read_text())["cells"]:
            source = "".join(cell["source"])
            wanted = source.startswith(("import ", "from ")) or any(mark in source for mark in CELLS[number])
            if cell["cell_type"] == "code" and wanted and "quiz()" not in source:
                exec(source, names)
    return names


def answer_tools(client):
    """Return what the answers in WRONG call, beside the names of their notebook."""

    def built(*lines):
        text = "\n".join(lines).encode()
        tag = f"{OWN_IMAGES}{hashlib.sha256(text).hexdigest()[:12]}"
        return build_quietly(client, fileobj=io.BytesIO(text), tag=tag)

    def kept(line):
        volume = client.volumes.create(labels=labels())
        run(client, "debian:trixie-slim", ["sh", "-c", line], volumes=[f"{volume.name}:/data"], remove=True)
        return volume

    def tagged(image, name):
        image.tag(name, "latest")
        return name

    def as_shop(*command):
        container = run(client, "course/web", command, detach=True)
        client.networks.create(f"{container.name}-net", labels=labels()).connect(container, aliases=["shop"])
        return client.containers.get(container.id)

    def ended(container):
        container.wait(timeout=60)
        return client.containers.get(container.id)

    here = {"AT_MOST": AT_MOST, "OWN_IMAGES": OWN_IMAGES, "read_file": read_file}
    return {**here, "as_shop": as_shop, "built": built, "ended": ended, "kept": kept, "tagged": tagged}


def remove_own_images(client, part=OWN_IMAGES):
    """Remove the images of this file whose names have a part; other tests may make and remove some meanwhile."""
    for name in [name for image in client.api.images() for name in image["RepoTags"] or [] if part in name]:
        with contextlib.suppress(docker.errors.ImageNotFound):
            client.api.remove_image(name)


@pytest.fixture
def names_of(lessons, client, monkeypatch):
    """Return the function of ``lessons``; afterwards, no registry has a name for an image any more."""

    def names(number):
        found = dict(lessons(number))
        if number == "03":
            found["get"] = the_same_for_the_check(found["get"], monkeypatch)
        return found

    yield names
    remove_own_images(client, f"/{OWN_IMAGES}")


def the_same_for_the_check(get, monkeypatch):
    """Return the notebook's ``get``, so that the check is told the same: other tests run containers meanwhile."""

    def told(path):
        answer = get(path)
        monkeypatch.setattr(docker.DockerClient, "info", lambda _: answer.json())
        return answer

    return told


@pytest.fixture(autouse=True)
def record(tmp_path, monkeypatch):
    """Have what passes here forgotten."""
    monkeypatch.setattr(checking, "record_path", lambda: tmp_path / "exercises.json")


def cells_with_checks():
    """Return ``(notebook's number, name of the exercise, cell)`` of all cells that a learner is to fill."""
    found = []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        for cell in json.loads(path.read_text())["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "code" and (name := re.search(r'^check\("(.*?)", mine\)$', source, re.MULTILINE)):
                found.append((path.name[:2], name[1], cell))
    return found


def test_each_exercise_has_its_cell_in_its_notebook():
    """Two to four a notebook, in the order of the checks, each with a task of one sentence."""
    found = cells_with_checks()
    assert [name for _, name, _ in found] == list(checks.EXERCISES)
    assert all(number == name[:2] for number, name, _ in found)
    for number in range(1, 10):
        assert 2 <= sum(name.startswith(f"{number:02}-") for _, name, _ in found) <= 4
    assert all(row["task"] and "\n" not in row["task"] for row in exercises())


def test_each_solution_belongs_to_an_exercise():
    """One file an exercise, which a notebook names."""
    there = {path.stem for path in (NOTEBOOKS / "exercises").glob("*.py")}
    assert there == {name.replace("-", "_") for name in checks.EXERCISES}
    text = "".join(path.read_text() for path in NOTEBOOKS.glob("*.ipynb"))
    assert all(f"%load exercises/{name}.py" in text for name in there)
    assert {name for name, _, _ in WRONG} == set(checks.EXERCISES)


@pytest.mark.parametrize(
    ("number", "name", "cell"), cells_with_checks(), ids=lambda it: it if isinstance(it, str) else ""
)
def test_untouched_it_is_not_yet_done(number, name, cell, capsys):
    """The cell as it stands says so, with a question, and what is stored says the same."""
    source = "".join(cell["source"])
    assert source.startswith("# your turn\nmine = None\n")
    exec(source, {"check": check})
    said = capsys.readouterr().out
    assert said.startswith(f"{name}: not yet\n") and "?" in said
    assert "".join(cell["outputs"][0]["text"]) == said


@pytest.mark.parametrize(("name", "mine", "hint"), WRONG, ids=[f"{name}-{n}" for n, (name, *_) in enumerate(WRONG)])
def test_a_wrong_answer_gets_its_hint(name, mine, hint, names_of, capsys):
    """What is plausible and wrong is not accepted, and the answer leads on from there."""
    given = eval(mine, names_of(name[:2]))
    capsys.readouterr()
    check(name, given)
    said = capsys.readouterr().out
    assert said.startswith(f"{name}: not yet\n") and hint in said, said


@pytest.mark.parametrize("name", checks.EXERCISES)
def test_the_solution_passes(name, names_of, capsys):
    """Each solution, as ``%load`` brings it, with names of its own for what it builds."""
    text = (
        (NOTEBOOKS / "exercises" / f"{name.replace('-', '_')}.py")
        .read_text()
        .replace("course/my-", OWN_IMAGES)
        .replace("course/ada", f"{OWN_IMAGES}ada")
    )
    names = names_of(name[:2]) | {"check": check}
    capsys.readouterr()
    exec(text, names)
    said = capsys.readouterr().out
    assert f"{name}: passed\n" in said and "not yet" not in said, said


@pytest.mark.parametrize(
    "mine", ["course/nothing-of-that-name", "CAPITAL", b"bytes", -7, ["a"], "", SimpleNamespace(id=5)], ids=repr
)
def test_what_the_engine_does_not_have(mine, client, capsys):
    """A misspelt name, or something else altogether, is no error, and nothing passes."""
    for name, (kind, _, _) in checks.EXERCISES.items():
        check(name, mine)
        assert capsys.readouterr().out.startswith(f"{name}: not yet\n"), kind


@pytest.mark.parametrize("error", [TypeError, ValueError, AttributeError, KeyError])
def test_a_bug_in_a_check_is_not_told_as_the_learners_fault(error, client, monkeypatch):
    """It shows as the bug that it is, and nothing passes."""
    add_exercise(monkeypatch, error("a bug of ours"))
    with pytest.raises(error, match="a bug of ours"):
        check("99-test", 42)
    assert not checking.passed_days()


@pytest.mark.parametrize(
    "error",
    [
        docker.errors.APIError("409", explanation="it is paused"),
        docker.errors.DockerException("it is paused"),
        requests.exceptions.ConnectionError("it is paused"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_the_engine_refuses_is_told(error, client, monkeypatch, capsys):
    """An error of the engine, or of the way to it, is no traceback."""
    add_exercise(monkeypatch, error)
    check("99-test", 42)
    said = capsys.readouterr().out
    assert said.startswith("99-test: not yet\n") and "it is paused" in said and "What did you pass?" in said


def add_exercise(monkeypatch, error):
    """Add the exercise 99-test, whose check meets an error after its first fact."""

    def facts(client, answer):
        yield "the answer is 42", answer == "42", "what is six times seven?"
        raise error

    monkeypatch.setitem(checks.EXERCISES, "99-test", ("answer", facts, "what is asked?"))


def test_an_unknown_exercise():
    """Its name is spelt wrong; the nearest ones are named."""
    with pytest.raises(CourseError, match=r"did you mean 07-smaller"):
        check("07-smaler")


def test_what_passed_is_remembered_and_forgotten(tmp_path, monkeypatch):
    """A small file in the state folder; a broken one is none; tests have their own."""
    monkeypatch.undo()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("JPY_SESSION_NAME", "07_multi_stage.ipynb")
    checking.remember_passed("07-smaller")
    assert [row["exercise"] for row in exercises() if row["passed"] != "-"] == ["07-smaller"]
    monkeypatch.setenv("JPY_SESSION_NAME", "test-07_multi_stage.ipynb")
    assert {row["passed"] for row in exercises()} == {"-"}
    monkeypatch.setenv("JPY_SESSION_NAME", "07_multi_stage.ipynb")
    checking.record_path().write_text('{"07-sm')
    assert {row["passed"] for row in exercises()} == {"-"}
    checking.remember_passed("07-smaller")
    assert {row["passed"] for row in exercises(reset=True)} == {"-"} == {row["passed"] for row in exercises()}
