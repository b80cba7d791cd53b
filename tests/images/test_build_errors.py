"""Builds that stop: what was tried, where it stands in the Dockerfile, the engine's words, and what to do next."""

import io
import re
import secrets
from pathlib import Path
from types import SimpleNamespace

import docker
import pytest
from samples import folder_of

from helpers import build, build_steps, run
from helpers.images import build_errors, buildkit
from helpers.images.messages import Vertex, VertexLog
from helpers.images.trace import Trace

NOT_ASKED = None  # the client of what is told without the engine
BASE = "FROM debian:trixie-slim"
BAD = {  # what is wrong: the Dockerfile, the line that is marked (0: none), the engine's words, the next step
    "syntax": (f"{BASE}\nINSTALL python\n", 2, "unknown instruction: INSTALL", "begin each line with an instruction"),
    "no backslash": (f"{BASE}\nRUN true &&\n  true\n", 3, "unknown instruction: (?i:true)", "with a backslash"),
    "empty": ("", 0, "cannot be empty", "begin the Dockerfile with FROM"),
    "only a comment": ("# nothing\n", 0, "no instructions", "begin the Dockerfile with FROM"),
    "no FROM": ("RUN true\n", 0, "no build stage", "begin the Dockerfile with FROM"),
    "unknown flag": (f"{BASE}\nCOPY --frm=x a /\n", 2, "nknown flag: (--)?frm", "fix that flag"),
    "flag without a value": (f"{BASE}\nCOPY --from build /a /a\n", 2, "issing a value on flag", "fix that flag"),
    "no destination": (f"{BASE}\nCOPY a\n", 2, "requires at least two arguments", "fix that line"),
    "missing file": (f"{BASE}\nCOPY missing /\n", 2, '"/missing"', r"COPY takes files from.*\.dockerignore"),
    "above the folder": (f"{BASE}\nCOPY ../secret /\n", 2, '"/secret"', "COPY cannot leave the build's folder"),
    "failing RUN": (f"{BASE}\nRUN echo why >&2; exit 3\n", 2, "(?s)why.*exit code: 3", "failed with that exit code"),
    "the second of two": (f"{BASE}\nRUN true\nUSER no-one\nRUN true\n", 4, "unable to find user no-one", "RUN useradd"),
    "no such program": (f"{BASE}\nRUN python install\n", 2, "python: not found", "does not have that program"),
    "no such package": (
        f"{BASE}\nRUN apt-get install no-such\n",
        2,
        "Unable to locate",
        "package's name right.*apt-get update",
    ),
    "not executable": (f"{BASE}\nCOPY --chmod=644 Dockerfile /d\nRUN /d\n", 3, "Permission denied", "--chmod=755"),
    "not allowed": (f"{BASE}\nUSER nobody\nRUN touch /x\n", 3, "Permission denied", "move it above USER"),
    "bash only": (f"{BASE}\nRUN [[ 1 == 1 ]] && true\n", 2, r"\[\[: not found", r'SHELL \["/bin/bash", "-c"\]'),
    "no shell": ("FROM scratch\nRUN ls\n", 2, '"/bin/sh"', "has no shell for RUN"),
    "file in the way": (f"{BASE}\nRUN echo > /w\nWORKDIR /w\n", 3, "not a directory", "of that name is there already"),
    "misspelt stage": (f"{BASE} AS build\n{BASE}\nCOPY --from=bild /a /\n", 3, "bild", "stages here: build, stage-1"),
    "stage number": (f"{BASE}\nCOPY --from=7 /a /\n", 2, "stage index 7", "a name that stands after AS"),
    "circle": (f"{BASE} AS one\nCOPY --from=one /a /\n", 1, "circular dependency.* one", "from stages above it"),
    "unknown base": ("FROM course/no-such-image\n", 1, "course/no-such-image", "build that image first"),
    "unknown registry": (
        "FROM 127.0.0.1:9/no-such\n",
        1,
        "connection refused",
        "the registry that this name begins with",
    ),
    "capitals": ("FROM Ubuntu AS build\n", 1, "must be lowercase", "in lower case"),
    "blank base": ("ARG BASE\nFROM ${BASE}\n", 1, "should not be blank", "a value: ARG NAME=debian"),
    "secret not given": (
        f"{BASE}\nRUN --mount=type=secret,id=key,required=true cat /run/secrets/key\n",
        2,
        "secret key.*not found",
        "build.*secrets=.*by the name after id=",
    ),
    "secret not given, nor required": (
        f"{BASE}\nRUN --mount=type=secret,id=key cat /run/secrets/key\n",
        2,
        "/run/secrets/key.*No such file",
        "pass the secret: build.*secrets=",
    ),
    "kind of mount": (f"{BASE}\nRUN --mount=type=bnd,target=/x true\n", 2, "unsupported mount type", "fix that line"),
    "port": (f"{BASE}\nEXPOSE eighty\n", 2, "nvalid containerPort: eighty", "fix that line"),
    "signal": (f"{BASE}\nSTOPSIGNAL SIGNOTHING\n", 2, "nvalid signal", "fix that line"),
    "ENV": (f"{BASE}\nENV A\n", 2, "ENV must have two arguments", "fix that line"),
    "quotation mark": (f'{BASE}\nENV A="x\n', 0, "matching double-quote", "no second one"),
    "UTF-16": (f"{BASE}\nRUN true\n".encode("utf-16"), 1, "unknown instruction", "save the Dockerfile as UTF-8"),
    "program": (b"\x7fELF\0\0\1", 1, "unknown instruction", "save the Dockerfile as UTF-8"),
    "address": (f"{BASE}\nADD http://127.0.0.1:9/x /x\n", 2, "connection refused", "is the address after ADD right"),
}
NEWER = {  # what Docker 23 brought, or 20.10 has already: built rightly, or refused with a word about it
    "heredoc into a program": ("RUN cat <<EOF > /f\none\ntwo\nEOF\n", b"one\ntwo\n"),
    "heredoc as a script": ("RUN <<EOF\necho one > /f\necho two >> /f\nEOF\n", b"one\ntwo\n"),
    "COPY of a heredoc": ("COPY <<EOF /f\none\nEOF\n", b"one\n"),
    "a cache mount": ("RUN --mount=type=cache,target=/c echo one > /f\n", b"one\n"),
    "COPY --chmod": ("COPY --chmod=755 given /f\n", b"given\n"),
    "COPY --link": ("COPY --link given /f\n", b"given\n"),
}


