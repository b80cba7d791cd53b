"""The rows of a build's steps, from what BuildKit says of them."""

import pytest

from helpers.images.dockerfile import stage_rows
from helpers.images.messages import Vertex
from helpers.images.trace import Trace

BASE = "FROM docker.io/library/debian:trixie-slim@sha256:aa"


@pytest.mark.parametrize(
    ("text", "vertexes", "steps"),
    [
        ("FROM debian:trixie-slim\n", [(f"[make 1/5] {BASE}",)], ["[1/1] FROM debian:trixie-slim"]),
        (
            "FROM debian:trixie-slim\nWORKDIR /a\nRUN x\n",
            [(f"[make 1/5] {BASE}",), ("[make 2/5] WORKDIR /a", "0"), ("[stage-0 3/3] RUN x", "1")],
            ["[1/3] FROM debian:trixie-slim", "[2/3] WORKDIR /a", "[3/3] RUN x"],
        ),
        (
            "FROM debian:trixie-slim AS a\nWORKDIR /a\nRUN x\nFROM debian:trixie-slim\nCOPY --from=a /a /a\n",
            [
                (f"[other 1/5] {BASE}",),
                ("[2/5] WORKDIR /a", "0"),
                ("[a 3/3] RUN x", "1"),
                ("[stage-1 2/2] COPY --from=a /a /a", "0", "2"),
            ],
            [
                "[a 1/3] FROM debian:trixie-slim",
                "[a 2/3] WORKDIR /a",
                "[a 3/3] RUN x",
                "[stage-1 2/2] COPY --from=a /a /a",
            ],
        ),
    ],
    ids=["the base", "one stage", "two stages"],
)
def test_steps_that_a_build_beside_this_one_has_named(text, vertexes, steps):
    """BuildKit runs what two builds share once, under the name that one of them gave it; the rows have our own."""
    trace = Trace()
    for number, (name, *inputs) in enumerate(vertexes):
        trace.vertexes[str(number)] = Vertex(digest=str(number), name=name, inputs=inputs)
    assert [row["step"] for row in trace.steps(stage_rows(text))] == steps
