"""Docker's build checks: what they find, what they leave out, what is left of them on the engine."""

import secrets
from types import SimpleNamespace

import docker
import pytest
import requests
from samples import folder_of

from helpers import lint, state
from helpers.engine import build_cache
from helpers.errors import CourseError
from helpers.images import buildkit
from helpers.images.lint import FIRST_API, _asked
from helpers.images.messages import Position, Range, Vertex, VertexWarning

SHELL_FORM, AS = "JSONArgsRecommended", "FromAsCasing"


@pytest.fixture
def checks(client):
    """Return a client on an engine that has build checks."""
    if not docker.utils.version_gte(client.api._version, FIRST_API):
        pytest.skip("an engine older than Docker 27 has no build checks (tests/engines/rehearse 28.5 tests/images)")
    return client


def dockerfile(folder, head="", end="CMD hello\n"):
    """Write a Dockerfile that nobody has built before, and return its folder."""
    return folder_of(folder, Dockerfile=f"{head}FROM scratch as one\nCOPY Dockerfile /{secrets.token_hex(8)}\n{end}")


@pytest.mark.parametrize(
    ("head", "rules"),
    [
        ("", [AS, SHELL_FORM]),
        (f"# check=skip={SHELL_FORM}\n", [AS]),
        (f"# check=skip={SHELL_FORM};error=true\n", [AS]),
        (f"# check=skip={AS},{SHELL_FORM}\n", []),
        ("# check=skip=all\n", []),
        ("# check=error=true\n", [AS, SHELL_FORM]),
    ],
    ids=lambda one: one.strip() if isinstance(one, str) else "",
)
def test_what_the_dockerfile_leaves_out(checks, tmp_path, head, rules):
    """The author's own choice of checks holds, as for ``docker build --check``."""
    rows = lint(checks, dockerfile(tmp_path, head))
    assert [row["rule"] for row in rows] == rules
    lines = {AS: 1 + bool(head), SHELL_FORM: 3 + bool(head)}
    assert [row["line"] for row in rows] == [lines[rule] for rule in rules]
    assert all(row["says"] and row["url"].startswith("https://docs.docker.com/") for row in rows)


def test_a_choice_that_is_none(checks, tmp_path):
    """Told as what a build says of it."""
    with pytest.raises(docker.errors.BuildError, match='invalid check option "skop"'):
        lint(checks, dockerfile(tmp_path, "# check=skop=all\n"))


@pytest.mark.parametrize("head", ["", "# check=skip=all\n"], ids=["found", "nothing found"])
def test_what_is_left_is_remembered(checks, tmp_path, monkeypatch, head):
    """Records of the cache, for ``clean``; no image."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    before = {one["ID"] for one in build_cache.cache_records(checks)}
    (tmp_path / "app").mkdir()
    lint(checks, dockerfile(tmp_path / "app", head))
    left = {one["ID"] for one in build_cache.cache_records(checks)} - before  # and what others build meanwhile
    ours = left & build_cache._kept()
    assert ours and not checks.images.list(filters={"label": f"{state.LABEL}.lint"})
    build_cache.remove(checks)
    assert not ours & {one["ID"] for one in build_cache.cache_records(checks)}


@pytest.mark.parametrize(
    ("head", "asked"),
    [
        ("", "error=true"),
        ("# Check = skip=A, B ; error=false\n", "skip=A, B;error=true"),
        ("# syntax=a/b\n# check=error=true;skip=all\n", "skip=all;error=true"),
        ("FROM a\n# check=skip=all\n", "error=true"),
    ],
    ids=str,
)
def test_what_is_asked(head, asked):
    """The author's choice, and an end where something is found, whatever else the author wants of that."""
    assert _asked(head) == asked


@pytest.fixture
def played(monkeypatch):
    """Return a function that has each build end so, and gives a client of an engine without images or records."""

    def plays(solve):
        monkeypatch.setattr(buildkit, "solve", solve)
        monkeypatch.setattr(build_cache, "cache_records", lambda _: [])
        return SimpleNamespace(api=SimpleNamespace(_version=FIRST_API), images=SimpleNamespace(list=lambda **_: []))

    return plays


def test_rows(played, tmp_path):
    """By line; the engine's words without the line, and without the rule."""

    def solve(client, trace, *_, **__):
        for n, short in ((4, b"B: second (line 4)"), (2, b"A: first (of two) (line 2)")):
            trace.warnings.append(VertexWarning(short, url="https://a", ranges=[Range(Position(n))]))
        raise docker.errors.BuildError("lint violation found for rules: A, B", [])

    assert lint(played(solve), dockerfile(tmp_path)) == [
        {"line": 2, "rule": "A", "says": "first (of two)", "url": "https://a"},
        {"line": 4, "rule": "B", "says": "second", "url": "https://a"},
    ]


def test_no_step_is_waited_for(played, tmp_path, monkeypatch):
    """Where nothing was found, the engine begins to build: it is told to stop, once, by the build's own id."""
    stopped = []
    monkeypatch.setattr(buildkit, "cancel", lambda client, build_id: stopped.append(build_id))

    def solve(client, trace, *_, changed, build_id, **__):
        for name in ("[internal] load build definition", "[1/2] FROM a", "[2/2] RUN b"):
            trace.vertexes[name] = Vertex(name, [], name)
            changed()
            assert stopped == [build_id] * name.startswith(("[1", "[2"))
        raise docker.errors.BuildError("context canceled", [])

    assert lint(played(solve), dockerfile(tmp_path)) == [] and len(stopped) == 1


def test_an_engine_that_ends(played, tmp_path):
    """A sentence, as for a build."""

    def solve(*_, **__):
        raise requests.exceptions.ConnectionError("Connection refused")

    with pytest.raises(requests.exceptions.ConnectionError) as caught:
        lint(played(solve), dockerfile(tmp_path))
    assert "docker build --check" in caught.value.__notes__[0] and "connect()" in caught.value.__notes__[0]


def test_an_engine_without_checks(tmp_path):
    """It is told from which one on there are some."""
    with pytest.raises(CourseError, match="Docker 27"):
        lint(SimpleNamespace(api=SimpleNamespace(_version="1.45")), dockerfile(tmp_path))


def test_no_dockerfile(tmp_path):
    """A folder without one."""
    with pytest.raises(CourseError, match="there is no Dockerfile"):
        lint(None, tmp_path)