def notes(error):
    """Return the three sentences that ``explain`` added."""
    return "\n".join(error.__notes__)


def stopped(client, path, text, tag="course/test-stopped", **arguments):
    """Return the sentences of a build that stops, and that no image came of it."""
    with pytest.raises(docker.errors.BuildError) as caught:
        build(client, folder_of(path, Dockerfile=text), tag=tag, **arguments)
    assert not client.images.list(tag)
    return notes(caught.value)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_dockerfile(client, base, tmp_path, name):
    """A sentence with a fitting next step, the line of the Dockerfile, no Go addresses, and no image."""
    text, line, words, advice = BAD[name]
    tried, _, rest = stopped(client, tmp_path, text).partition("\n  answer: ")
    said, _, remedy = rest.partition("\n  next:   ")
    assert tried.startswith(f"docker build -t course/test-stopped {tmp_path} stopped ")
    assert matches(words, said) and matches(advice, remedy), rest
    marked = [one for one in said.splitlines() if one.strip().startswith(">")]
    assert [int(one.split()[1]) for one in marked] == ([line] if line else []), said
    assert f"Dockerfile:{line}" in said or not line
    assert "rpc error" not in said and "failed to solve" not in said and "::" not in said


def matches(pattern, text):
    """Return whether a pattern is somewhere in a text."""
    return bool(re.search(pattern, text))


