"""What a build leaves in BuildKit's cache: each record is remembered, and goes; those of a learner's builds stay."""

import http.server
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest

from helpers import build
from helpers.engine import build_cache
from helpers.images import buildkit
from helpers.images.trace import Trace

ALL_KINDS = """FROM debian:trixie-slim AS one
ARG DIR=/opt/{word}
ENV OTHER=x{word}
RUN --mount=type=cache,id={word},target=/c echo {word} > /c/x; echo {word} > /a
RUN echo $DIR ${{OTHER}} ${{NOT:-here}} "$(echo $HOME)" {word}
RUN ["/bin/echo", "{word}", "b c"]
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN true {word} | \\
  # a comment
  cat   &&    echo "two  blanks"
WORKDIR $DIR
COPY {word} $DIR/
ADD {word} http://127.0.0.1:{port}/{word} /added/
COPY --chown=1:1 {word} /{word}-chowned
RUN --mount=type=bind,target=/context,source=. cp /context/{word} /w2
FROM scratch
COPY --from=one /{word}-chowned /{word}
"""


@pytest.fixture
def word(tmp_path, monkeypatch):
    """Return a word that no other build has, in a state folder that knows of no build."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return f"word{secrets.token_hex(6)}"


@pytest.fixture
def port():
    """Serve a small page on 127.0.0.1, for an engine that shares this computer's network; return the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.path.encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def folder_of(path, text, word):
    """Return a folder with a Dockerfile and one file of its own."""
    path.mkdir()
    (path / "Dockerfile").write_text(text)
    (path / word).write_text(word)
    return path


def named(client, word):
    """Return the ids of records whose description has a word."""
    return {record["ID"] for record in build_cache.cache_records(client) if word in record["Description"]}


def test_each_kind_of_step(client, base, own_tag, tmp_path, word, port):
    """Commands with variables, in either form, in other shells; files, also from the network; cache mounts."""
    before = {record["ID"] for record in build_cache.cache_records(client)}
    build(client, folder_of(tmp_path / "ours", ALL_KINDS.format(word=word, port=port), word), tag=own_tag)
    ours = build_cache._kept()
    assert len(named(client, word)) >= 7 and named(client, word) <= ours
    assert not ours & before
    assert len(ours) >= 15  # not all of them are described by a word of their own
    client.images.remove(own_tag)
    assert build_cache.remove(client)[0] == len(ours)
    assert not ours & {record["ID"] for record in build_cache.cache_records(client)}
    assert build_cache._kept() == set()


def test_a_learners_records_stay(client, base, own_tag, tmp_path, word):
    """Also those that rest on one of ours, which then stays, too; and those of a step that both builds have."""
    text = f"FROM debian:trixie-slim\nRUN echo {word} shared\n"
    build(client, folder_of(tmp_path / "ours", f"{text}RUN echo {word} ours\n", word), tag=own_tag)
    assert len(named(client, word)) == 2 and named(client, word) < build_cache._kept()
    theirs = folder_of(tmp_path / "theirs", f"{text}RUN echo {word} theirs\n", word)
    buildkit.solve(client, Trace(), theirs, theirs / "Dockerfile", t=f"{own_tag}:theirs")
    client.images.remove(own_tag)
    build_cache.remove(client)
    left = {record["Description"].partition(word)[2] for record in build_cache.cache_records(client)}
    assert {" shared", " theirs"} <= left and " ours" not in left
    build_cache._keep(named(client, word))
    client.images.remove(f"{own_tag}:theirs")
    build_cache.remove(client)
    assert not named(client, word)


def test_a_build_that_fails(client, base, tmp_path, word):
    """What its first steps left is ours, too."""
    text = f"FROM debian:trixie-slim\nRUN echo {word} first\nRUN echo {word} second; false\n"
    with pytest.raises(Exception, match="exit code: 1"):
        build(client, folder_of(tmp_path / "ours", text, word), tag="course/test-none")
    assert len(named(client, word)) == 1 and named(client, word) < build_cache._kept()
    build_cache.remove(client)
    assert not named(client, word)


@pytest.mark.parametrize(
    ("version", "asked", "answer"),
    [
        ("1.41", {}, {"BuildCache": [{"ID": "a"}]}),
        ("1.51", {"type": "build-cache"}, {"BuildCache": [{"ID": "a"}]}),
        (
            "1.53",
            {"type": "build-cache", "verbose": "1"},
            {"BuildCacheUsage": {"Items": [{"ID": "a"}], "TotalCount": 1}},
        ),
    ],
)
def test_each_version_is_asked_as_it_answers(version, asked, answer):
    """From API 1.52 on, records are listed on demand, and from 1.53 on only in the newer form."""
    said = []
    api = mock.Mock(_version=version, _get=lambda _, params: said.append(params) or answer)
    api._result.side_effect = lambda answer, _: answer
    assert build_cache.cache_records(mock.Mock(api=api)) == [{"ID": "a"}]
    assert said == [asked]
    answer.clear()
    assert build_cache.cache_records(mock.Mock(api=api)) == []


def test_two_that_ask_at_once(client):
    """An engine before Docker 23 counts for one at a time, and refuses the others: they ask again."""
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(build_cache.cache_records, client) for _ in range(4)]
    assert all(isinstance(answer.result(), list) for answer in answers)


@pytest.mark.parametrize(
    ("name", "description"),
    [
        ("[2/4] RUN echo 1", "mount / from exec /bin/sh -c echo 1"),
        ("[2/4] ONBUILD RUN echo 1", "mount / from exec /bin/sh -c echo 1"),
        ("[3/4] ONBUILD COPY . /x", "[3/4] ONBUILD COPY . /x"),
    ],
)
def test_how_a_record_names_a_step(name, description):
    """Since BuildKit 0.17, steps of a base's ONBUILD are named so, and their commands are not; the time counts, too."""
    record = {"CreatedAt": "1970-01-01T00:00:02Z", "Description": description}
    assert build_cache._fits(record, name, 1, 3) and not build_cache._fits(record, name, 3, 4)
