"""The connection of a session, opened as the SDK opens its own: over a socket, a Windows pipe, TLS or ssh."""

import contextlib
import socket
import ssl
from urllib.parse import urlsplit

import requests
from h2.exceptions import H2Error
from urllib3 import HTTPHeaderDict

from helpers.images.tunnel import Tunnel

FIRST_API_WITH_TUNNEL = (1, 53)


def connect(client, named):
    """
    Return functions that read from, write to and close a connection on which the engine is the one that calls.

    ``named`` are headers. An engine that does not take the newer way in the client's time is asked the older way.
    What reading and writing raises is always an OSError.
    """
    version = tuple(map(int, client.api._version.split(".")))
    if version >= FIRST_API_WITH_TUNNEL:
        with contextlib.suppress(OSError, H2Error):  # an engine behind a proxy that speaks HTTP/1.1 only
            return _tunnelled(client, named)
    return _upgraded(client, named)


def _upgraded(client, named):
    headers = HTTPHeaderDict([("Connection", "Upgrade"), ("Upgrade", "h2c"), ("Content-Length", "0"), *named])
    request = client.api.prepare_request(requests.Request("POST", client.api._url("/session")))
    request.headers = headers  # a name may be there more than once, as requests' own headers cannot have it
    response = client.api.send(request, stream=True, timeout=client.api.timeout)
    client.api._raise_for_status(response)
    file = response.raw._fp.fp
    raw = getattr(file, "raw", None)  # a channel of ssh has none; a pipe of Windows names its own otherwise
    opened = getattr(file, "channel", None) or getattr(raw, "_sock", None) or raw.sock
    opened.settimeout(None)
    return _functions(file, opened, response.close)


def _tunnelled(client, named):
    opened = _as_os_errors(_opened)(client)
    file = opened.makefile("rb")
    read, write, close = _functions(file, opened, file.close)
    try:
        tunnel = Tunnel(read, write, [(name.lower(), value) for name, value in named])
    except (OSError, H2Error):
        close()
        raise
    opened.settimeout(None)
    return tunnel.read, tunnel.write, close


def _opened(client):
    """Return a new connection that speaks nothing yet; its calls take no longer than the client's."""
    base_url = client.api.base_url
    if base_url.startswith("https:"):
        return _over_tls(client, urlsplit(base_url))
    request = client.api.prepare_request(requests.Request("POST", client.api._url("/session")))
    pool = client.api.get_adapter(base_url).get_connection_with_tls_context(request, client.api.verify)
    connection = pool._new_conn()
    connection.timeout = client.api.timeout
    connection.connect()
    return connection.sock


def _over_tls(client, address):
    """Return a connection over TLS that offers HTTP/2, which urllib3's does not; without it, the engine takes none."""
    verify, cert = client.api.verify, client.api.cert
    context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if cert:
        context.load_cert_chain(*([cert] if isinstance(cert, str) else cert))
    context.set_alpn_protocols(["h2"])
    plain = socket.create_connection((address.hostname, address.port), client.api.timeout)
    try:
        opened = context.wrap_socket(plain, server_hostname=address.hostname)
    except OSError:
        plain.close()
        raise
    if opened.selected_alpn_protocol() != "h2":
        opened.close()
        raise ConnectionError("the engine does not speak HTTP/2 over TLS")
    return opened


def _functions(file, opened, close):
    def end():
        for step in (lambda: opened.shutdown(2), opened.close, close):  # the first wakes whoever reads
            with contextlib.suppress(Exception):
                step()

    return _as_os_errors(_reader(file, opened)), _as_os_errors(opened.sendall), end


def _reader(file, opened):
    """Return a function that reads what has come; a Windows pipe's own ``recv`` does not fit how docker-py opens it."""
    if hasattr(file, "read1"):
        return file.read1

    def read(count):  # from a channel of ssh, and first what its file has read already
        return file.read(min(count, len(file._rbuffer))) if file._rbuffer else opened.recv(count)

    return read


def _as_os_errors(call):
    """Have what a Windows pipe or a channel of ssh raises, which is no OSError, be a ConnectionError."""

    def called(*arguments):
        try:
            return call(*arguments)
        except OSError:
            raise
        except Exception as error:
            raise ConnectionError(str(error)) from error

    return called
