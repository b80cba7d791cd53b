"""The machine is filled by the notebooks' own cells, in a process of its own; a build that fails there stops it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.errors import CourseError
from helpers.machines import disk
from helpers.workshop import fill

ROOT = Path(__file__).parents[2]
FAILS = 'build(client, "broken", tag="course/test-broken")'
WORKS = 'build(client, "works", tag="course/test-works")'


@pytest.fixture
def lesson(client, tmp_path):
    """Return a function that fills the engine from a notebook with such cells, and gives the images that it made."""
    for name, step in (("broken", "COPY missing /"), ("works", "COPY Dockerfile /")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Dockerfile").write_text(f"FROM scratch\nLABEL org.docker-course=1\n{step}\n")

    def filled(*cells, tags=()):
        sources = ["from helpers import build, connect, run\nclient = connect()", *cells]
        found = [{"cell_type": "code", "source": text, "metadata": {"tags": list(tags)}} for text in sources]
        (tmp_path / "lesson.ipynb").write_text(json.dumps({"cells": found}))
        fill.fill(client, ["lesson"], folder=tmp_path)
        return [tag for image in client.images.list("course/test-works") for tag in image.tags]

    yield filled
    if client.images.list("course/test-works"):
        client.images.remove("course/test-works")


@pytest.mark.parametrize(
    "cell",
    [FAILS, 'client.images.build(path="broken", tag="course/test-broken", rm=True)', 'base_image(client, "no/such:1")'],
    ids=["the helper", "the SDK's own", "a base image"],
)
def test_a_build_that_fails_stops_it(lesson, cell):
    """It says in which cell, and in the engine's words why; nothing after it is made."""
    with pytest.raises(CourseError) as caught:
        lesson(f"from helpers import base_image\n{cell}", WORKS)
    assert "the cell that begins with" in str(caught.value) and "lesson" in str(caught.value)
    assert "missing" in str(caught.value) or "no/such" in str(caught.value)


def test_a_mistake_to_learn_from_does_not(lesson):
    """Its cell has the tag by which nbval knows, too."""
    assert lesson(FAILS, WORKS, tags=["raises-exception"]) == ["course/test-works:latest"]


def test_a_failure_that_the_cell_deals_with_does_not(lesson):
    """The cell itself ends well."""
    assert lesson(f"try:\n    {FAILS}\nexcept Exception as error:\n    print(error)", WORKS)


def test_what_fails_for_want_of_what_is_left_out_does_not(lesson):
    """Containers are not run, so what their output would be is not there."""
    assert lesson("int(run(client, 'x'))[0]", WORKS)


def test_the_making_is_a_process_of_its_own():
    """A kernel that connects loads nothing of the workshop, and no mocks."""
    code = "import sys, helpers.engine.vm as vm; vm.connect; "
    code += "print([name for name in sys.modules if 'workshop' in name or 'mock' in name or 'multiprocessing' in name])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_the_words_of_a_making_that_fails(monkeypatch, tmp_path, capsys):
    """What that process said stands in the error, and is printed as it comes."""
    monkeypatch.setattr(disk, "ROOT", tmp_path)
    (tmp_path / "helpers" / "workshop").mkdir(parents=True)
    (tmp_path / "helpers" / "workshop" / "__main__.py").write_text("raise SystemExit('the disk is full')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(CourseError, match="the disk is full"):
        disk.make("disk")
    assert "the disk is full" in capsys.readouterr().out
