"""The way from API 1.53 on: a session inside a gRPC stream of the engine's own socket, which then speaks HTTP/2."""

import struct

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset

from helpers.images import messages

METHOD = "/moby.buildkit.v1.Control/Session"
CHUNK_BYTES = 1 << 16


class Tunnel:
    """
    A connection inside the stream ``moby.buildkit.v1.Control/Session``: its messages carry the inner one's bytes.

    Raises:
        ConnectionError: the engine does not speak HTTP/2, or does not know the stream.
    """

    def __init__(self, read, write, headers):
        self._read, self._write = read, write
        self._http = H2Connection(H2Configuration(header_encoding="utf-8"))
        self._received = self._bytes = b""
        self._answered = self._over = False
        self._http.initiate_connection()
        self._stream = self._http.get_next_available_stream_id()
        first = [(":method", "POST"), (":scheme", "http"), (":authority", "docker"), (":path", METHOD)]
        first += [("content-type", "application/grpc"), ("te", "trailers")]
        self._http.send_headers(self._stream, [*first, *headers])
        self._write(self._http.data_to_send())
        while not (self._answered or self._bytes or self._over):
            self._receive()
        if self._over:
            raise ConnectionError(f"the engine does not take {METHOD}")

    def read(self, count):
        """Return what has come of the inner connection, at most ``count`` bytes; b"" when it is over."""
        while not self._bytes and not self._over:
            self._receive()
        data, self._bytes = self._bytes[:count], self._bytes[count:]
        return data

    def write(self, data):
        """Send bytes of the inner connection, as fast as the engine takes them."""
        if not data:
            return
        message = bytes(messages.BytesMessage(data))
        rest = struct.pack(">BI", 0, len(message)) + message
        while rest:
            window = min(self._http.local_flow_control_window(self._stream), self._http.max_outbound_frame_size)
            if window:
                self._http.send_data(self._stream, rest[:window])
                rest = rest[window:]
                self._write(self._http.data_to_send())
            elif self._over:
                raise ConnectionError("the engine has ended the session")
            else:
                self._receive()

    def _receive(self):
        data = self._read(CHUNK_BYTES)
        if not data:
            self._over = True
            return
        if not self._answered and data.startswith(b"HTTP/1."):
            raise ConnectionError("the engine speaks HTTP/1.1 only")
        for event in self._http.receive_data(data):
            if isinstance(event, ResponseReceived):
                self._answered, status = True, dict(event.headers)[":status"]
                if status != "200":
                    raise ConnectionError(f"the engine answers {METHOD} with {status}")
            elif isinstance(event, DataReceived):
                self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self._take(event.data)
            elif isinstance(event, StreamEnded | StreamReset | ConnectionTerminated):
                self._over = True
        self._write(self._http.data_to_send())

    def _take(self, data):
        self._received += data
        while len(self._received) >= 5:
            _, length = struct.unpack(">BI", self._received[:5])
            if len(self._received) < 5 + length:
                return
            self._bytes += messages.BytesMessage.loads(self._received[5 : 5 + length]).data
            self._received = self._received[5 + length :]
