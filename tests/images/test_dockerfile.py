"""Dockerfiles, read: instructions and their lines, stages and what they need."""

import pytest
from samples import folder_of

from helpers import stages
from helpers.errors import CourseError
from helpers.images.dockerfile import directives, instructions, stage_rows

FULL = """# syntax=docker/dockerfile:1
# escape=`
# a comment
ARG BASE=debian:trixie-slim SECOND=$BASE

FROM $BASE AS Build
RUN echo one `
  # a comment inside it

  two `  \t
  && three
COPY <<EOF <<'X' /a/
RUN not an instruction
 EOF
EOF
FROM no
X
from ${SECOND}
RUN --mount=type=bind,from=build,target=/x cat <<-END
\tx
\tEND
RUN tool --from=nothing
COPY --from=0 /a /
COPY --from=BUILD --chown=1:1 /a /
FROM --platform=$BUILDPLATFORM ${UNKNOWN:-scratch} as last
COPY --from=1 /a /
COPY --from=docker.io/library/hello-world /x /y
CMD true `
"""


def short(text):
    """Return keyword, arguments and lines of each instruction."""
    return [(row["keyword"], row["arguments"], row["first_line"], row["last_line"]) for row in instructions(text)]


def test_a_whole_one():
    """Directives, continuations by another character, comments and empty lines inside, two heredocs at once."""
    assert directives(FULL) == {"syntax": "docker/dockerfile:1", "escape": "`"}
    assert short(FULL) == [
        ("ARG", "BASE=debian:trixie-slim SECOND=$BASE", 4, 4),
        ("FROM", "$BASE AS Build", 6, 6),
        ("RUN", "echo one two && three", 7, 11),
        ("COPY", "<<EOF <<'X' /a/", 12, 17),
        ("FROM", "${SECOND}", 18, 18),
        ("RUN", "--mount=type=bind,from=build,target=/x cat <<-END", 19, 21),
        ("RUN", "tool --from=nothing", 22, 22),
        ("COPY", "--from=0 /a /", 23, 23),
        ("COPY", "--from=BUILD --chown=1:1 /a /", 24, 24),
        ("FROM", "--platform=$BUILDPLATFORM ${UNKNOWN:-scratch} as last", 25, 25),
        ("COPY", "--from=1 /a /", 26, 26),
        ("COPY", "--from=docker.io/library/hello-world /x /y", 27, 27),
        ("CMD", "true", 28, 28),
    ]
    assert [row["stage"] for row in instructions(FULL)] == [-1, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("\n# only a comment\n", []),
        ("\ufeffFROM a", [("FROM", "a", 1, 1)]),
        ("FROM\ta\r\nRUN b \\\r\n c\r\n", [("FROM", "a", 1, 1), ("RUN", "b c", 2, 3)]),
        ("FROM a\nRUN echo \\\n", [("FROM", "a", 1, 1), ("RUN", "echo", 2, 2)]),
        ("FROM a\nRUN <<EOF\nnever ends", [("FROM", "a", 1, 1), ("RUN", "<<EOF", 2, 3)]),
        ("FROM a\nRUN cat <<<x\nCMD b", [("FROM", "a", 1, 1), ("RUN", "cat <<<x", 2, 2), ("CMD", "b", 3, 3)]),
        ("FROM a\nRUN $((1<<n))\nCMD b", [("FROM", "a", 1, 1), ("RUN", "$((1<<n))", 2, 2), ("CMD", "b", 3, 3)]),
        ("FROM a\nRUN '<<E'\nCMD b", [("FROM", "a", 1, 1), ("RUN", "'<<E'", 2, 2), ("CMD", "b", 3, 3)]),
        ("FROM a\nRUN 'y <<E z'\nCMD b", [("FROM", "a", 1, 1), ("RUN", "'y <<E z'", 2, 2), ("CMD", "b", 3, 3)]),
        ("FROM a\nENV E=<<E\nCMD b", [("FROM", "a", 1, 1), ("ENV", "E=<<E", 2, 2), ("CMD", "b", 3, 3)]),
        ("FROM a\nENV b=\u2028\x0c\nCMD c", [("FROM", "a", 1, 1), ("ENV", "b=", 2, 2), ("CMD", "c", 3, 3)]),
    ],
    ids=["empty", "comment", "BOM", "CRLF", "end", "heredoc", "<<<", "<<", "quoted", "in quotes", "ENV", "form feed"],
)
def test_strange_ones(text, found):
    """What is hard to read, or broken: no line is lost, and nothing fails."""
    assert short(text) == found


def test_stages():
    """Names, numbers and defaults of ARG are followed; flags count, and what a command says does not."""
    rows = {row["stage"]: row for row in stage_rows(FULL)}
    assert [row["begins_from"] for row in rows.values()] == ["debian:trixie-slim", "debian:trixie-slim", "scratch"]
    assert rows["stage-1"]["copies_from"] == ["build"]
    assert rows["last"]["copies_from"] == ["stage-1", "docker.io/library/hello-world"]
    assert all(row["needed"] for row in rows.values())


@pytest.mark.parametrize(
    ("target", "needed"),
    [(None, ["one", "three"]), ("two", ["one", "two"]), ("TWO", ["one", "two"]), ("0", ["one"]), (1, ["one", "two"])],
)
def test_what_a_target_needs(tmp_path, target, needed):
    """By name in either case, or by number; without one, what the last stage needs."""
    folder_of(tmp_path, Dockerfile="FROM a AS one\nFROM one AS two\nFROM scratch AS three\nCOPY --from=one / /\n")
    assert [row["stage"] for row in stages(tmp_path, target=target) if row["needed"]] == needed


def test_a_target_that_is_not_there(tmp_path):
    """The stages that are there are named; so is a file that is not."""
    folder_of(tmp_path, Dockerfile="FROM a AS one\nFROM one AS two\n")
    with pytest.raises(CourseError, match="choose: one, two"):
        stages(tmp_path, target="three")
    with pytest.raises(CourseError, match="looked from here"):
        stages(tmp_path, dockerfile="Dockerfile.other")
    folder_of(tmp_path, Dockerfile="# FROM a\n")
    with pytest.raises(CourseError, match="a stage begins with FROM"):
        stages(tmp_path)
