"""
The two ways of a session: a stream of the API's own socket, from API 1.53 on, and the older upgrade of a connection.

No engine with API 1.53 is asked here: ``engine_side`` plays its part.
"""

import contextlib
import secrets
import socket
import ssl
import threading
from types import SimpleNamespace
from urllib.parse import unquote

import docker
import pytest
import transports
import trustme
from docker.transport.unixconn import UnixHTTPConnection
from engine_side import engine

from helpers.images.buildkit import CREDENTIALS, GET_SECRET, _secret, _services
from helpers.images.context import DIFF_COPY, diff_copy
from helpers.images.messages import (
    DATA,
    END,
    ERROR,
    REQUEST,
    CredentialsRequest,
    CredentialsResponse,
    GetSecretRequest,
    GetSecretResponse,
    HealthCheckResponse,
    Packet,
)
from helpers.images.session import HEALTH, session, slow, unary
from helpers.images.tunnel import METHOD, Tunnel

ENOUGH_SECONDS = 20
WAYS = {  # the engine's answer to the newer way, its API, and how the session then comes about
    "newer": ("tunnel", "1.53", ["tunnel"]),
    "older API": ("tunnel", "1.51", ["upgrade"]),
    "no such method": ("unknown", "1.53", ["unknown", "upgrade"]),
    "not allowed": ("403", "1.53", ["403", "upgrade"]),
    "HTTP/1.1 only": ("HTTP/1.1", "1.53", ["refused", "upgrade"]),
    "no answer": ("silence", "1.53", ["silence", "upgrade"]),
    "newer, by TLS": ("tunnel", "1.53", ["tunnel"]),
    "older API, by TLS": ("tunnel", "1.51", ["upgrade"]),
    "HTTP/1.1 only, by TLS": ("HTTP/1.1", "1.53", ["left", "upgrade"]),
    "newer, by a pipe": ("tunnel", "1.53", ["tunnel"]),
    "older API, by a pipe": ("tunnel", "1.51", ["upgrade"]),
    "newer, by ssh": ("tunnel", "1.53", ["tunnel"]),
    "older API, by ssh": ("tunnel", "1.51", ["upgrade"]),
}


def tls_of(folder, protocols):
    """Return the engine's side of TLS, where each shows a certificate, and the client's settings."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    ours, theirs = authority.issue_cert("127.0.0.1"), authority.issue_cert("me@example.org")
    for name, found in (("key.pem", theirs.private_key_pem), ("cert.pem", theirs.cert_chain_pems[0])):
        found.write_to_path(folder / name)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(protocols)
    pair = (str(folder / "cert.pem"), str(folder / "key.pem"))
    return context, docker.tls.TLSConfig(client_cert=pair, ca_cert=str(folder / "ca.pem"), verify=True)


def through(wrapped):
    """Return a function that connects as docker-py does to a Unix socket, and puts something around the socket."""
    connect = UnixHTTPConnection.connect

    def connected(connection):
        connect(connection)
        connection.sock = wrapped(connection.sock)

    return connected


@pytest.fixture(params=WAYS)
def asked(request, tmp_path, monkeypatch):
    """Return a function that opens a session and has the engine's side call it; what it has seen comes back."""
    answer, version, ways = WAYS[request.param]
    _, _, by = request.param.partition(", by ")
    told = tls = None
    if by == "TLS":
        tls, told = tls_of(tmp_path, ["http/1.1"] if answer == "HTTP/1.1" else ["h2", "http/1.1"])
    elif by:
        wrapped = {"a pipe": transports.Pipe, "ssh": transports.Channel}[by]
        monkeypatch.setattr(UnixHTTPConnection, "connect", through(wrapped))
    monkeypatch.setattr("threading.excepthook", lambda found: failed.append(found.exc_value))
    seconds, failed = 1 if answer == "silence" else ENOUGH_SECONDS, []

    def opened(services, calls):
        listening = socket.socket(socket.AF_INET if tls else socket.AF_UNIX)
        listening.bind(("127.0.0.1", 0) if tls else str(tmp_path / "docker.sock"))
        base_url = f"https://127.0.0.1:{listening.getsockname()[1]}" if tls else f"unix://{listening.getsockname()}"
        with engine(listening, answer, calls, tls) as seen:
            client = docker.DockerClient(base_url=base_url, version=version, timeout=seconds, tls=told)
            with contextlib.closing(client), session(client, services, shared_key="a folder") as found:
                assert seen["over"].wait(ENOUGH_SECONDS), "the calls do not end"
                if seen["error"]:
                    raise seen["error"]
        assert seen["ways"] == ways and failed == []
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


def test_a_login_that_takes_its_time(asked, tmp_path, monkeypatch):
    """A program that asks the user does not hold up the other calls, nor the health check that ends a session."""
    monkeypatch.setattr("helpers.images.session.PATIENCE_SECONDS", 0.1)
    typed, answers = threading.Event(), []

    def resolve(_):
        return {"Username": "me", "Password": "late" if typed.wait(5) else "too late"}

    def calls(inner):
        stream = inner.begin(CREDENTIALS)
        inner.send(stream, bytes(CredentialsRequest("registry")), last=True)
        answers.append(inner.call(HEALTH, b"")[1:])
        typed.set()
        while not inner.has(stream):
            answers.append(inner.call(HEALTH, b"")[1:])
        answers.append((CredentialsResponse.loads(inner.next(stream)), *inner.ended(stream)))

    configs = SimpleNamespace(resolve_authconfig=resolve)
    client = SimpleNamespace(api=SimpleNamespace(_auth_configs=configs))
    asked(_services(client, tmp_path, tmp_path / "Dockerfile", None, {}), calls)
    assert answers[-1] == (CredentialsResponse("me", "late"), 0, "") and set(answers[:-1]) == {(0, "")}


@pytest.mark.parametrize("error", [OSError("no"), KeyError("no")], ids=repr)
def test_a_slow_answer_that_fails(asked, error):
    """Its reason reaches the engine, and the build."""

    def fails(_):
        raise error

    answers = []
    seen = asked({GET_SECRET: slow(fails)}, lambda inner: answers.append(inner.call(GET_SECRET, b"")))
    assert answers[0][:2] == (None, 2) and seen["session"].error is error


def test_an_engine_that_hangs_up_at_once():
    """It is no session, and no endless wait."""
    with pytest.raises(ConnectionError, match="does not take"):
        Tunnel(lambda count: b"", lambda data: None, [])
