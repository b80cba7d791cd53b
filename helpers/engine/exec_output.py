"""
Why ``exec_run`` of docker-py may answer nothing, mended: https://github.com/docker/docker-py/issues/3332.

The headers of an answer are read through a buffer. Where a command is quicker than its client, the buffer holds what
the command printed, too; docker-py goes on to read from the socket below it, and that output is lost.
"""

import io
import struct
from functools import partial

from docker.utils.socket import STDOUT, consume_socket_output, demux_adaptor


def lose_nothing(client):
    """Let ``exec_run`` and ``attach`` of a client read through the buffer that the headers were read with."""
    client.api._read_from_socket = partial(_read, client.api, client.api._read_from_socket)


def _read(api, of_docker_py, response, stream, tty=True, demux=False):
    """Return what ``APIClient._read_from_socket`` returns, with the output that came along with the headers."""
    file = response.raw._fp.fp
    if not isinstance(file, io.BufferedReader):  # ssh
        return of_docker_py(response, stream, tty=tty, demux=demux)
    api._disable_socket_timeout(api._get_raw_response_socket(response))
    frames = _frames(file, tty)
    output = (demux_adaptor(*frame) for frame in frames) if demux else (data for _, data in frames)
    if stream:
        return output
    try:
        return consume_socket_output(output, demux=demux)
    finally:
        response.close()


def _frames(file, tty):
    """Yield ``(stream, data)`` as the engine sends them: plain from a terminal, else each behind 8 bytes of header."""
    while tty and (data := file.read1()):
        yield STDOUT, data
    while not tty and len(header := file.read(8)) == 8:
        stream, size = struct.unpack(">BxxxL", header)
        yield stream, file.read(size)
