"""The records that the course's builds left in BuildKit's cache: told apart from a learner's, and removed."""

import contextlib
import datetime
import json
import re

import docker
import requests

from helpers import state, waiting
from helpers.errors import CourseError
from helpers.progress import aside

SLACK_SECONDS = 0.05  # between the time of a step and that of its record, both by the engine's clock
REMOTE_SOURCES = ("http url ", "git snapshot for ", "shared git repo for ")
MOST_WORDS_OF_A_SHELL = 8  # as in SHELL ["/bin/bash", "-o", "pipefail", "-c"]
BUSY = "a disk usage operation is already running"
ASKED = (("1.42", "type", "build-cache"), ("1.52", "verbose", "1"))  # from which API version on, parameter, value


def remember(client, steps):
    """
    Keep the ids of the cache records that a build made: made while one of its steps ran, and described as that step.

    ``steps`` are ``(name, began, ended)``, by the engine's clock; one that was interrupted has no end (inf).
    What two builds made at the same moment cannot always be told apart. Where the engine does not tell its records, a
    line says that; where it is gone, the build itself says so.
    API call: ``GET /system/df``, only where there is one.
    """
    if not steps:
        return
    try:
        records = cache_records(client)
    except CourseError as error:
        aside(f"what this build left in the cache is not known, so clean leaves it there: {error.said}")
    except (docker.errors.DockerException, requests.exceptions.RequestException):
        pass
    else:
        _keep({record["ID"] for record in records if any(_fits(record, *step) for step in steps)})


def remove(client):
    """
    Remove the cache records that our builds made, but those that an image or a record of somebody else needs.

    Returns how many it removed, and how many are left. API calls: ``GET /system/df``, ``POST /build/prune`` for each.
    """
    ours, count = _kept(), 0
    records = cache_records(client)
    while removed := sum(_is_removed(client, one["ID"]) for one in records if one["ID"] in ours):
        count += removed
        records = cache_records(client)  # what a removed one needed can be removed now
    _file().unlink(missing_ok=True)
    return count, len(records)


def cache_records(client: docker.DockerClient) -> list[dict]:
    """
    Return all records of BuildKit's cache, as the engine describes them; an engine without BuildKit has none.

    Keys, among others: ``ID``, ``Description``, ``Size`` (bytes), ``CreatedAt``, ``LastUsedAt``, ``UsageCount``.
    ``docker system df --verbose`` and ``docker buildx du --verbose`` show the same.
    API call: ``GET /system/df``, as the SDK's ``client.df()``, without what the engine would sum up of images; again
    while the engine answers that it is counting for another program, as engines before Docker 23 do.

    Raises:
        CourseError: the engine was counting for others all the time.

    Example::

        [record["Description"] for record in cache_records(client)]
    """
    version = client.api._version
    asked = {name: value for first, name, value in ASKED if docker.utils.version_gte(version, first)}
    answers = waiting.until(lambda: _disk_usage(client, asked), waiting.DISK_USAGE_SECONDS, pause=0.2)
    if not answers:
        remedy = "wait until docker system df, or another notebook's build, has ended; then do it again"
        raise CourseError("reading BuildKit's cache (GET /system/df)", BUSY, remedy)
    [answer] = answers
    return (answer.get("BuildCacheUsage") or {}).get("Items") or answer.get("BuildCache") or []


def _disk_usage(client, asked):
    """Return the engine's answer in a list, which is empty while it is busy."""
    try:
        return [client.api._result(client.api._get(client.api._url("/system/df"), params=asked), True)]
    except docker.errors.APIError as error:
        if BUSY in str(error):
            return []
        raise


def _fits(record, name, began, ended):
    """Return whether a record is that of a step: by its time, and by what it is described as."""
    if not began - SLACK_SECONDS <= _seconds(record["CreatedAt"]) <= ended + SLACK_SECONDS:
        return False
    said, name = _on_one_line(record["Description"]), _on_one_line(name)
    if said == name:
        return True
    if name.startswith("[internal] load"):
        return said.startswith("local source for")
    keyword, _, rest = name.split("] ", 1)[-1].removeprefix("ONBUILD ").partition(" ")
    if keyword == "RUN":
        return " from exec " in said and _is_command(said.partition(" from exec ")[2], rest)
    if keyword == "FROM":
        return said in ("", "from local") or said.startswith("pulled from")
    if keyword in ("COPY", "ADD", "WORKDIR") and said == "fileop target":  # before Docker 23
        return True
    return "://" in name and said.startswith(REMOTE_SOURCES) and said.split()[-1] in name


def _on_one_line(text):
    return " ".join(text.split())


def _is_command(command, instruction):
    """Return whether a command is that of a RUN, which BuildKit names with the values of variables, and no heredocs."""
    instruction = re.sub(r"^(--\S+ )+", "", instruction)
    if heredoc := re.match(r"<<\S+ \((.*?)(\.\.\.)?\)$", instruction):
        return heredoc[1] in command or "/dev/pipes/" in command
    with contextlib.suppress(ValueError, TypeError):
        instruction = " ".join(json.loads(instruction))
    if instruction in command:
        return True
    words = re.sub(r' with id "[^"]*"$', "", command).split()
    for start in range(min(len(words), MOST_WORDS_OF_A_SHELL) + 1):
        parts = re.split(r"\$\{[^}]*\}|\$\w+", " ".join(words[start:]))
        if len(parts) > 1 and re.fullmatch(".*".join(map(re.escape, parts)), instruction):
            return True
    return False


def _seconds(text):
    """Return the seconds since 1970 of the engine's time, such as ``2026-11-28T11:34:10.490667019Z``."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    moment = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.UTC)
    return moment.timestamp() + float(f"0.{fraction or 0}")


def _is_removed(client, record_id):
    asked = {"all": "1", "filters": docker.utils.convert_filters({"id": record_id})}
    answer = client.api._result(client.api._post(client.api._url("/build/prune"), params=asked), True)
    return bool(answer.get("CachesDeleted"))


def _file():
    return state.folder() / "build-cache"


def _kept():
    return set(_file().read_text().split()) if _file().exists() else set()


def _keep(ids):
    if ids - _kept():
        with _file().open("a") as file:
            file.writelines(f"{one}\n" for one in sorted(ids))
