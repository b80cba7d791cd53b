"""Builds: what is printed, what is returned, which arguments there are."""

import io
import re
import secrets
from pathlib import Path
from types import SimpleNamespace

import docker
import pytest
from samples import file_in, folder_of

from helpers import build, build_steps
from helpers.engine import build_cache
from helpers.errors import CourseError
from helpers.images.build import build_quietly
from helpers.images.build_report import show
from helpers.images.lint import FIRST_API

LINE = r": (\d+) steps? in (\d+) stages?, (\d+) from the cache, \d+\.\d s\n"


def notes(error):
    """Return the three sentences that ``explain`` added."""
    return "\n".join(error.__notes__)


def from_text(client, text, tag=None, **arguments):
    """Build a Dockerfile that needs no folder."""
    return build(client, fileobj=io.BytesIO(text.encode()), tag=tag, **arguments)


def test_prints_one_line(client, base, own_tag, tmp_path, capsys):
    """Steps, stages, how many were there already, seconds; and what comes back is docker-py's."""
    text = f"FROM debian:trixie-slim AS first\nRUN echo {secrets.token_hex(8)} > /a\n"
    folder_of(tmp_path, Dockerfile=f"{text}FROM scratch\nCOPY --from=first /a /\n")
    image = build(client, tmp_path, tag=own_tag)
    assert re.fullmatch(own_tag + LINE, capsys.readouterr().out).groups() == ("3", "2", "1")
    assert isinstance(image, docker.models.images.Image) and image.tags == [f"{own_tag}:latest"]
    again = build(client, tmp_path, tag=own_tag)
    assert re.fullmatch(own_tag + LINE, capsys.readouterr().out).groups() == ("3", "2", "3")
    assert image.id == again.id


def test_what_is_folded(capsys, monkeypatch):
    """In a notebook: how long each step took, or that the cache had it; then what the build checks warn of."""
    shown = []
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(kernel=True))
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    times = {"start_seconds": 1.0, "end_seconds": 13.25}
    rows = [
        {"step": "[1/3] FROM a", "stage": "stage-0", "cached": True, **times},
        {"step": "[2/3] RUN b  &&\n c", "stage": "stage-0", "cached": False, **times},
        {"step": "[3/3] RUN d", "stage": "stage-0", "cached": False, "start_seconds": 1.0, "end_seconds": None},
    ]
    show("course/x", rows, [{"line": 2, "rule": "Rule", "says": "not <so>", "url": "https://x"}], 13.0)
    line = "course/x: 3 steps in 1 stage, 1 from the cache, 13.0 s, 1 warning"
    steps = " cached  [1/3] FROM a\n 12.2 s  [2/3] RUN b &amp;&amp; c\n   done  [3/3] RUN d\n"
    steps += "warning  line 2: not &lt;so&gt; (Rule)\n"
    html = f"<details><summary>{line}</summary><pre>{steps}</pre></details>"
    assert shown == [{"text/plain": line, "text/html": html}] and capsys.readouterr().out == ""


def test_warnings_of_the_build_checks(client, base, own_tag, capsys):
    """Counted in the line and told below it, where the engine has such checks: since Docker 27."""
    from_text(client, "FROM debian:trixie-slim\nCMD echo hello\n", own_tag)
    line, *below = capsys.readouterr().out.splitlines()
    has_checks = docker.utils.version_gte(client.version()["ApiVersion"], FIRST_API)
    assert line.endswith(", 1 warning") is has_checks
    assert [one.partition(":")[0] for one in below] == ["  line 2"] * has_checks


def test_an_engine_that_does_not_tell_its_cache(client, base, own_tag, capsys, monkeypatch):
    """The image is there; that clean will leave what the build cached is said."""

    def busy(*_):
        raise CourseError("reading BuildKit's cache", "busy", "wait")

    monkeypatch.setattr(build_cache, "cache_records", busy)
    assert from_text(client, "FROM debian:trixie-slim\nENV A=1\n", own_tag).tags == [f"{own_tag}:latest"]
    assert "so clean leaves it there: busy" in capsys.readouterr().out


