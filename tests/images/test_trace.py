"""What BuildKit says of a build, made into rows: names, times, what is needed, what came from the cache."""

import base64
import io
import secrets
import threading

import pytest
from samples import folder_of

from helpers import build_steps
from helpers.engine import build_cache
from helpers.images import build_report
from helpers.images.build import build_quietly
from helpers.images.dockerfile import stage_rows
from helpers.images.messages import StatusResponse, Timestamp, Vertex, VertexLog, VertexStatus
from helpers.images.trace import Trace, step_name

TWO = """FROM debian:trixie-slim AS one
ARG DIR=/opt
RUN mkdir $DIR
FROM debian:trixie-slim AS two
RUN --mount=type=cache,target=/c true
FROM scratch
COPY --from=one /opt /opt
COPY --from=two /c /c
"""
BASE = "docker.io/library/debian:trixie-slim@sha256:1111"
ENOUGH_SECONDS = 300


def told(*vertexes, statuses=(), logs=()):
    """Return a trace that has heard of some steps, one message each."""
    trace = Trace()
    for message in [StatusResponse([one]) for one in vertexes] + [StatusResponse([], [*statuses], [*logs])]:
        trace.take({"id": "moby.buildkit.trace", "aux": base64.b64encode(bytes(message)).decode()})
    return trace


def ran(digest, name, start, end, *inputs, **more):
    """Return a step that ran, by the engine's clock."""
    return Vertex(digest, [*inputs], name, started=Timestamp(start), completed=Timestamp(end), **more)


def two_stages():
    """Return the trace of TWO."""
    return told(
        ran("x", "[internal] load build definition from Dockerfile", 100, 101),
        ran("b", f"[two 1/2] FROM {BASE}", 101, 102),
        ran("f", "[stage-2 2/2] COPY --from=two /c /c", 108, 109, "e", "d"),
        ran("c", "[one 2/2] RUN mkdir /opt", 102, 105, "b"),
        Vertex("d", ["b"], "[two 2/2] RUN --mount=type=cache,target=/c true", True, Timestamp(102), Timestamp(102)),
        ran("e", "[stage-2 1/2] COPY --from=one /opt /opt", 107, 108, "c"),
        ran("z", "exporting to image", 109, 110),
        logs=[VertexLog("c", b"made "), VertexLog("c", "äö".encode())],
    )


def test_rows():
    """In the Dockerfile's order, with seconds since the build began; the base belongs to the first that begins so."""
    rows = two_stages().steps(stage_rows(TWO))
    assert [row["step"] for row in rows] == [
        "[one 1/2] FROM debian:trixie-slim",
        "[one 2/2] RUN mkdir /opt",
        "[two 2/2] RUN --mount=type=cache,target=/c true",
        "[stage-2 1/2] COPY --from=one /opt /opt",
        "[stage-2 2/2] COPY --from=two /c /c",
    ]
    assert [row["cached"] for row in rows] == [True, False, True, False, False]  # nothing of the base was fetched
    assert (rows[1]["start_seconds"], rows[1]["end_seconds"], rows[1]["output"]) == (2, 5, "made äö")
    assert rows[4]["inputs"] == [rows[3]["step"], rows[2]["step"]]


@pytest.mark.parametrize("base", [BASE, "docker.io/mine/base:1"])
@pytest.mark.parametrize("others", ["[{}/{}]", "[build {}/{}]", "[stage-0 {}/{}]"])
def test_steps_of_a_build_beside_this_one(others, base):
    """
    Engines tell them where layers are shared: they are no steps of ours, and their records of the cache are not ours.

    They begin elsewhere, or from a step of ours, or go on where ours end; and a step of ours may have a name of theirs.
    """
    ours = {"a": "[1/3] FROM docker.io/mine/base:1", "b": others.format(2, 4) + " RUN true", "c": "[3/3] COPY a /"}
    theirs = {"x": f"{others.format(1, 3)} FROM {base}", "y": f"{others.format(2, 3)} COPY b /"}
    theirs |= {"z": f"{others.format(3, 4)} RUN other", "w": f"{others.format(4, 4)} RUN more"}
    inputs = {"b": "a", "c": "b", "y": "x", "z": "b", "w": "c"}
    vertexes = [ran(one, name, 1, 2, *inputs.get(one, "")) for one, name in {**theirs, **ours}.items()]
    trace = told(*vertexes)
    trace.image_id = "sha256:1"
    stages = stage_rows("FROM mine/base:1\nRUN true\nCOPY a /\n")
    instructions = ["FROM mine/base:1", "RUN true", "COPY a /"]
    assert [(row["instruction"], row["number"], row["of"]) for row in trace.steps(stages)] == [
        (text, number, 3) for number, text in enumerate(instructions, start=1)
    ]
    assert sorted(name for name, _, _ in trace.made(stages)) == sorted(ours.values())


