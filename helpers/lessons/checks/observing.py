"""What several checks look at: the end of a text, a page, what a program says in a container."""

import contextlib
import http.client
import socket
import urllib.request

import docker

from helpers import engine
from helpers.containers.outcome import brief_container, exit_status
from helpers.containers.url import url
from helpers.errors import CourseError

LONGEST_TEXT = 200  # characters of what a program said, in a question
PAGE_SECONDS = 15  # a container that was started a moment ago, until its page is there
WEB_APP_WORDS = b"made by Django"  # in the page of the web app of 06


def end_of_text(text, most=LONGEST_TEXT):
    """Return the end of what a program said, on one line; a word is not cut."""
    line = " / ".join(part.strip() for part in text.splitlines() if part.strip())
    if len(line) > most:
        line = "… " + line[-most:].partition(" ")[2]
    return line or "nothing"


def it_runs(container, question="what does its log say? container.logs()"):
    """Return the fact that a container runs; ``question`` is for one that has ended."""
    if container.status == "paused":
        question = "it is paused. Which call has it go on?"
    elif container.status == "restarting":
        question = "it ends, and is started again, and again. What does its log say?"
    return "it runs", container.status == "running", question


def answer_to_line(client, image, line):
    """Return what a container of an image prints when it gets a line of input, and then the end of it."""
    with brief_container(client, image, stdin_open=True, network_mode="none") as (container, why):
        if container is None:
            return why
        stdin = container.attach_socket(params={"stdin": True, "stream": True})
        stdin = getattr(stdin, "_sock", stdin)
        with contextlib.suppress(OSError):  # it has ended already
            stdin.sendall(f"{line}\n".encode())
            stdin.shutdown(socket.SHUT_WR)
        exit_status(container, awake=True)
        return container.logs(tail=50).decode(errors="replace")


def published_page(container, path="/"):
    """Return the page that a container's published port 8000 has at a path, or None."""
    seconds = engine.patience(container.client, PAGE_SECONDS)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        address = url(container, 8000, timeout=seconds) + path
        return opener.open(address, timeout=seconds).read()
    except (CourseError, OSError, http.client.HTTPException):
        return None


def web_app_answers(container):
    """Return whether the web app of 06 answers on a container's published port."""
    return WEB_APP_WORDS in (published_page(container, "/demo/") or b"")


def output_in(container, *command):
    """Return what a command prints in a container; nothing where it does not start or fails."""
    try:
        answer = container.exec_run(list(command))
    except docker.errors.APIError:  # how some engines say that there is no such program
        return ""
    return "" if answer.exit_code else answer.output.decode(errors="replace").strip()


def status_of_first_process(container):
    """Return the kernel's own words about process 1 of a container: its user, its rights."""
    text = output_in(container, "cat", "/proc/1/status")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