@pytest.mark.parametrize("name", NEWER)
def test_newer_syntax(client, base, own_tag, tmp_path, name):
    """Built rightly, or refused with what it needs; never an image whose file is empty."""
    body, expected = NEWER[name]
    folder_of(tmp_path, Dockerfile=f"{BASE}\n{body}", given="given\n")
    try:
        image = build(client, tmp_path, tag=own_tag)
    except docker.errors.BuildError as error:
        assert "BuildKit" in notes(error).rpartition("next:")[2] and "Docker 23" in notes(error)
        assert not docker.utils.version_gte(client.version()["ApiVersion"], "1.42")
    else:
        assert run(client, image, ["cat", "/f"], remove=True) == expected


def test_a_syntax_line(client, base, own_tag, tmp_path):
    """Where a registry can be reached, it is no error; else the line that asks for it is named."""
    folder_of(tmp_path, Dockerfile=f"# syntax=docker/dockerfile:1\n{BASE}\nRUN echo one > /f\n")
    try:
        build(client, tmp_path, tag=own_tag)
    except docker.errors.BuildError as error:
        assert "take the line # syntax= out" in notes(error)


@pytest.mark.parametrize(
    ("arguments", "said", "advice"),
    [
        ({"tag": "course/Upper"}, "must be lowercase", "in lower case"),
        ({"target": "nothing"}, "nothing", "a name that stands after AS"),
        ({"network_mode": "bridge"}, 'network mode "bridge"', "default, host or none"),
    ],
    ids=str,
)
def test_a_bad_argument(client, base, tmp_path, arguments, said, advice):
    """The engine's words about a name, a stage, a network; and what to do."""
    text = stopped(client, tmp_path, f"{BASE}\nRUN true\n", **{"tag": "course/test-stopped", **arguments})
    assert said in text and advice in text.partition("next:")[2]


def test_the_end_of_an_output(client, base, own_tag, tmp_path):
    """The last lines as they were, without colours; the whole output on the exception; a notebook shows sentences."""
    step = r"RUN printf '\033[31mfirst\033[0m\r\n'; for n in 1 2 3 4 5 6 7 8; do echo line $n; done; exit 3"
    with pytest.raises(docker.errors.BuildError) as caught:
        build(client, folder_of(tmp_path, Dockerfile=f"{BASE}\n{step}\n"), tag=own_tag)
    said = notes(caught.value)
    assert "stopped at [2/2] RUN printf" in said and "exit code: 3" in said and "\x1b" not in said
    shown = [line.strip() for line in said.partition("answer: ")[2].splitlines()[:8]]
    assert shown == [f"line {n}" for n in range(1, 9)]
    assert "first" in "".join(caught.value.build_log)
    assert caught.value._render_traceback_() == [f"BuildError: {said}"]


def test_the_headline(client, base, own_tag, tmp_path):
    """The line that says what it is stands first, however long what follows is; pip's refusal has advice of its own."""
    words = ["error: externally-managed-environment", *(f"words that explain it, line {n}" for n in range(15)), "hint"]
    folder_of(tmp_path, Dockerfile=f"{BASE}\nCOPY said /\nRUN cat /said >&2; exit 1\n", said="\n".join(words))
    with pytest.raises(docker.errors.BuildError) as caught:
        build(client, tmp_path, tag=own_tag)
    answer, _, remedy = notes(caught.value).partition("answer: ")[2].partition("next:")
    lines = [line.strip() for line in answer.splitlines()]
    assert lines[0] == words[0] and lines[1:9] == words[-8:] and "python3 -m venv venv" in remedy


def test_no_network(client, base, tmp_path):
    """A RUN that needs the network, in a build without one."""
    step = "RUN apt-get -o Acquire::Retries=0 update --error-on=any"
    said = stopped(client, tmp_path, f"{BASE}\n{step}\n", network_mode="none")
    assert f"stopped at [2/2] {step}" in said
    assert "Failed to fetch" in said and "is this computer online?" in said


@pytest.mark.parametrize("answer", [{"errorDetail": {"message": "no room"}}, {"error": "no room"}], ids=str)
def test_how_a_stream_tells_an_error(answer):
    """From API 1.48 on an answer may have errorDetail alone; before, error stands beside it."""
    with pytest.raises(docker.errors.BuildError, match="no room"):
        Trace().take(answer)


