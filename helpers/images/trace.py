"""What BuildKit says while it builds: each step, when it ran, what it needed, what it printed."""

import base64
import math
import re
from collections import Counter

import docker

from helpers.errors import refusal
from helpers.images.messages import StatusResponse

STEP = re.compile(
    r"\[ *(?:\w+/\S+ +)?(?:(?P<stage>\S+) +)?(?P<number>\d+)/(?P<of>\d+)\] (?P<instruction>.*)", re.DOTALL
)
CANCELED = "context canceled|operation was canceled"  # what BuildKit, and Go, say of what another step's end stopped
OWN_MOUNT = re.compile(r"--mount=type=secret,id=docker-course-\S+ ")  # what pip_secrets adds to a RUN


class Trace:
    """What has been heard of a build so far: ``vertexes`` by digest, ``logs``, ``warnings``, the image's id."""

    def __init__(self):
        self.vertexes, self.logs, self.warnings, self.image_id = {}, {}, [], None
        self.downloads = set()  # digests of steps that fetched something
        self.finished = set()  # digests of steps that an earlier try of this build has run

    def take(self, answer):
        """
        Take one answer of the engine.

        Raises:
            docker.errors.BuildError: the engine stopped the build; with its words.
        """
        if said := refusal(answer):
            raise docker.errors.BuildError(said, [])
        if answer.get("id") == "moby.image.id":
            self.image_id = answer["aux"]["ID"]
        elif answer.get("id") == "moby.buildkit.trace":
            status = StatusResponse.loads(base64.b64decode(answer["aux"]))
            for vertex in status.vertexes:
                vertex.name = OWN_MOUNT.sub("", vertex.name)
                known = self.vertexes.setdefault(vertex.digest, vertex)
                if vertex.digest in self.finished:
                    continue
                known.started = known.started or vertex.started
                known.completed = vertex.completed or known.completed
                known.cached, known.error = known.cached or vertex.cached, vertex.error or known.error
            self.downloads |= {one.vertex for one in status.statuses if not one.id.startswith("resolve ")}
            for log in status.logs:
                self.logs.setdefault(log.vertex, []).append(log.msg)
            self.warnings += status.warnings

    def try_again(self):
        """Get ready for a second try: what the first one ran stays as it was, though it comes from the cache then."""
        self.warnings = []
        for vertex in self.vertexes.values():
            if vertex.error:
                vertex.error, vertex.completed = "", None
        self.finished |= {one.digest for one in self.vertexes.values() if one.completed and not one.cached}

    def findings(self):
        """Return what the engine's build checks have found: the rows of ``lint``, by line."""
        return sorted((_finding(warning) for warning in self.warnings), key=lambda row: row["line"])

    def made(self, stages=()):
        """Return ``(name, began, ended)`` of what has begun, by the engine's clock; inf where it never ended."""
        ran = [one for one in self._own(stages) if one.started]  # a download is recorded, cached or not
        ends = [_seconds(one.completed) if one.completed else math.inf for one in ran]
        return [(one.name, _seconds(one.started), end) for one, end in zip(ran, ends, strict=True)]

    def failed(self):
        """Return the vertex that stopped the build, or None."""
        stopped = [one for one in self.vertexes.values() if one.error and not re.search(CANCELED, one.error)]
        return stopped[0] if stopped else None

    def output(self, digest):
        """Return what a step printed, as text."""
        return b"".join(self.logs.get(digest, [])).decode(errors="replace")

    def began(self):
        """Return when the first step began, by the engine's clock."""
        began = [_seconds(one.started) for one in self.vertexes.values() if one.started and not STEP.match(one.name)]
        steps = (_seconds(one.started) for one in self.vertexes.values() if one.started)
        return min(began or steps, default=0)  # a step that another build has too may have begun before this build

    def steps(self, stages):
        """Return the rows of ``build_steps``, in the Dockerfile's order; ``stages`` are those of ``stage_rows``."""
        began = self.began()
        rows = [self._row(vertex, began) for vertex in self._own(stages) if STEP.match(vertex.name)]
        order = {row["stage"]: number for number, row in enumerate(stages)}
        for row in rows:
            row["stage"] = row["stage"] or next(iter(order), "stage-0")  # the only stage is not named in its steps
        _name_as_here(rows, stages)
        for row in rows:
            if row["instruction"].startswith("FROM "):
                _give_to_first_stage(row, rows, stages)
        for row in rows:  # engines differ in whether they name the only stage
            name = f"{row['stage']} " if len(stages) > 1 else ""
            row["step"] = f"[{name}{row['number']}/{row['of']}] {row['instruction']}"
        names = {vertex.digest: vertex.name for vertex in self.vertexes.values()}
        names |= {row.pop("digest"): row["step"] for row in rows}
        for row in rows:
            row["inputs"] = [names[digest] for digest in row["inputs"] if digest in names]
        return sorted(rows, key=lambda row: (order.get(row["stage"], len(order)), row["number"]))

    def _own(self, stages):
        """
        Return the vertexes of this build: engines also tell what a build beside it does, where they share layers.

        Ours is the step with most instructions of this Dockerfile among what it needed, and fewest others.
        """
        steps = [one for one in self.vertexes.values() if STEP.match(one.name)]
        written = [text for stage in stages for text in stage["steps"]]
        here = {one.digest: any(_is_written(one, text) for text in written) for one in steps}
        if self.image_id is None or not any(here.values()):
            return list(self.vertexes.values())
        needs = {one.digest: self._needed(one) for one in steps}

        def fit(step):
            found = [here[digest] for digest in needs[step.digest] if digest in here]
            return sum(found), -len(found)

        ours = needs[max(steps, key=fit).digest]
        return [one for one in self.vertexes.values() if one.digest in ours or one.digest not in here]

    def _needed(self, vertex):
        """Return the digests of a step and of all that it needed."""
        found, waiting = set(), [vertex.digest]
        while waiting:
            digest = waiting.pop()
            if digest not in found and digest in self.vertexes:
                found.add(digest)
                waiting += self.vertexes[digest].inputs
        return found

    def _row(self, vertex, began):
        found = STEP.match(vertex.name)
        is_base = found["instruction"].startswith("FROM ")
        return {
            "digest": vertex.digest,
            "step": vertex.name,
            "stage": found["stage"],
            "number": int(found["number"]),
            "of": int(found["of"]),
            "instruction": found["instruction"],
            "cached": vertex.cached or (is_base and vertex.digest not in self.downloads),
            "start_seconds": max(_seconds(vertex.started) - began, 0) if vertex.started else None,
            "end_seconds": max(_seconds(vertex.completed) - began, 0) if vertex.completed else None,
            "inputs": list(vertex.inputs),
            "output": self.output(vertex.digest),
            "error": vertex.error,
        }


