"""Exercises of 08: distroless images."""

import re

from helpers.containers.outcome import status_and_output
from helpers.images.contents import read_file
from helpers.lessons.checks.checking import exercise
from helpers.lessons.checks.observing import end_of_text, it_runs, output_in, web_app_answers


@exercise("08-users", "answer", "the engine hands out files of a container that has neither ls nor cat. How?")
def users_in_distroless(client, answer):
    """Find out how many users /etc/passwd of the distroless image has."""
    users = _number_of_users(client, "gcr.io/distroless/python3-debian13")
    question = "one line, one user, and a number is asked for: Python can read the file in there"
    if answer == str(users + 1):
        question = "that is one too many. Is the last line empty?"
    elif answer == str(_number_of_users(client, "debian:trixie-slim")):
        question = "that is the number in Debian's image. Which image did you ask?"
    yield "it is the number of lines in that file", answer == str(users), question


def _number_of_users(client, name):
    return len(read_file(client.images.get(name), "/etc/passwd").splitlines())


@exercise("08-version", "image", "which program reads a CMD without brackets?")
def prints_version(client, image):
    """Fix Dockerfile.form, so that its image prints Python's version."""
    status, said = status_and_output(client, image, awake=True, network_mode="none")
    yield "it runs, and ends with status 0", status == 0, f"it said: {end_of_text(said)}. Who was given these words?"
    version = re.search(r"\b3\.\d+\.\d+", said)
    yield "it prints Python's version", version, f"it said {said[:99]!r}. Which option tells it?"
    no_shell = read_file(image, "/bin/sh") is None
    yield "and it has no shell", no_shell, "that works with a shell, too. Which base has none?"


@exercise("08-not-root", "container", "who says as which user a container runs: the image, or the one who starts it?")
def web_app_not_as_root(client, container):
    """Run the web app on distroless as another user than root, so that it answers."""
    yield it_runs(container)
    no_shell = output_in(container, "sh", "-c", "echo yes") == ""
    yield "its image has no shell", no_shell, "which image did you take?"
    user = output_in(container, "python3", "-c", "import os; print(os.getuid())")
    yield "it has Python", user.isdecimal(), "is it course/web-distroless?"
    yield "its user is not root", user != "0", "its number is 0, and that is root. USER in the Dockerfile, or user="
    yield "the web app answers", web_app_answers(container), "is its port 8000 published?"
