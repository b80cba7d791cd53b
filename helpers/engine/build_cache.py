"""The records that the course's builds left in BuildKit's cache: told apart from a learner's, and removed."""

import datetime
import re

import docker

from helpers import state

SLACK_SECONDS = 0.2  # between the clock of a step and that of its record
FIRST_API_WITH_TYPE = "1.42"


def remember(client, steps):
    """
    Keep the ids of the cache records that a build made: made while one of its steps ran, and described as that step.

    ``steps`` are those that were not in the cache: ``(name, began, ended)``, in seconds of the engine's clock.
    API call: ``GET /system/df``, only where there is one.
    """
    if steps:
        _keep({record["ID"] for record in records(client) if any(_fits(record, *step) for step in steps)})


def remove(client):
    """
    Remove the cache records that our builds made, but those that an image or a record of somebody else needs.

    Returns how many. API calls: ``GET /system/df``, ``POST /build/prune`` for each.
    """
    ours, count = _kept(), 0
    while removed := [one for one in records(client) if one["ID"] in ours and _is_removed(client, one["ID"])]:
        count += len(removed)  # what another record needed can be removed now
    _file().unlink(missing_ok=True)
    return count


def records(client):
    """Return all records of BuildKit's cache; an engine without BuildKit has none. API call: ``GET /system/df``."""
    only = {"type": "build-cache"} if docker.utils.version_gte(client.api._version, FIRST_API_WITH_TYPE) else {}
    return client.api._result(client.api._get(client.api._url("/system/df"), params=only), True).get("BuildCache") or []


def _fits(record, name, began, ended):
    """Return whether a record is that of a step: by its time, and by what it is described as."""
    if not began - SLACK_SECONDS <= _seconds(record["CreatedAt"]) <= ended + SLACK_SECONDS:
        return False
    said = " ".join(record["Description"].split())
    if name.startswith("[internal]"):
        return said.startswith("local source for")
    instruction = " ".join(name.split("] ", 1)[-1].split())
    keyword, _, rest = instruction.partition(" ")
    if keyword == "FROM":
        return said == "" or said.startswith("pulled from")
    command = re.sub(r"^(--\S+ )+", "", rest)
    return said == name or (keyword == "RUN" and " from exec " in said and command in said)


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
