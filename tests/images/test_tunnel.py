"""
The two ways of a session: a stream of the API's own socket, from API 1.53 on, and the older upgrade of a connection.

No engine with API 1.53 is asked here: ``engine_side`` plays its part.
"""

import contextlib
import secrets
from urllib.parse import unquote

import docker
import pytest
from engine_side import engine

from helpers.images.buildkit import GET_SECRET, _secret
from helpers.images.context import DIFF_COPY, diff_copy
from helpers.images.messages import (
    DATA,
    END,
    ERROR,
    REQUEST,
    GetSecretRequest,
    GetSecretResponse,
    HealthCheckResponse,
    Packet,
)
from helpers.images.session import HEALTH, session, unary
from helpers.images.tunnel import METHOD, Tunnel

ENOUGH_SECONDS = 60
WAYS = {  # what the engine knows, its API, and how the session then comes about
    "newer": ({"knows_tunnel": True}, "1.53", ["tunnel"]),
    "older API": ({"knows_tunnel": False}, "1.51", ["upgrade"]),
    "no such method": ({"knows_tunnel": False}, "1.53", ["unknown", "upgrade"]),
    "HTTP/1.1 only": ({"knows_tunnel": False, "speaks_http2": False}, "1.53", ["refused", "upgrade"]),
}


@pytest.fixture(params=WAYS)
def asked(request, tmp_path):
    """Return a function that opens a session and has the engine's side call it; what it has seen comes back."""
    knows, version, ways = WAYS[request.param]

    def opened(services, calls):
        path = tmp_path / "docker.sock"
        with engine(path, calls=calls, **knows) as seen:
            client = docker.DockerClient(base_url=f"unix://{path}", version=version, timeout=ENOUGH_SECONDS)
            with contextlib.closing(client), session(client, services, shared_key="a folder") as found:
                assert seen["over"].wait(ENOUGH_SECONDS), "the calls do not end"
                if seen["error"]:
                    raise seen["error"]
        assert seen["ways"] == ways
        return seen | {"session": found}

    return opened


def test_who_it_is(asked):
    """The engine is told the id, a name, the key of the folder, and each method; it asks whether anybody is there."""
    answers = []

    def calls(inner):
        answers.append(inner.call(HEALTH, b""))

    seen = asked({GET_SECRET: unary(lambda _: b"")}, calls)
    assert answers == [(bytes(HealthCheckResponse(1)), 0, "")]
    headers = seen["headers"][-1]
    values = [value for name, value in headers if name == "x-docker-expose-session-grpc-method"]
    assert {value.lower() for value in values} == {HEALTH.lower(), GET_SECRET.lower()}
    named = dict(headers)
    assert named["x-docker-expose-session-uuid"] == seen["session"].id
    assert (
        named["x-docker-expose-session-name"] == "docker-course"
        and len(named["x-docker-expose-session-sharedkey"]) == 64
    )
    if seen["ways"] == ["tunnel"]:
        assert named[":path"] == METHOD and named[":method"] == "POST" and named["content-type"] == "application/grpc"


def test_secrets(asked):
    """A small one, a large one, one that is not there, one again: in turn and two at once."""
    given = {"small": b"s3cret", "large": secrets.token_bytes(300_000)}
    answers = []

    def calls(inner):
        for name in ("small", "large", "none", "small"):
            answers.append(inner.call(GET_SECRET, bytes(GetSecretRequest(name))))
        both = [inner.begin(GET_SECRET) for _ in range(2)]
        for stream in both:
            inner.send(stream, bytes(GetSecretRequest("large")))
        answers.extend((inner.next(stream), *inner.ended(stream)) for stream in reversed(both))

    seen = asked({GET_SECRET: unary(lambda message: _secret(message, given))}, calls)
    small, large = ((bytes(GetSecretResponse(given[name])), 0, "") for name in ("small", "large"))
    assert answers == [small, large, (None, 5, "secret none: not found"), small, large, large]
    assert seen["session"].error is None  # a secret that is not there is the build's matter


def test_files(asked, tmp_path):
    """What is in a folder, and those files that are asked for, one of them twice as large as any window."""
    folder, large = tmp_path / "context", secrets.token_bytes(200_000)
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_bytes(b"small")
    (folder / "sub" / "large").write_bytes(large)
    got = {}

    def calls(inner):
        stream, names = inner.begin(DIFF_COPY, ("dir-name", "context")), []
        while (found := Packet.loads(inner.next(stream))).stat:
            names.append(found.stat.path)
        for path in ("sub/large", "a"):
            inner.send(stream, bytes(Packet(type=REQUEST, id=names.index(path))))
            parts = []
            while data := Packet.loads(inner.next(stream)).data:
                parts.append(data)
            got[path] = b"".join(parts)
        inner.send(stream, bytes(Packet(type=END)))
        got["end"] = Packet.loads(inner.next(stream)).type, inner.ended(stream)
        got["names"] = names

    asked({DIFF_COPY: diff_copy({"context": folder}, {})}, calls)
    assert got == {"names": ["a", "sub", "sub/large"], "a": b"small", "sub/large": large, "end": (END, (0, ""))}
    assert DATA != END


def test_what_goes_wrong(asked):
    """A method that is not there; a service that fails, with its reason in full: the build raises its error, too."""

    def fails(_):
        raise OSError("die Datei „ä“ fehlt: 100 %\nso")

    answers = []

    def calls(inner):
        answers.append(inner.call("/moby.nothing.v1.Nothing/Nothing", b""))
        answers.append(inner.call(GET_SECRET, b""))
        answers.append(inner.call(HEALTH, b""))

    seen = asked({GET_SECRET: unary(fails)}, calls)
    assert answers[0] == (None, 12, "no such service")
    assert answers[1][:2] == (None, 2) and unquote(answers[1][2]) == "die Datei „ä“ fehlt: 100 %\nso"
    assert answers[2][1] == 0  # the session goes on
    assert isinstance(seen["session"].error, OSError)


def test_what_goes_wrong_on_the_engine(asked, tmp_path):
    """Its own failure, such as a full disk, ends the transfer, and is not taken for ours: the build's words count."""
    answers = []

    def calls(inner):
        stream = inner.begin(DIFF_COPY, ("dir-name", "context"))
        inner.send(stream, bytes(Packet(type=ERROR, data=b"no space left on device")))
        answers.append(inner.ended(stream))
        answers.append(inner.call(HEALTH, b""))

    seen = asked({DIFF_COPY: diff_copy({"context": tmp_path}, {})}, calls)
    assert answers[0] == (2, "no space left on device") and answers[1][1] == 0
    assert seen["session"].error is None


def test_an_engine_that_hangs_up_at_once():
    """It is no session, and no endless wait."""
    with pytest.raises(ConnectionError, match="does not take"):
        Tunnel(lambda count: b"", lambda data: None, [])
