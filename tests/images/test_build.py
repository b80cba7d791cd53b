"""Builds: what is printed, what is returned, and how they fail."""

import secrets
import signal
import subprocess
import sys
from pathlib import Path

import docker
import pytest
from samples import folder_of

from helpers import build, waiting
from helpers.errors import CourseError

ENOUGH_SECONDS = 300  # for a build that is interrupted, on a busy computer


def notes(error):
    """Return the three sentences that ``explain`` added."""
    return "\n".join(error.__notes__)


def test_prints_the_steps_only(client, own_tag, tmp_path, capsys):
    """Stable lines: no ids, no times, no output of commands."""
    folder_of(tmp_path, Dockerfile="FROM scratch\nLABEL org.docker-course=1\nCOPY a /\n", a="1")
    image = build(client, tmp_path, tag=own_tag)
    assert capsys.readouterr().out.splitlines() == [
        "Step 1/3 : FROM scratch",
        "Step 2/3 : LABEL org.docker-course=1",
        "Step 3/3 : COPY a /",
    ]
    assert isinstance(image, docker.models.images.Image) and image.tags == [f"{own_tag}:latest"]


@pytest.mark.parametrize(
    ("dockerfile", "tag", "tried", "said", "advice"),
    [
        (
            "FROM scratch\nINSTALL python\n",
            "x",
            "docker build -t course/x",
            "unknown instruction: INSTALL",
            "fix that line",
        ),
        ("FROM scratch\nCOPY missing /\n", "x", "Step 2/2 : COPY missing /", "missing", "COPY takes files"),
        (
            "FROM course/no-such-image\n",
            "x",
            "FROM course/no-such-image",
            "course/no-such-image|lookup|denied",
            "spelling|registry",
        ),
        ("FROM scratch\n", "Upper", "docker build -t course/Upper", "invalid", "lower case"),
        ("FROM Debian\n", "x", "FROM Debian", "must be lower", "lower case"),
        ("", "x", "docker build -t course/x", "cannot be empty", "begin the Dockerfile with FROM"),
        ("ARG BASE\nFROM ${BASE}\n", "x", "FROM ${BASE}", "blank", "base=base"),
    ],
    ids=["syntax", "missing file", "unknown base", "upper-case tag", "upper-case base", "empty", "no base"],
)
def test_bad_input(client, tmp_path, dockerfile, tag, tried, said, advice):
    """What was tried, what the engine said, what to do; and docker's own exception."""
    with pytest.raises(docker.errors.BuildError) as caught:
        build(client, folder_of(tmp_path, Dockerfile=dockerfile), tag=f"course/{tag}")
    text = notes(caught.value)
    assert tried in text
    assert [word for word in said.split("|") if word in text]
    assert [word for word in advice.split("|") if word in text.partition("next:")[2]]


def test_a_base_that_the_dockerfile_does_not_take(client, base, own_tag, tmp_path, capsys):
    """The engine's warning is passed on."""
    build(client, folder_of(tmp_path, Dockerfile="FROM scratch\nCOPY Dockerfile /\n"), tag=own_tag, base=base)
    assert "[BASE" in capsys.readouterr().out


def test_failing_run(client, base, own_tag, tmp_path):
    """The failing instruction, the tail of its log, and the whole log on the exception."""
    text = "ARG BASE\nFROM ${BASE}\nLABEL org.docker-course=1\nRUN echo first; echo the reason >&2; exit 3\n"
    with pytest.raises(docker.errors.BuildError) as caught:
        build(client, folder_of(tmp_path, Dockerfile=text), tag=own_tag, base=base)
    said = notes(caught.value)
    assert "stopped at Step 4/4 : RUN echo first" in said and "code: 3" in said
    answer = said[said.index("answer: ") + 8 : said.index("  next: ")].splitlines()
    assert sorted(line.strip() for line in answer[:-1]) == ["first", "the reason"]  # no colours, no ids
    assert "the reason" in "".join(caught.value.build_log)
    assert caught.value._render_traceback_() == [f"BuildError: {said}"]


def test_no_network(client, base, own_tag, tmp_path):
    """A RUN that needs the network, in a build without one."""
    step = "RUN apt-get -o Acquire::Retries=0 update --error-on=any"
    folder_of(tmp_path, Dockerfile=f"ARG BASE\nFROM ${{BASE}}\nLABEL org.docker-course=1\n{step}\n")
    with pytest.raises(docker.errors.BuildError) as caught:
        build(client, tmp_path, tag=own_tag, base=base, network_mode="none")
    assert f"stopped at Step 4/4 : {step}" in notes(caught.value)
    assert "Failed to fetch" in notes(caught.value) and "is this computer online?" in notes(caught.value)


def test_missing_folder(client):
    """The folder from which it was looked for is named."""
    with pytest.raises(CourseError) as caught:
        build(client, "no-such-folder", tag="course/x")
    assert "docker build no-such-folder" in str(caught.value) and str(Path.cwd()) in str(caught.value)


def test_missing_dockerfile(client, tmp_path):
    """A folder without one."""
    with pytest.raises(docker.errors.BuildError) as caught:
        build(client, tmp_path, tag="course/x", dockerfile="Dockerfile.other")
    assert "dockerfile=" in notes(caught.value)


def test_interrupted(client, base, own_tag, tmp_path):
    """Ctrl-C in a RUN: no container of the build is left."""
    marker = secrets.token_hex(8)
    text = f"ARG BASE\nFROM ${{BASE}}\nLABEL org.docker-course=1 marker={marker}\nRUN sleep 3000\n"
    folder_of(tmp_path, Dockerfile=text)
    arguments = f"{str(tmp_path)!r}, tag={own_tag!r}, base='course/debian:bookworm-slim'"
    code = f"from helpers import build, engine; build(engine.find()[0], {arguments})"
    building = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert any("sleep" in line for line in building.stdout)
    found = {"filters": {"label": f"marker={marker}"}, "ignore_removed": True}
    assert waiting.until(lambda: client.containers.list(**found), ENOUGH_SECONDS)
    building.send_signal(signal.SIGINT)
    assert building.wait(ENOUGH_SECONDS) != 0
    assert waiting.until(lambda: client.containers.list(all=True, **found) == [], ENOUGH_SECONDS)
