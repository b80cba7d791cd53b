"""Exercises of 01: containers and virtual machines."""

import re

from helpers.lessons.checks.checking import exercise


@exercise("01-create", "container", "which call of the SDK makes a container and starts nothing?")
def created_not_started(client, container):
    """Make a container of course/first that was never started."""
    first = client.images.get("course/first")
    yield "it was made from course/first", container.attrs["Image"] == first.id, "which image did you name?"
    never = container.attrs["State"]["Status"] == "created"
    yield "it was never started", never, "`run` does two things, one after the other. Which call does only the first?"


@exercise("01-kernel", "answer", "which program tells the release of the kernel? `ask` was used for it above.")
def kernel_release(client, answer):
    """Find out the release of the kernel that a container of Debian 13 runs on."""
    release = client.info()["KernelVersion"]
    question = "did `uname -r` run in a container?"
    if re.fullmatch(r"\d\d(\.\d+)?|trixie|bookworm|debian", answer.lower()):
        question = "/etc/os-release is a file of the image. Who knows the kernel?"
    elif answer and release.startswith(answer):
        question = "that is how it begins. How does it go on?"
    yield "it is the release of the engine's kernel", answer == release, question