def test_an_engine_without_buildkit(client):
    """Podman, and an engine that is too old, are named; others are not."""
    podman = {"Components": [{"Name": "Podman Engine"}], "ApiVersion": "1.41"}
    old = {"Components": [{"Name": "Engine"}], "ApiVersion": "1.38"}
    for version, name in ((podman, "Podman"), (old, "an engine with API 1.38")):
        found = build_errors.no_buildkit(SimpleNamespace(version=lambda it=version: it), "404 page not found", "x")
        assert f"{name} has no BuildKit (404 page not found)" in notes(found) and "COURSE_ENGINE=vm" in notes(found)
    assert build_errors.no_buildkit(client, "anything", "x") is None


@pytest.mark.parametrize("stopped", ["context canceled", "dial tcp: lookup x: operation was canceled"])
def test_a_step_that_another_step_stopped(tmp_path, stopped):
    """What BuildKit cancels because something else failed is not told as the reason."""
    trace = Trace()
    trace.vertexes = {
        "a": Vertex("a", [], "[one 2/2] RUN sleep 9", error=stopped),
        "b": Vertex("b", [], "[two 2/2] RUN false", error="exit code: 1"),
    }
    trace.logs = {one.vertex: [one.msg] for one in (VertexLog("a", b"I sleep\n"), VertexLog("b", b"I fail\n"))}
    file = folder_of(tmp_path, Dockerfile="FROM a AS one\nRUN sleep 9\nFROM a AS two\nRUN false\n") / "Dockerfile"
    client = SimpleNamespace(info=lambda: {"DockerRootDir": "/nowhere"}, api=SimpleNamespace(base_url="https://x"))
    error = docker.errors.BuildError('process "/bin/sh -c false" did not complete successfully: exit code: 1', [])
    said = notes(build_errors.build_error(error, trace, client, file, "x"))
    assert "stopped at [two 2/2] RUN false" in said and "I fail" in said and "I sleep" not in said
    assert "Dockerfile:4" in said


def test_a_missing_file_of_a_step_that_is_not_named(tmp_path):
    """As engines on a busy computer do: its line is found by the file, and the advice fits."""
    file = folder_of(tmp_path, Dockerfile=f"{BASE}\nCOPY ../secret /\n") / "Dockerfile"
    error = docker.errors.BuildError('failed to compute cache key: "/secret": not found', [])
    said = notes(build_errors.build_error(error, Trace(), NOT_ASKED, file, "docker build x"))
    assert "> " in said and "Dockerfile:2" in said and "COPY cannot leave the build's folder" in said


def test_without_a_folder(client, base):
    """A Dockerfile in memory is explained, too."""
    with pytest.raises(docker.errors.BuildError) as caught:
        build(client, fileobj=io.BytesIO(f"{BASE}\nRUN exit 7\n".encode()), tag="course/test-stopped")
    assert "docker build -t course/test-stopped - stopped at [2/2] RUN exit 7" in notes(caught.value)
    assert "Dockerfile:2" in notes(caught.value)
    with pytest.raises(docker.errors.BuildError) as caught:
        build(client, fileobj=f"{BASE}\nCOPY app.py /\n", tag="course/test-stopped")
    assert "next:   fileobj= is a Dockerfile without a folder" in notes(caught.value)


def test_an_unknown_instruction(client, base, tmp_path):
    """Heredocs are named only where there is one."""
    assert "heredoc" not in stopped(client, tmp_path, f"{BASE}\nRNU true\n")
    assert "heredoc" in stopped(client, tmp_path, f"{BASE}\nRNU cat <<EOF\nEOF\n")