def test_a_base_whose_name_is_an_argument():
    """Its value stands in the build's arguments: whatever image it is, it is ours."""
    trace = told(ran("c", f"[1/1] FROM {BASE}", 1, 2))
    trace.image_id = "sha256:1"
    [row] = trace.steps(stage_rows("FROM $BASE\n"))
    assert row["instruction"] == f"FROM {BASE}"


def test_a_base_that_was_fetched():
    """A download makes it a step that ran; that BuildKit looked for its name does not."""
    base = ran("b", f"[1/1] FROM {BASE}", 1, 2)
    for name, cached in ((f"resolve {BASE}", True), ("sha256:2222", False)):
        trace = told(base, statuses=[VertexStatus(name, "b")])
        assert [row["cached"] for row in trace.steps(stage_rows("FROM debian:trixie-slim"))] == [cached]


@pytest.mark.parametrize("name", ["[1/2]", "[stage-0 1/2]", "[linux/amd64 1/2]", "[linux/amd64 stage-0 1/2]", "[ 1/2]"])
def test_the_only_stage_is_not_named(name):
    """However the engine names it."""
    vertex = Vertex("a", [], f"{name} RUN  true")
    [row] = told(vertex).steps(stage_rows("FROM scratch\nRUN true\nRUN false\n"))
    assert row["step"] == "[1/2] RUN  true" and row["stage"] == "stage-0"
    assert step_name(vertex, [{}]) == "[1/2] RUN true"


ONBUILD = ["1/{0}] FROM course/onbuild", "2/{0}] {1}RUN echo onb", "4/{0}] RUN true", "3/{0}] {1}COPY . /x"]
ONBUILD += ["5/{0}] RUN echo 1"]  # as BuildKit names steps: which total is there, and which word


@pytest.mark.parametrize(("of", "prefix"), [(3, ""), (5, "ONBUILD ")])
@pytest.mark.parametrize("more", ["", "FROM scratch\nRUN true\n"], ids=["one stage", "two"])
def test_a_base_with_onbuild(of, prefix, more):
    """Its steps come after FROM, and the others are counted with them, by engines that do not count so, too."""
    names = [f"[{'one ' * bool(more)}{name.format(of, prefix)}" for name in ONBUILD]
    names = [*(["[stage-1 1/1] RUN true"] if more else []), *names]
    text = f"FROM course/onbuild AS one\nRUN true\nRUN echo 1\n{more}"
    rows = told(*(Vertex(str(n), [], name) for n, name in enumerate(names))).steps(stage_rows(text))
    assert [(row["number"], row["of"]) for row in rows[:5]] == [(number, 5) for number in range(1, 6)]
    assert [row["instruction"] for row in rows[1:5]] == [
        f"{prefix}RUN echo onb", f"{prefix}COPY . /x", "RUN true", "RUN echo 1"
    ]  # fmt: skip
    assert [(row["stage"], row["number"], row["of"]) for row in rows[5:]] == ([("stage-1", 1, 1)] if more else [])


def test_steps_that_onbuild_adds(client, base, own_tag, tmp_path):
    """As this engine has them; and each record that they leave in the cache is remembered as ours."""
    word = secrets.token_hex(6)
    base_text = f"FROM debian:trixie-slim\nONBUILD RUN echo {word} > /a\nONBUILD COPY . /x\n"
    build_quietly(client, folder_of(tmp_path, Dockerfile=base_text), f"{own_tag}:base")
    image = build_quietly(
        client, folder_of(tmp_path, Dockerfile=f"FROM {own_tag}:base\nRUN echo {word} > /b\n"), own_tag
    )
    steps = [row["step"].replace("ONBUILD ", "") for row in build_steps(image)]
    assert steps == [
        f"[1/4] FROM {own_tag}:base", f"[2/4] RUN echo {word} > /a", "[3/4] COPY . /x", f"[4/4] RUN echo {word} > /b"
    ]  # fmt: skip
    ours = {one["ID"] for one in build_cache.cache_records(client) if word in one["Description"]}
    assert len(ours) == 2 and ours <= build_cache._kept()


def test_mounts_that_the_course_adds_are_not_named():
    """Steps are those of the learner's Dockerfile."""
    mount = "--mount=type=secret,id=docker-course-ca,target=/etc/x.pem,mode=0444 "
    [row] = told(Vertex("a", [], f"[2/2] RUN {mount}pip install x")).steps(stage_rows("FROM a\nRUN pip install x\n"))
    assert row["step"] == "[2/2] RUN pip install x"


