"""The engine's side of a session, played by Python: it takes the connection either way, then calls the services."""

import contextlib
import struct
import threading

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, ResponseReceived, StreamEnded, TrailersReceived
from h2.settings import SettingCodes

from helpers.images.messages import BytesMessage

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
REFUSAL = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
UPGRADE = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
SMALL_WINDOW = 5000  # so that whoever sends more has to wait


@contextlib.contextmanager
def engine(listening, answer, calls, tls=None):
    """
    Give what an engine on a socket has seen: ``ways`` and ``headers`` of connections, ``error`` of the calls.

    It knows the upgrade of POST /session. To the stream of API 1.53 its ``answer`` is ``tunnel``: it takes it;
    ``unknown``: as gRPC answers for a method that it does not have; a status other than 200; ``HTTP/1.1``: it speaks
    no other; ``silence``. ``calls`` is called with an ``Inner`` once the session is there. ``tls`` is its side of TLS,
    where it speaks HTTP/2 only if that was agreed on, as Docker's does.
    """
    seen = {"ways": [], "headers": [], "error": None, "over": threading.Event(), "kept": []}

    def serve():
        try:
            while not seen["over"].is_set():
                connection, _ = listening.accept()
                with tls.wrap_socket(connection, server_side=True) if tls else connection as connection:
                    agreed = not tls or connection.selected_alpn_protocol() == "h2"
                    _take(connection, seen, answer if agreed else "HTTP/1.1", calls)
        except Exception as error:  # told by the test, in its own thread
            seen["error"] = error
        finally:
            seen["over"].set()

    listening.listen()
    with listening:
        threading.Thread(target=serve, daemon=True).start()
        yield seen


def _take(connection, seen, answer, calls):
    first = _receive(connection, b"\r\n\r\n")
    if not first:
        seen["ways"].append("left")
        return
    if first.startswith(b"POST ") and b"/session" in first.partition(b"\r\n")[0]:
        seen["ways"].append("upgrade")
        seen["headers"].append([tuple(line.lower().split(": ")) for line in first.decode().split("\r\n")[1:] if line])
        connection.sendall(UPGRADE)
        read, write = (lambda: connection.recv(1 << 16)), connection.sendall
    elif answer == "HTTP/1.1":
        seen["ways"].append("refused")
        connection.sendall(REFUSAL)
        return
    elif answer == "silence":
        seen["ways"].append("silence")
        seen["kept"].append(connection.dup())
        return
    else:
        read, write = _tunnel(connection, first, seen, answer)
        if read is None:
            return
    inner = Inner(read, write)
    calls(inner)
    seen["over"].set()
    while read():  # until the other side ends it
        pass


def _receive(connection, end):
    data = b""
    while end not in data and (more := connection.recv(1)):
        data += more
    return data


def _tunnel(connection, first, seen, answer):
    """Take the stream of API 1.53; return functions that read and write what its messages carry."""
    http = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
    http.initiate_connection()
    http.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: SMALL_WINDOW})
    connection.sendall(http.data_to_send())
    state = {"stream": None, "framed": b"", "bytes": b"", "over": False}

    def receive(data=None):
        data = connection.recv(1000) if data is None else data
        state["over"] = not data
        for event in http.receive_data(data):
            if isinstance(event, RequestReceived):
                state["stream"] = event.stream_id
                seen["headers"].append(list(event.headers))
            elif isinstance(event, DataReceived):
                http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                state["framed"] += event.data
            elif isinstance(event, StreamEnded):
                state["over"] = True
        for message in _messages(state):
            state["bytes"] += BytesMessage.loads(message).data
        connection.sendall(http.data_to_send())

    receive(first)
    while state["stream"] is None:
        receive()
    if answer != "tunnel":
        seen["ways"].append(answer)
        gone = [(":status", "200" if answer == "unknown" else answer), ("content-type", "application/grpc")]
        http.send_headers(state["stream"], [*gone, ("grpc-status", "12")], end_stream=answer == "unknown")
        connection.sendall(http.data_to_send())
        seen["kept"].append(connection.dup())  # it goes on, where the other side lets it
        return None, None
    seen["ways"].append("tunnel")
    http.send_headers(state["stream"], [(":status", "200"), ("content-type", "application/grpc")])

    def read():
        while not state["bytes"] and not state["over"]:
            receive()
        data, state["bytes"] = state["bytes"], b""
        return data

    def write(data):
        message = bytes(BytesMessage(data))
        rest = struct.pack(">BI", 0, len(message)) + message
        while rest:  # in pieces that end anywhere
            count = min(http.local_flow_control_window(state["stream"]), 777)
            http.send_data(state["stream"], rest[:count])
            connection.sendall(http.data_to_send())
            rest = rest[count:]
            if not http.local_flow_control_window(state["stream"]):
                receive()

    return read, write


def _messages(state):
    while len(state["framed"]) >= 5:
        length = struct.unpack(">BI", state["framed"][:5])[1]
        if len(state["framed"]) < 5 + length:
            return
        yield state["framed"][5 : 5 + length]
        state["framed"] = state["framed"][5 + length :]


class Inner:
    """The engine as the one that calls: HTTP/2 and gRPC on a connection that the other side has opened."""

    def __init__(self, read, write):
        self._read, self._write, self._http, self._calls = read, write, H2Connection(), {}
        self._http.initiate_connection()
        self._http.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: SMALL_WINDOW})
        write(self._http.data_to_send())

    def begin(self, method, *headers):
        """Begin a call; return its number."""
        stream = self._http.get_next_available_stream_id()
        first = [(":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", method)]
        self._calls[stream] = {"framed": b"", "messages": [], "headers": {}, "over": False}
        self._http.send_headers(stream, [*first, ("content-type", "application/grpc"), ("te", "trailers"), *headers])
        self._write(self._http.data_to_send())
        return stream

    def send(self, stream, message, last=False):
        """Send a message, in two pieces."""
        data = struct.pack(">BI", 0, len(message)) + message
        self._http.send_data(stream, data[:3])
        self._http.send_data(stream, data[3:], end_stream=last)
        self._write(self._http.data_to_send())

    def next(self, stream):
        """Return the next message of a call, or None where it is over."""
        call = self._calls[stream]
        while not call["messages"] and not call["over"]:
            self._receive()
        return call["messages"].pop(0) if call["messages"] else None

    def has(self, stream):
        """Return whether a call has been answered."""
        return bool(self._calls[stream]["messages"]) or self._calls[stream]["over"]

    def ended(self, stream):
        """Return status and words of a call that is over."""
        while self.next(stream) is not None:
            pass
        headers = self._calls[stream]["headers"]
        return int(headers["grpc-status"]), headers.get("grpc-message", "")

    def call(self, method, message, *headers):
        """Call a service with one message each way; return the answer, the status and its words."""
        stream = self.begin(method, *headers)
        self.send(stream, message, last=True)
        return self.next(stream), *self.ended(stream)

    def _receive(self):
        data = self._read()
        assert data, "the session ended while a call went on"
        for event in self._http.receive_data(data):
            call = self._calls.get(getattr(event, "stream_id", None))
            if isinstance(event, DataReceived):
                self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                call["framed"] += event.data
                call["messages"] += _messages(call)
            elif isinstance(event, ResponseReceived | TrailersReceived):
                call["headers"] |= {k.decode(): v.decode() for k, v in event.headers}
            elif isinstance(event, StreamEnded):
                call["over"] = True
        self._write(self._http.data_to_send())
