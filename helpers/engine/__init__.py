"""A Docker Engine: one that runs already, or one that the course starts. ``connect`` tries them in turn."""

import os

from helpers.engine import dockerd, running
from helpers.engine.unavailable import Unavailable
from helpers.errors import CourseError

WAYS = {"running": running.connect, "dockerd": dockerd.connect}


def connect(kind=None):
    """
    Return a ``docker.DockerClient`` on the first engine that answers, and print which one it is.

    ``kind`` (or the variable COURSE_ENGINE) takes one way only: ``running`` is the engine that DOCKER_HOST, the docker
    context or the default socket names; ``dockerd`` is a private one that the course starts, on Linux as root.
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
            return client, "dockerd" if dockerd.is_ours(client) else "running"
    lines = [f"  {name}: {error.reason}\n    next: {error.remedy}" for name, error in failures.items()]
    raise CourseError("no Docker Engine could be reached. Tried:\n" + "\n".join(lines))


def describe(client, kind):
    """Return one line about an engine: version, API, system, and the way that led to it."""
    info = client.info()
    return (
        f"Docker Engine {info['ServerVersion']}, API {client.api.api_version}, on {info['OperatingSystem']}, "
        f"{info['OSType']}/{info['Architecture']}. Way in: {kind}."
    )
