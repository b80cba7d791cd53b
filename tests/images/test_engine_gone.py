"""An engine that ends in the middle of an answer: a sentence, whichever library noticed it."""

import contextlib
import io
import secrets
import socketserver
import threading
from http.server import BaseHTTPRequestHandler

import docker
import pytest
import urllib3
from samples import tar

from helpers import base_image, build, contents, size
from helpers.images import buildkit
from helpers.images.saved_layers import compressed_size

LARGE = tar({"1.tar": tar({"a": bytes(3_000_000)})})


@contextlib.contextmanager
def ends_after(path, begun):
    """Give a client of an engine that begins each long answer so, and ends; it has no image."""

    class Engine(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            if self.path.endswith(("/get", "/export")):
                self.begin()
            else:
                self.answer(404, b'{"message": "No such image"}')

        def do_POST(self):
            if "/containers/create" in self.path:
                self.answer(201, b'{"Id": "c"}')
            else:
                self.begin()

        def do_DELETE(self):
            self.close_connection = True

        def answer(self, status, body):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def begin(self):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(begun), begun))
            self.close_connection = True

        def log_message(self, *_):
            pass

    with socketserver.ThreadingUnixStreamServer(str(path), Engine) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        with contextlib.closing(docker.DockerClient(base_url=f"unix://{path}", version="1.41")) as client:
            yield client
        server.shutdown()


def explained(caught):
    """Return the sentences of an error that was caught."""
    return "\n".join(caught.value.__notes__)


def test_in_a_pull(tmp_path, capsys):
    """No recipe is tried in its place: an image cannot be made without an engine either."""
    begun = b'{"status": "Pulling fs layer", "id": "a"}\n'
    with ends_after(tmp_path / "s", begun) as client, pytest.raises(urllib3.exceptions.ProtocolError) as caught:
        base_image(client, "debian:trixie-slim")
    assert "looking for the image debian:trixie-slim" in explained(caught) and "connect()" in explained(caught)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("count", [100, 5000, 2_000_000], ids=["in a header", "in the first part", "in a layer"])
@pytest.mark.parametrize("read", [size, compressed_size, contents])
def test_while_an_image_is_read(tmp_path, read, count):
    """Told apart from an image of which the engine has lost a part, and from layers that nobody can read."""
    attrs = {"Id": f"sha256:{secrets.token_hex(32)}", "Size": 520, "RootFS": {"Layers": ["a"]}, "RepoTags": ["a/b:1"]}
    with ends_after(tmp_path / "s", LARGE[:count]) as client, pytest.raises(OSError) as caught:
        read(docker.models.images.Image(attrs, client=client))
    assert "a/b:1" in explained(caught) and "connect()" in explained(caught)


def test_in_a_build(client, monkeypatch):
    """What docker-py reads of it without requests ends by another error than the rest."""

    def ends(*_, **__):
        raise urllib3.exceptions.ProtocolError("Connection broken: InvalidChunkLength")

    monkeypatch.setattr(buildkit, "solve", ends)
    with pytest.raises(urllib3.exceptions.ProtocolError) as caught:
        build(client, fileobj=io.BytesIO(b"FROM scratch\n"), tag="course/x")
    assert "docker build -t course/x" in explained(caught) and "connect()" in explained(caught)
