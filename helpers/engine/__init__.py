"""A Docker Engine: one that runs already, or one that the course starts. ``connect`` tries them in turn."""

import os

from helpers.engine import dockerd, running, vm
from helpers.engine.unavailable import Unavailable
from helpers.errors import CourseError

WAYS = {"running": running.connect, "dockerd": dockerd.connect, "vm": vm.connect}


def connect(kind=None):
    """
    Return a ``docker.DockerClient`` on the first engine that answers, and print which one it is.

    ``kind`` (or the variable COURSE_ENGINE) takes one way only: ``running`` is the engine that DOCKER_HOST, the docker
    context or the default socket names; ``dockerd`` is a private one that the course starts, on Linux as root; ``vm`` is
    one in a virtual machine, on Linux as anybody.
    SDK calls: ``docker.from_env`` or ``docker.DockerClient``, then ``client.version`` and ``client.info``.

    Raises:
        CourseError: no way led to an engine; the text lists each way, why it failed and what to do.

    Example::

        client = connect()
    """
    client, kind = find(kind)
    print(describe(client, kind))
    return client


def find(kind=None):
    """Return ``(client, kind)`` of the first engine that answers; print only what an explicit choice came to."""
    kind = kind or os.environ.get("COURSE_ENGINE")
    if kind and kind not in WAYS:
        raise CourseError(f"COURSE_ENGINE={kind} is unknown; next: choose one of {', '.join(WAYS)}, or unset it")
    failures = {}
    for name in [kind] if kind else WAYS:
        try:
            client = WAYS[name]()
        except Unavailable as error:
            failures[name] = error
        else:
            if "running" in failures and running.address()[0] != "the default socket":
                print(f"{failures['running'].reason}: another way is taken")
            client.api.timeout = 600  # a slow laptop: one answer may take minutes
            from helpers.cleaning import remove_expired

            remove_expired(client)
            return client, _kind(client)
    lines = [f"  {name}: {error.reason}\n    next: {error.remedy}" for name, error in failures.items()]
    raise CourseError("no Docker Engine could be reached. Tried:\n" + "\n".join(lines))


def _kind(client):
    """Return by which way a client came: an address in the environment may be that of an engine of the course."""
    if vm.is_ours(client):
        return "vm"
    return "dockerd" if dockerd.is_ours(client) else "running"


def variables(kind):
    """Return what a terminal's docker command needs in its environment to reach the course's own engine."""
    return {"dockerd": lambda: {"DOCKER_HOST": dockerd.socket_url()}, "vm": vm.variables}.get(kind, dict)()


def refused(container):
    """Return a container's published ports that are not to be had on this computer, of an engine in a machine of its own."""
    return vm.refused(container) if vm.is_ours(container.client) else []


def describe(client, kind):
    """Return one line about an engine: version, API, system, and the way that led to it."""
    info = client.info()
    return (
        f"Docker Engine {info['ServerVersion']}, API {client.api.api_version}, on {info['OperatingSystem']}, "
        f"{info['OSType']}/{info['Architecture']}. Way in: {kind}."
    )