def test_without_a_name(client, base, capsys):
    """The line begins with the image's id."""
    image = from_text(client, f"FROM debian:trixie-slim\nLABEL once={secrets.token_hex(8)}\n")
    assert capsys.readouterr().out.startswith(f"{image.short_id}: 1 step in 1 stage, 1 from the cache, ")
    assert image.tags == []
    client.images.remove(image.id)


def test_what_is_not_printed(client, base, own_tag, capsys):
    """The checks and the widgets build, too, and say nothing."""
    image = build_quietly(client, fileobj=io.BytesIO(b"FROM debian:trixie-slim\nENV A=1\n"), tag=own_tag)
    assert capsys.readouterr().out == "" and image.labels["org.docker-course"] == "1"


def test_arguments_of_the_sdk(client, base, own_tag, tmp_path):
    """A target, build arguments, labels and a Dockerfile of another name reach the engine."""
    text = "FROM debian:trixie-slim AS one\nARG WORD=none\nRUN echo $WORD > /word\nFROM scratch AS two\n"
    folder_of(tmp_path, Dockerfile__other=text)
    options = {"target": "one", "buildargs": {"WORD": "given"}, "labels": {"mine": 1}, "nocache": True, "rm": True}
    image = build(client, tmp_path, tag=own_tag, dockerfile="Dockerfile.other", **options)
    assert file_in(client, image, "/word") == b"given\n"
    assert image.labels["mine"] == "1" == image.labels["org.docker-course"]
    assert [row["cached"] for row in build_steps(image)] == [True, False]


def test_without_the_cache(client, base, own_tag):
    """The step runs once more, and only then is its file another one."""
    text = "FROM debian:trixie-slim\nRUN cat /proc/sys/kernel/random/uuid > /id\n"
    first = file_in(client, from_text(client, text, own_tag), "/id")
    assert file_in(client, from_text(client, text, own_tag), "/id") == first
    assert file_in(client, from_text(client, text, own_tag, nocache=True), "/id") != first


def test_steps(client, base, own_tag):
    """A row a step: named as BuildKit names it, timed, with what it needed and what it printed."""
    word = secrets.token_hex(8)
    text = f"""
FROM debian:trixie-slim AS first
RUN sleep 1.5; echo {word}; echo {word} > /a

FROM debian:trixie-slim AS unused
RUN sleep 600

FROM debian:trixie-slim AS second
RUN sleep 1.5 && echo {word} > /b

FROM scratch
COPY --from=first /a /
COPY --from=second /b /
"""
    rows = build_steps(from_text(client, text, own_tag))
    assert [row["stage"] for row in rows] == ["first", "first", "second", "stage-3", "stage-3"]
    first, second, last = rows[1], rows[2], rows[4]
    assert first["step"] == f"[first 2/2] RUN sleep 1.5; echo {word}; echo {word} > /a"
    assert (first["number"], first["of"], first["cached"], first["output"]) == (2, 2, False, f"{word}\n")
    assert first["inputs"] == [rows[0]["step"]] == ["[first 1/2] FROM debian:trixie-slim"]
    assert second["step"] in last["inputs"] and last["instruction"] == "COPY --from=second /b /"
    assert first["end_seconds"] - first["start_seconds"] > 1.4
    assert second["start_seconds"] < first["end_seconds"] and first["start_seconds"] < second["end_seconds"]


def test_steps_of_an_image_that_was_not_built_here(base):
    """A sentence, not an empty list; the same for what is no image."""
    for given in (base, "course/first", None):
        with pytest.raises(CourseError, match=r"image = build\(client"):
            build_steps(given)