def test_a_from_that_another_target_has_named():
    """It belongs to the first stage that this build needs, not to one of a build before it."""
    text = "FROM debian:trixie-slim AS made\nRUN a\nFROM made AS later\nRUN b\nFROM debian:trixie-slim AS once\nRUN c\n"
    trace = told(ran("b", f"[made 1/1] FROM {BASE}", 1, 2), ran("c", "[once 2/2] RUN c", 2, 3, "b"))
    assert [row["step"] for row in trace.steps(stage_rows(text))] == [
        "[once 1/2] FROM debian:trixie-slim",
        "[once 2/2] RUN c",
    ]


def test_what_was_told_in_parts():
    """A start, an end, an error in messages of their own; a failure is told from what it cancelled."""
    trace = told(
        Vertex("a", [], "[2/3] RUN a", started=Timestamp(5)),
        Vertex("b", [], "[3/3] RUN b", started=Timestamp(5), error="context canceled"),
        Vertex("a", [], "[2/3] RUN a", started=Timestamp(6), completed=Timestamp(7, 500_000_000), error="exit code: 1"),
    )
    assert trace.failed().name == "[2/3] RUN a"
    assert trace.made() == [("[2/3] RUN a", 5, 7.5), ("[3/3] RUN b", 5, float("inf"))]


def test_a_build_beside_this_one(client, base, own_tag):
    """A step that both have is named by the one that came first; in the rows of the other it has its own name."""
    word = secrets.token_hex(6)
    first = f"FROM debian:trixie-slim AS first\nENV X=1\nRUN sleep 4; echo {word}\nRUN echo a\n"
    second = (
        f"FROM debian:trixie-slim AS zero\nRUN echo {word} > /0\nFROM debian:trixie-slim AS other\nENV X=1\n"
        f"RUN sleep 4; echo {word}\nFROM other\nCOPY --from=zero /0 /\n"
    )
    began = threading.Event()

    def follow(trace):
        if any("sleep 4" in one.name and one.started for one in trace.vertexes.values()):
            began.set()

    def build_first():
        build_quietly(client, fileobj=io.BytesIO(first.encode()), tag=f"{own_tag}:first", follow=follow)

    beside = threading.Thread(target=build_first)
    beside.start()
    assert began.wait(ENOUGH_SECONDS)
    rows = build_steps(build_quietly(client, fileobj=io.BytesIO(second.encode()), tag=own_tag))
    beside.join(ENOUGH_SECONDS)
    assert min(row["start_seconds"] for row in rows) == 0  # though the step that both have began before
    assert [row["step"] for row in rows] == [
        "[zero 1/2] FROM debian:trixie-slim",
        f"[zero 2/2] RUN echo {word} > /0",
        f"[other 2/2] RUN sleep 4; echo {word}",
        "[stage-2 1/1] COPY --from=zero /0 /",
    ]


def test_what_the_bar_says():
    """All that runs now, and the last line of it; how many steps are done."""
    trace = told(
        ran("a", "[one 2/3] RUN a", 1, 2),
        Vertex("b", [], "[one 3/3] RUN b", started=Timestamp(3)),
        Vertex("c", [], "[two 2/2] RUN c", started=Timestamp(3)),
        logs=[VertexLog("c", b"first\nsecond\n")],
    )
    with build_report.bar_of("building x") as bar:
        build_report.follow(bar, trace)
        assert (bar.n, bar.total) == (1, 3)
        assert bar.postfix == "[one 3/3] RUN b; [two 2/2] RUN c │ second"


def test_the_line_in_a_notebook(monkeypatch):
    """The text is what a terminal has; the steps are folded below it, one a line, and what is HTML in them is not."""
    shown = []
    monkeypatch.setattr("IPython.get_ipython", lambda: type("Shell", (), {"kernel": 1})())
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    rows = told(ran("a", "[1/1] RUN cat <<EOF\n> /f", 1, 2)).steps(stage_rows("FROM scratch\nRUN cat\n"))
    build_report.show("course/<x>", rows, [], 1.23)
    assert shown[0]["text/plain"] == "course/<x>: 1 step in 1 stage, 0 from the cache, 1.2 s"
    assert "<summary>course/&lt;x&gt;: 1 step" in shown[0]["text/html"]
    assert "<pre>  1.0 s  [1/1] RUN cat &lt;&lt;EOF &gt; /f\n</pre>" in shown[0]["text/html"]
