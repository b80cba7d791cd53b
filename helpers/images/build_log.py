"""What an engine says while it builds, event by event."""

import re

import docker


def build_events(answers):
    """
    Yield ``(kind, line)`` for what an engine answers to a build, in its order; blank lines are left out.

    Kinds: ``step`` (``Step 1/3 : FROM scratch``), ``cached``, ``running`` (the line ends in a container's id), ``made``
    (it ends in the id of a new image), ``warning``, ``output`` (of a step's command), ``image`` (only the id of the
    finished image).

    Raises:
        docker.errors.BuildError: the engine stopped the build; with its words.

    Example::

        [line for kind, line in build_events(client.api.build(path="apps/first", decode=True)) if kind == "step"]
    """
    cached = from_line = False
    for answer in answers:
        if "error" in answer:
            raise docker.errors.BuildError(answer["error"], [])
        if image_id := (answer.get("aux") or {}).get("ID"):
            yield "image", image_id
        for line in filter(str.strip, answer.get("stream", "").splitlines()):
            kind = _kind(line)
            if kind == "step":
                cached, from_line = False, line.split(" : ", 1)[1].upper().startswith("FROM")
            elif kind == "cached":
                cached = True
            elif kind == "made" and (cached or from_line):
                kind = "there"  # an image that was there before
            yield kind, line


def _kind(line):
    if re.match(r"Step \d+/\d+ : ", line):
        return "step"
    if line.startswith(" ---> Using cache"):
        return "cached"
    if re.match(r" ---> Running in [0-9a-f]{12}$", line):
        return "running"
    if re.match(r" ---> [0-9a-f]{12}$", line):
        return "made"
    return "warning" if line.startswith("[Warning]") else "output"