def step_name(vertex, stages):
    """Return how a step is named, on one line: engines differ in whether they name the only stage."""
    found = STEP.match(vertex.name)
    if not found:
        return " ".join(vertex.name.split())
    stage = f"{found['stage']} " if found["stage"] and len(stages) > 1 else ""
    return " ".join(f"[{stage}{found['number']}/{found['of']}] {found['instruction']}".split())


def _finding(warning):
    rule, _, says = warning.short.decode(errors="replace").partition(": ")
    lines = [one.start.line for one in warning.ranges if one.start]
    says = says.rpartition(" (line ")[0] or says
    return {"line": lines[0] if lines else 0, "rule": rule, "says": says, "url": warning.url}


def _seconds(timestamp):
    return timestamp.seconds + timestamp.nanos / 1e9


def _name_as_here(rows, stages):
    """Place steps in this Dockerfile that a build beside this one, which has them too, has named for its own."""
    places = {(one["stage"], n): text for one in stages for n, text in enumerate(one["steps"], start=1)}
    totals = {stage["stage"]: len(stage["steps"]) for stage in stages}
    longer = {row["stage"] for row in rows if max(row["number"], row["of"]) > totals.get(row["stage"], math.inf)}
    strangers, added = [], []
    for row in rows:
        here = places.get((row["stage"], row["number"]))
        if here and _is_step(row, here):
            del places[row["stage"], row["number"]]
        else:
            strangers.append(row)
    for row in strangers:
        fitting = [place for place, text in places.items() if _is_step(row, text)]
        if fitting:
            place = min(fitting, key=lambda one: one[0] != row["stage"])
            del places[place]
            row["stage"], row["number"] = place
        elif row["stage"] in longer:
            added.append(row)
    _count_onbuild(rows, added, totals)


def _count_onbuild(rows, added, totals):
    """Number the steps of stages with those that the ONBUILD of a base has added, which come after FROM."""
    counts = Counter(row["stage"] for row in added)
    for row in rows:
        if not row["instruction"].startswith("FROM ") and not any(row is one for one in added):
            row["number"] += counts[row["stage"]]
        if row["stage"] in totals:
            row["of"] = totals[row["stage"]] + counts[row["stage"]]


def _is_step(row, text):
    """Return whether a step is an instruction as written: its variables have values, heredocs have more words."""
    words, said = " ".join(text.split()), " ".join(row["instruction"].split())
    parts = re.split(r"\$\{[^}]*\}|\$\w+", words)
    is_base = words.startswith("FROM ") and said.startswith("FROM ")
    return is_base or words == said or bool(re.match(".*".join(map(re.escape, parts)) + r"($| \()", said))


def _give_to_first_stage(row, rows, stages):
    """Give a FROM, which BuildKit runs once for all stages that begin so, to the first of these."""
    image, users = _short_name(row["instruction"].removeprefix("FROM ")), _needed_stages(rows, stages)
    for stage in stages:
        if image == _short_name(stage["begins_from"]) and stage["stage"] in users:
            others = [one for one in rows if one["stage"] == stage["stage"] and one is not row]
            total = others[0]["of"] if others else 1  # a build beside this one may have named the FROM that they share
            row |= {"stage": stage["stage"], "of": total, "instruction": f"FROM {stage['begins_from']}"}
            return


def _needed_stages(rows, stages):
    """Return the stages that have a step in these rows, and those that they need; of a FROM alone, its own."""
    parts = {stage["stage"]: [stage["begins_from"], *stage["copies_from"]] for stage in stages}
    found, waiting = set(), [row["stage"] for row in rows if not row["instruction"].startswith("FROM ")]
    while waiting:
        stage = waiting.pop()
        if stage in parts and stage not in found:
            found.add(stage)
            waiting += parts[stage]
    return found or {row["stage"] for row in rows}


def _is_written(vertex, text):
    """Return whether a vertex is an instruction as written; a FROM by the name of its image, if that is no variable."""
    row = STEP.match(vertex.name)
    if not text.startswith("FROM ") or "$" in text:
        return _is_step(row, text)
    image = row["instruction"].removeprefix("FROM ")
    return image != row["instruction"] and _short_name(image) == _short_name(text.removeprefix("FROM "))


def _short_name(image):
    """Return an image's name as one writes it: BuildKit names its registry, its tag and its digest, too."""
    name = image.partition("@")[0].removeprefix("docker.io/").removeprefix("library/")
    return name.removesuffix(":latest")
