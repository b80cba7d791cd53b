"""A Dockerfile, read: its instructions with their lines, and its stages with what each begins from and copies from."""

import re
from pathlib import Path

from helpers.errors import CourseError
from helpers.images.readable import content, kind

HEREDOC = re.compile(r"(?:^|\s)\d*<<(-?)([\"']?)([^\s\"'<]+)\2(?=\s|$)")
MADE_OF = ("RUN", "COPY", "ADD", "WORKDIR")  # instructions that are steps of a build
QUOTED = re.compile(r"(?<!<)(?<!<-)([\"']).*?\1")
FLAGS = re.compile(r"(?:--\S+\s+)*")
DIRECTIVE = re.compile(r"#\s*(\w+)\s*=\s*(\S.*?)\s*$")


def instructions(text):
    r"""
    Return the instructions of a Dockerfile as rows.

    Keys:
        keyword, arguments: ``RUN`` and ``apt-get update``, on one line, without comments.
        first_line, last_line: where it stands; lines count from one.
        stage: the number of its stage; -1 before the first FROM.

    Example::

        [row["keyword"] for row in instructions("FROM scratch\nCOPY a /")]  # ['FROM', 'COPY']
    """
    lines = lines_of(text)
    escape = re.escape(directives(text).get("escape", "\\"))
    rows, number, stage = [], 0, -1
    while number < len(lines):
        first = number
        parts, goes_on = [], True
        while goes_on and number < len(lines):
            line = lines[number].strip()
            number += 1
            if line.startswith("#") or (not line and parts):
                continue  # a comment, or an empty line inside an instruction
            goes_on = bool(re.search(rf"{escape}\s*$", line))
            parts.append(re.sub(rf"{escape}\s*$", "", line).strip())
        words = " ".join(filter(None, parts))
        if not words:
            continue
        keyword, arguments = (*words.split(None, 1), "")[:2]
        keyword = keyword.upper()
        stage += keyword == "FROM"
        if keyword in ("RUN", "COPY", "ADD"):
            number = _after_heredocs(lines, number, arguments)
        while lines[first].strip().startswith("#") or not lines[first].strip():
            first += 1
        rows.append(
            {
                "keyword": keyword,
                "arguments": arguments.strip(),
                "first_line": first + 1,
                "last_line": number,
                "stage": stage,
            }
        )
    return rows


def lines_of(text):
    """Return the lines of a Dockerfile: only line feeds end them, and a carriage return before one is no part of it."""
    return [line.removesuffix("\r") for line in text.removeprefix("\ufeff").removesuffix("\n").split("\n")]


def directives(text):
    """Return what the comments at the top of a Dockerfile set: ``syntax``, ``escape``, ``check``."""
    found = {}
    for line in lines_of(text):
        setting = DIRECTIVE.match(line.strip())
        if not setting:
            break
        found[setting[1].lower()] = setting[2]
    return found


def _after_heredocs(lines, number, arguments):
    for dash, _, end in HEREDOC.findall(QUOTED.sub("''", arguments)):
        while number < len(lines) and (lines[number].lstrip("\t") if dash else lines[number]) != end:
            number += 1
        number += 1
    return min(number, len(lines))


def stages(path: str | Path, dockerfile: str = "Dockerfile", target: str | None = None) -> list[dict]:
    """
    Return the stages of a Dockerfile as rows, for ``plot_stages``; nothing is built.

    Keys:
        stage: its name, or ``stage-1`` where it has none.
        begins_from: an image, ``scratch``, or an earlier stage.
        copies_from: the stages and images that ``COPY --from`` and ``RUN --mount=from=`` name.
        needed: whether the ``target``, or else the last stage, needs it. BuildKit builds no other.
        steps: its instructions that are steps of a build, as written; the FROM of an image is the first.

    Raises:
        CourseError: there is no such file, it may not be read, it has no FROM, or there is no such target.

    Example::

        plot_stages(stages("apps/web", dockerfile="Dockerfile.stages"))
    """
    file = Path(path, dockerfile)
    if kind(file, "reading a Dockerfile") != "file":
        remedy = f"give a folder and the name of a Dockerfile in it; looked from here: {Path.cwd()}"
        raise CourseError(f"reading {file}", "there is no such file", remedy)
    rows = stage_rows(content(file, "reading a Dockerfile").decode(errors="replace"), target)
    if not rows:
        raise CourseError(f"reading {file}", "it has no stage", "a stage begins with FROM: FROM debian:trixie-slim")
    return rows


def stage_rows(text, target=None):
    """Return the rows of ``stages`` for the text of a Dockerfile."""
    rows, defaults = [], {}
    for row in instructions(text):
        if row["keyword"] == "ARG" and row["stage"] < 0:
            for given in row["arguments"].split():
                name, _, value = given.partition("=")
                defaults[name] = _filled(value.strip("\"'"), defaults)
        elif row["keyword"] == "FROM":
            words = [word for word in row["arguments"].split() if not word.startswith("--")]
            name = words[2] if len(words) > 2 and words[1].upper() == "AS" else f"stage-{len(rows)}"
            begins_from = _filled(words[0] if words else "", defaults)
            is_stage = begins_from.lower() in [one["stage"] for one in rows]
            begins_from = begins_from.lower() if is_stage else begins_from
            is_image = begins_from != "scratch" and not is_stage
            row = {"stage": name.lower(), "begins_from": begins_from, "copies_from": [], "needed": False}
            rows.append({**row, "steps": [f"FROM {begins_from}"] * is_image})
        elif rows:
            rows[-1]["steps"] += [f"{row['keyword']} {row['arguments']}"] if row["keyword"] in MADE_OF else []
            flags = FLAGS.match(row["arguments"])[0]
            for given in re.findall(r"--from=(\S+)|--mount=\S*?\bfrom=([^,\s]+)", flags):
                name = _filled("".join(given), defaults)
                name = rows[int(name)]["stage"] if name.isdigit() and int(name) < len(rows) else name
                name = name.lower() if name.lower() in [one["stage"] for one in rows] else name
                rows[-1]["copies_from"] += [name] if name not in rows[-1]["copies_from"] else []
    _mark_needed(rows, target)
    return rows


def _filled(text, defaults):
    """Return a text with build arguments replaced by their defaults."""
    return re.sub(r"\$(?:\{(\w+)(?::-([^}]*))?\}|(\w+))", lambda m: defaults.get(m[1] or m[3]) or m[2] or m[0], text)


def _mark_needed(rows, target):
    by_name = {row["stage"]: row for row in rows}
    if str(target).isdigit() and int(target) < len(rows):
        target = rows[int(target)]["stage"]
    if target is not None and target.lower() not in by_name:
        raise CourseError(f"the target {target}", "the Dockerfile has no such stage", f"choose: {', '.join(by_name)}")
    waiting = [by_name[target.lower()]] if target is not None else rows[-1:]
    while waiting:
        row = waiting.pop()
        if not row["needed"]:
            row["needed"] = True
            waiting += [
                by_name[name.lower()] for name in (row["begins_from"], *row["copies_from"]) if name.lower() in by_name
            ]