def test_a_text_that_is_empty(client, tmp_path):
    """It is what the engine gets and what the error quotes, not the file on the disk."""
    file = folder_of(tmp_path, Dockerfile="FROM scratch\nCOPY missing /\n") / "Dockerfile"
    trace = Trace()
    with pytest.raises(docker.errors.BuildError, match="cannot be empty") as caught:
        buildkit.solve(client, trace, tmp_path, file, b"")
    said = notes(build_errors.build_error(caught.value, trace, client, file, "x", text=""))
    assert "begin the Dockerfile with FROM" in said
    error = docker.errors.BuildError("dockerfile parse error on line 1: unknown instruction", [])
    assert "FROM scratch" not in notes(build_errors.build_error(error, trace, client, file, "x", text=""))


def test_an_answer_that_ends_early(client, tmp_path, monkeypatch):
    """An engine that has BuildKit, but names neither an image nor an error, is no success; Podman is named as such."""
    monkeypatch.setattr(buildkit, "solve", lambda *arguments, **parameters: None)
    folder_of(tmp_path, Dockerfile="FROM scratch\n")
    with pytest.raises(docker.errors.BuildError) as caught:
        build(client, tmp_path, tag="course/test-early")
    assert "ended before it named an image" in notes(caught.value) and "has the engine ended" in notes(caught.value)
    monkeypatch.setattr(client, "version", lambda: {"Components": [{"Name": "Podman Engine"}], "ApiVersion": "1.41"})
    with pytest.raises(docker.errors.BuildError, match="Podman has no BuildKit: the engine's answer ended"):
        build(client, tmp_path, tag="course/test-early")


@pytest.mark.parametrize(
    ("said", "times"),
    [
        ('image "docker.io/course/x:latest": already exists', 3),
        ('failed to prepare extraction snapshot "extract-1 sha256:2": parent snapshot sha256:3 does not exist', 3),
        ("failed to solve: process did not complete", 1),
    ],
    ids=["the name", "a layer", "no such thing"],
)
def test_builds_that_end_at_the_same_moment(client, base, own_tag, tmp_path, monkeypatch, said, times):
    """An image that another build stores just now is refused: it is built again, twice at most."""
    asked, ask = [], buildkit._ask

    def refused(*arguments):
        asked.append(arguments)
        raise docker.errors.BuildError(said, [])

    folder_of(tmp_path, Dockerfile=f"{BASE}\nENV A=1\n")
    monkeypatch.setattr(buildkit, "_ask", refused)
    with pytest.raises(docker.errors.BuildError):
        build(client, tmp_path, tag=own_tag)
    assert len(asked) == times
    monkeypatch.setattr(buildkit, "_ask", lambda *arguments: (refused if len(asked) == times else ask)(*arguments))
    if times > 1:
        assert build(client, tmp_path, tag=own_tag).tags == [f"{own_tag}:latest"]


def test_steps_of_a_build_that_was_asked_for_again(client, base, own_tag, tmp_path, monkeypatch):
    """What the first try ran did not come from the cache, though the second try finds it there."""
    asked, ask = [], buildkit._ask

    def refused_once(*arguments):
        asked.append(arguments)
        ask(*arguments)
        if len(asked) == 1:
            raise docker.errors.BuildError('image "docker.io/course/x:latest": already exists', [])

    monkeypatch.setattr(buildkit, "_ask", refused_once)
    folder_of(tmp_path, Dockerfile=f"{BASE}\nRUN sleep 1 && echo {secrets.token_hex(4)} > /new\n")
    step = build_steps(build(client, tmp_path, tag=own_tag))[-1]
    assert len(asked) == 2 and not step["cached"]
    assert step["end_seconds"] - step["start_seconds"] >= 1


def test_a_missing_file_whose_step_the_engine_does_not_name():
    """As one does, now and then, beside other builds: the line is found by the file."""
    error = docker.errors.BuildError('failed to compute cache key: "/missing": not found', [])
    client = SimpleNamespace(info=lambda: {"DockerRootDir": "/nowhere"}, api=SimpleNamespace(base_url="https://x"))
    text = f"{BASE}\nCOPY there /\nCOPY missing /\n"
    said = notes(build_errors.build_error(error, Trace(), client, Path("Dockerfile"), "x", text=text))
    assert "Dockerfile:3" in said and "COPY takes files from the build's folder" in said
