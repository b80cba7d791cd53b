"""
A BuildKit session: while it builds, the engine calls back for files, secrets and logins.

The calls are gRPC over HTTP/2, on a connection that the SDK opens; so they take the way that its other calls take.
"""

import contextlib
import hashlib
import secrets
import struct
import threading
from collections import deque
from concurrent.futures import Future, wait
from types import SimpleNamespace
from urllib.parse import quote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, RequestReceived, StreamReset
from h2.exceptions import H2Error

from helpers.images import messages
from helpers.images.connection import connect

HEALTH = "/grpc.health.v1.Health/Check"
CHUNK_BYTES = 1 << 16
PATIENCE_SECONDS = 5  # the engine asks for health as often, and waits three times as long for an answer
PRINTABLE = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"  # what gRPC has in a message as it is, beside letters and digits
UNKNOWN, NOT_FOUND, UNIMPLEMENTED = 2, 5, 12  # gRPC's own numbers


class Refused(Exception):
    """A call that a service says no to, with gRPC's number for why."""

    def __init__(self, status, message):
        self.status = status
        super().__init__(message)


class Session:
    """What the engine knows this session by, and the first error that one of its services met."""

    def __init__(self):
        self.id, self.error = secrets.token_hex(12), None


@contextlib.contextmanager
def session(client, services, shared_key=""):
    """
    Give a session whose services the engine can call, for the time of a with block.

    ``services`` are functions by the names of gRPC methods. Each is called with the headers of a call, and returns what
    to send at once (an iterable of bytes) and a function that takes a message and returns what to send then; None in
    place of bytes ends the call. ``shared_key`` is the same for builds of one folder, so that only changed files are
    sent. API call: ``POST /session``, upgraded to HTTP/2; from API 1.53 on ``moby.buildkit.v1.Control/Session``.

    Example::

        with session(client, {"/moby.buildkit.secrets.v1.Secrets/GetSecret": unary(secret)}) as opened:
            print(opened.id)
    """
    opened = Session()
    services = {HEALTH: unary(lambda _: bytes(messages.HealthCheckResponse())), **services}
    named = [("X-Docker-Expose-Session-Uuid", opened.id), ("X-Docker-Expose-Session-Name", "docker-course")]
    named += [("X-Docker-Expose-Session-Sharedkey", hashlib.sha256(shared_key.encode()).hexdigest())]
    named += [("X-Docker-Expose-Session-Grpc-Method", method) for method in services]
    read, write, close = connect(client, named)
    thread = threading.Thread(target=_serve, args=(read, write, close, services, opened), daemon=True)
    thread.start()
    try:
        yield opened
    finally:
        close()
        thread.join(5)


def unary(answer):
    """Return a service for calls with one message each way: ``answer`` takes bytes and returns bytes."""
    return lambda headers: ((), lambda message: (answer(message), None))


def slow(answer):
    """Return a service as ``unary`` does, for an answer that may wait for the user: other calls go on meanwhile."""
    return lambda headers: ((), lambda message: _begun(answer, message))


def _begun(answer, message):
    """Return an answer as a Future that may not be there yet; it is sent when the engine next says something."""
    future = Future()

    def work():
        try:
            future.set_result((answer(message), None))
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()  # a pool's threads would hold up the end of Python
    wait([future], PATIENCE_SECONDS)
    return future


def _serve(read, write, close, services, opened):
    """Answer the engine's calls until the connection ends; where nobody answers any more, it is closed."""
    http = H2Connection(H2Configuration(client_side=False, header_encoding=None))
    calls = {}
    with contextlib.closing(SimpleNamespace(close=close)), contextlib.suppress(OSError, ValueError, H2Error):
        http.initiate_connection()
        write(http.data_to_send())
        while data := read(CHUNK_BYTES):
            for event in http.receive_data(data):
                if isinstance(event, ConnectionTerminated):
                    return
                _take(event, http, calls, services, opened)
            for stream, call in list(calls.items()):
                if call.send(http, stream, opened):
                    del calls[stream]
            write(http.data_to_send())


def _take(event, http, calls, services, opened):
    stream = getattr(event, "stream_id", None)
    if isinstance(event, RequestReceived):
        calls[stream] = _Call(event.headers, services, opened)
    elif isinstance(event, DataReceived):
        http.acknowledge_received_data(event.flow_controlled_length, stream)
        if stream in calls:
            calls[stream].receive(event.data, opened)
    elif isinstance(event, StreamReset):
        calls.pop(stream, None)


class _Call:
    """One gRPC call: what has come of a message, and what is still to be sent."""

    def __init__(self, headers, services, opened):
        self.received, self.rest, self.begun = b"", b"", False
        self.waiting, self.status, self.reason = deque(), None, ""
        fields = [(name.decode(), value.decode(errors="surrogateescape")) for name, value in headers]
        service = services.get(dict(fields)[":path"])
        if service is None:
            self.status, self.reason = UNIMPLEMENTED, "no such service"
        else:
            with self._refusing(opened):
                first, self.answer = service(fields)
                self.waiting.append(iter(first))

    @contextlib.contextmanager
    def _refusing(self, opened):
        try:
            yield
        except Exception as error:  # the engine gets a reason, and the build raises it
            self.status, self.reason = getattr(error, "status", UNKNOWN), str(error)
            if not isinstance(error, Refused):
                opened.error = opened.error or error

    def receive(self, data, opened):
        self.received += data
        while len(self.received) >= 5:
            _, length = struct.unpack(">BI", self.received[:5])
            if len(self.received) < 5 + length:
                return
            message, self.received = self.received[5 : 5 + length], self.received[5 + length :]
            if self.status is None:
                with self._refusing(opened):
                    answer = self.answer(message)
                    self.waiting.append(answer if isinstance(answer, Future) else iter(answer))

    def send(self, http, stream, opened):
        """Send as much as the engine takes now; return whether the call is over."""
        while window := min(http.local_flow_control_window(stream), http.max_outbound_frame_size):
            if not self.rest and not self._next(opened):
                break
            self._begin(http, stream)
            http.send_data(stream, self.rest[:window])
            self.rest = self.rest[window:]
        if self.rest or self.status is None:
            return False
        self._begin(http, stream)
        trailers = [("grpc-status", str(self.status))]
        if self.reason:
            trailers.append(("grpc-message", quote(self.reason, safe=PRINTABLE)))
        http.send_headers(stream, trailers, end_stream=True)
        return True

    def _begin(self, http, stream):
        if not self.begun:
            self.begun = True
            http.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])

    def _next(self, opened):
        """Put the next message into ``rest``; return whether there was one."""
        while self.waiting and self.status is None:
            with self._refusing(opened):
                if isinstance(self.waiting[0], Future):
                    if not self.waiting[0].done():
                        return False
                    self.waiting[0] = iter(self.waiting[0].result())
                message = next(self.waiting[0], b"")
                if message is None:
                    self.status = 0
                elif message:
                    self.rest = struct.pack(">BI", 0, len(message)) + message
                    return True
                else:
                    self.waiting.popleft()
        return False
