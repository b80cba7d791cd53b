"""How a container ends: run one for a moment, wait for its end, read its status and its words."""

import contextlib
import time

import docker
import requests

from helpers import engine
from helpers.containers.run import run

LOOK_SECONDS = 0.4  # from one look at a container's processes to the next
LOOKS_ASLEEP = 3  # after so many at which all of them sleep, nothing will wake it


@contextlib.contextmanager
def brief_container(client, image, command=None, **options):
    """Give ``(container, "")``, and remove the container afterwards; or ``(None, text)`` where it could not start."""
    try:
        container = run(client, image, command, detach=True, **options)
    except docker.errors.APIError as error:
        yield None, error.explanation or str(error)
        return
    try:
        yield container, ""
    finally:
        with contextlib.suppress(docker.errors.NotFound):
            container.remove(force=True, v=True)


def status_and_output(client, image, command=None, seconds=10, awake=False, **options):
    """
    Return ``(status, text)`` of a container that has some seconds, more of them in the virtual machine.

    The status is 127 where it could not start, with the engine's words, and None where it did not end by itself.
    ``awake`` is as in ``exit_status``.
    """
    with brief_container(client, image, command, **options) as (container, why):
        if container is None:
            return 127, f"it could not start: {why}"
        return exit_status(container, seconds, awake), container.logs(tail=50).decode(errors="replace").strip()


def exit_status(container, seconds=10, awake=False):
    """
    Return the status with which a container ends in some seconds, more of them in the virtual machine; else None.

    With ``awake``, one that only sleeps for a second is given up: where it has no network, nothing will wake it.
    """
    deadline, asleep = time.monotonic() + engine.patience(container.client, seconds), 0
    while asleep < LOOKS_ASLEEP and (left := deadline - time.monotonic()) > 0:
        with contextlib.suppress(requests.exceptions.RequestException):  # it goes on
            return container.wait(timeout=min(LOOK_SECONDS, left) if awake else left)["StatusCode"]
        sleeps = awake and _sleeps(container)
        asleep, awake = (asleep + 1 if sleeps else 0), awake and sleeps is not None
    return None


def _sleeps(container):
    """
    Return whether each process of a container waits for something; one that starts, or reads a disk, does not.

    Return None where nobody tells: it has just ended, or there is no ps where the engine runs.
    """
    try:
        processes = container.top(ps_args="-eo pid,stat")["Processes"]
    except docker.errors.APIError:
        return None
    return bool(processes) and all(process[-1].startswith("S") for process in processes)
