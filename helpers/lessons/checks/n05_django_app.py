"""Exercises of 05: a Django app and its Dockerfile."""

import contextlib
import io
import re
import tarfile
import tempfile
from pathlib import Path

import docker

from helpers.containers.outcome import status_and_output
from helpers.images.build import build_quietly
from helpers.images.contents import read_file
from helpers.lessons.checks.checking import exercise
from helpers.lessons.checks.observing import end_of_text

LONGEST_ERROR = 300  # characters of what the engine says of a build


@exercise("05-key", "answer", "a layer is never changed by a later one. Where does a file go that is overwritten?")
def overwritten_key(client, answer):
    """Find the key that the image course/forgotten had, before a later step overwrote it."""
    image = client.images.get("course/forgotten")
    shown = read_file(image, "/key").decode().strip()
    question = "image.save() is a tar archive, and each layer in it is one, too. Which one has a file key?"
    if answer == shown:
        question = "that is what the image shows now: the last layer's. How many layers are there?"
    yield "it is the key that was overwritten", answer in _keys_of_layers(image) - {shown}, question


def _keys_of_layers(image):
    """Return what the file ``key`` has in it, in each layer of an image."""
    keys = set()
    with tarfile.open(fileobj=io.BytesIO(b"".join(image.save()))) as saved:
        for member in saved:
            if not member.isfile():
                continue
            with contextlib.suppress(tarfile.ReadError):  # not every file in it is a layer
                keys |= _keys_of_layer(saved.extractfile(member))
    return keys


def _keys_of_layer(file):
    with tarfile.open(fileobj=file) as layer:
        return {layer.extractfile(entry).read().decode().strip() for entry in layer if entry.name == "key"}


@exercise("05-order", "answer", "which line needs the source, and which only needs requirements.txt?")
def slow_step_cached(client, text):
    """Write a Dockerfile whose slow step comes from the cache after an edit of the code."""
    with tempfile.TemporaryDirectory(prefix="docker-course-") as folder:
        (Path(folder) / "requirements.txt").write_text("something slow\n")
        (Path(folder) / "Dockerfile").write_text(text, encoding="utf-8")
        image, error = _built(client, folder, "print('as it was')\n")
        yield "it builds", image is not None, f"the engine says: {error}"
        edited_image, error = _built(client, folder, "print('edited')\n")
    code, installed = _files_of_app(image)
    edited_code, edited_installed = _files_of_app(edited_image) if edited_image else ("", "")
    _remove_unnamed(image, edited_image)
    as_asked = "as it was" in code and re.search(r"something slow\n[0-9a-f]{8}-", installed)
    yield "/app has app.py, and installed, as the slow step makes it", as_asked, "what did you leave out?"
    yield "it builds after an edit, too", edited_image is not None, f"the engine says: {error}"
    yield "after an edit, the new code is in the image", "edited" in edited_code, "what is copied, and from where?"
    cached = installed == edited_installed  # each run of the step makes a new number
    yield "and the slow step came from the cache", cached, "which lines stand before the slow step, and need the code?"


def _built(client, folder, code):
    """Return the image of a folder with some code, or None; and what the engine says of a build that failed."""
    (Path(folder) / "app.py").write_text(code)
    try:
        return build_quietly(client, folder), ""
    except docker.errors.BuildError as error:
        return None, end_of_text(error.msg, LONGEST_ERROR)


def _files_of_app(image):
    """Return the text of ``/app/app.py`` and of ``/app/installed``; an empty one where there is no such file."""
    contents = [read_file(image, f"/app/{name}") or b"" for name in ("app.py", "installed")]
    return [text.decode(errors="replace") for text in contents]


def _remove_unnamed(*images):
    """Remove the images of a check's own builds."""
    for image in images:
        if image:
            with contextlib.suppress(docker.errors.APIError):  # both are the same, or it has another name
                image.client.images.remove(image.id)


@exercise("05-greet", "image", "what is fixed, and what may be changed by an argument: ENTRYPOINT or CMD?")
def greeting(client, image):
    """Build an image that prints `hello world`, and with the argument `you` prints `hello you`."""
    status, plain = status_and_output(client, image, awake=True, network_mode="none")
    question = f"it said: {end_of_text(plain)}. What does its command wait for?"
    yield "it ends by itself, with status 0", status == 0, question
    question = f"it printed {plain[:99]!r}. {_question_without_argument(image)}"
    yield "without an argument it prints hello world", plain == "hello world", question
    _, given = status_and_output(client, image, ["you"], awake=True, network_mode="none")
    why = "An argument takes the place of CMD; in a line without brackets it is lost"
    yield "with the argument you it prints hello you", given == "hello you", f"it printed {given[:120]!r}. {why}"


def _question_without_argument(image):
    """Return the question for an image that does not print hello world when it gets no argument."""
    entrypoint = image.attrs["Config"].get("Entrypoint") or []
    if entrypoint[:2] == ["/bin/sh", "-c"]:
        return "its ENTRYPOINT is read by a shell, and that passes no CMD on. What do brackets change?"
    if not image.attrs["Config"].get("Cmd"):
        return "What is CMD for?"
    return "What are its ENTRYPOINT and its CMD, word by word?"
