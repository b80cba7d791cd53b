"""What docker-py opens in place of a socket, imitated: a named pipe of Windows, and a channel of paramiko's ssh."""

import io


class PipeError(Exception):
    """As pywintypes.error: no OSError."""


class Pipe:
    """As docker-py's NpipeSocket: closed twice it fails, and so does whoever reads while it is closed."""

    def __init__(self, socket):
        self._socket, self._closed = socket, False

    def _check(self):
        if self._closed:
            raise RuntimeError("Can not reuse socket after connection was closed.")

    def settimeout(self, value):
        self._socket.settimeout(value)

    def recv(self, bufsize, flags=0):
        raise PipeError("ReadFile without OVERLAPPED on a handle that was opened with it")

    def recv_into(self, buf, nbytes=0):
        self._check()
        count = self._socket.recv_into(buf)
        if not count:
            raise PipeError("The pipe has been ended.")
        return count

    def sendall(self, data, flags=0):
        self._check()
        self._socket.sendall(data)

    def makefile(self, mode=None, bufsize=None):
        return io.BufferedReader(_PipeFile(self))

    def shutdown(self, how):
        self._check()
        self.close()

    def close(self):
        if not self._closed:
            self._socket.shutdown(2)
            self._socket.close()
        self._closed = True


class _PipeFile(io.RawIOBase):
    def __init__(self, pipe):
        self.sock = pipe

    def close(self):
        super().close()
        self.sock = None

    def readable(self):
        return True

    def readinto(self, buf):
        return self.sock.recv_into(buf)


class Channel:
    """As paramiko's Channel: its file has neither ``raw`` nor ``read1``."""

    def __init__(self, socket):
        self._socket = socket
        for name in ("settimeout", "recv", "sendall", "shutdown", "close"):
            setattr(self, name, getattr(socket, name))

    def makefile(self, *_):
        return _ChannelFile(self)


class _ChannelFile:
    def __init__(self, channel):
        self.channel, self.closed, self._rbuffer = channel, False, b""

    def readline(self, size=None):
        while b"\n" not in self._rbuffer and (data := self.channel.recv(8192)):
            self._rbuffer += data
        return self.read(self._rbuffer.find(b"\n") + 1)

    def read(self, size=None):
        assert 0 < size <= len(self._rbuffer), "this would wait for all of it"
        data, self._rbuffer = self._rbuffer[:size], self._rbuffer[size:]
        return data

    def flush(self):
        pass

    def close(self):
        self.closed = True