def test_a_dockerfile_is_utf8(client, monkeypatch):
    """Its lines are shown as they are, also on a computer whose own texts have another encoding."""
    monkeypatch.setattr(io, "text_encoding", lambda encoding, stacklevel=2: encoding or "cp1252")
    with pytest.raises(docker.errors.BuildError) as caught:
        from_text(client, "FROM scratch\nRUM größer\n", "course/x")
    assert "RUM größer" in notes(caught.value)


def test_missing_folder(client):
    """The folder from which it was looked for is named."""
    with pytest.raises(CourseError) as caught:
        build(client, "no-such-folder", tag="course/x")
    assert "docker build no-such-folder" in str(caught.value) and str(Path.cwd()) in str(caught.value)


def test_a_file_in_place_of_a_folder(client, tmp_path):
    """It is told apart from one that is not there."""
    with pytest.raises(CourseError, match="that is a file"):
        build(client, folder_of(tmp_path, Dockerfile="FROM scratch\n") / "Dockerfile", tag="course/x")


def test_no_folder(client, tmp_path):
    """A path where there is none."""
    with pytest.raises(CourseError, match="give the folder that holds the Dockerfile"):
        build(client, tmp_path / "none", tag="course/x")


def test_missing_dockerfile(client, tmp_path):
    """A folder without one."""
    with pytest.raises(CourseError) as caught:
        build(client, tmp_path, tag="course/x", dockerfile="Dockerfile.other")
    assert "there is no Dockerfile.other in" in str(caught.value) and "dockerfile='…'" in str(caught.value)


@pytest.mark.parametrize("arguments", [{"base": "debian"}, {"squash": True}, {"buildarg": {}}], ids=str)
def test_no_such_argument(client, tmp_path, arguments):
    """It is named, and nothing is built."""
    with pytest.raises(CourseError, match=f"there is no argument {next(iter(arguments))}"):
        build(client, folder_of(tmp_path, Dockerfile="FROM scratch\nCOPY Dockerfile /\n"), tag="course/x", **arguments)
    assert not client.images.list("course/x")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"nocahe": True}, "did you mean nocache="),
        ({"buildargs": ["A=1"]}, "buildargs= takes a dict"),
        ({"labels": "x"}, "labels= takes a dict"),
        ({"secrets": {"key": 5}}, "secrets= takes a dict of bytes"),
        ({"secrets": ["key"]}, "secrets= takes a dict of bytes"),
        ({"secrets": {"key": Path("file")}}, r"Path\('token'\).read_bytes"),
    ],
    ids=str,
)
def test_an_argument_of_another_kind(client, arguments, said):
    """Said before anything is built; a secret is never a part of its name, or five bytes of nothing."""
    with pytest.raises(CourseError, match=said):
        build(client, fileobj="FROM scratch\nENV A=1\n", **arguments)


def test_two_arguments_that_changed_places(client):
    with pytest.raises(CourseError, match="the first argument is no client"):
        build("apps/first", client)


def test_one_file_object_for_two_builds(client, own_tag):
    """As when a cell is run twice: it is read from its beginning."""
    file = io.BytesIO(b"FROM scratch\nENV A=1\n")
    first, second = (build_quietly(client, fileobj=file, tag=own_tag) for _ in range(2))
    assert first.id == second.id and file.tell()


@pytest.mark.parametrize("form", [str, str.encode, io.StringIO], ids=["text", "bytes", "file"])
def test_a_dockerfile_without_a_folder(client, own_tag, form):
    """As a text too, and not only as the open file that the SDK asks for."""
    image = build_quietly(client, fileobj=form("FROM scratch\nENV A=1\n"), tag=own_tag)
    assert image.attrs["Config"]["Env"][-1] == "A=1"


def test_nothing_to_build(client):
    """The client is forgotten, or the folder."""
    for arguments in ((client,), ("apps/first",)):
        with pytest.raises(CourseError) as caught:
            build(*arguments, tag="course/x")
        assert "neither a folder nor fileobj=" in str(caught.value) and "the client comes first" in str(caught.value)
