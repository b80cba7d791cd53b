"""What the engine calls back for while it builds: secrets and logins, on a socket and over TLS."""

import base64
import hashlib
import json
import secrets
import subprocess
import time
from pathlib import Path

import apart
import docker
import pytest
import trustme
from samples import all_bytes, file_in, folder_of, import_tiny, push

from helpers import base_image, build, build_steps, engine
from helpers.engine import build_cache
from helpers.host.network import free_port
from helpers.images.build import build_quietly
from helpers.machines import keys

READS = "FROM debian:trixie-slim\nRUN --mount=type=secret,id=token md5sum < /run/secrets/token > /sum; echo {word}\n"


def notes(error):
    """Return the three sentences that ``explain`` added."""
    return "\n".join(error.__notes__)


def test_a_secret_is_nowhere_but_in_its_step(client, base, own_tag, tmp_path):
    """In no layer, no history, no configuration, no record of the cache, no row; nor on the engine's disk."""
    secret, word, began = secrets.token_urlsafe(40), secrets.token_hex(6), int(time.time())
    folder_of(tmp_path, Dockerfile=READS.format(word=word))
    image = build(client, tmp_path, tag=own_tag, secrets={"token": secret.encode()})
    assert file_in(client, image, "/sum").split()[0].decode() == hashlib.md5(secret.encode()).hexdigest()
    assert secret.encode() not in all_bytes(image)
    told = [image.attrs, image.history(), build_steps(image), build_cache.cache_records(client)]
    assert secret not in json.dumps(told)
    root = engine.disk(client)
    if root:
        look = ["find", root, "-newermt", f"@{began - 1}", "-type", "f", "-size", "-2M", "-exec", "grep", "-l"]
        found = {what: subprocess.run([*look, what, "{}", "+"], capture_output=True).stdout for what in (secret, word)}
        assert not found[secret]
        assert found[word] or root == Path("/var/lib/docker")  # where another engine has that folder, too


@pytest.mark.parametrize(
    "secret",
    ["wörds", b"\x00\xff\n", b"", secrets.token_bytes(400_000), secrets.token_bytes(3_900_000)],
    ids=["text", "bytes", "none", "400 kB", "3.9 MB"],
)
def test_any_secret(client, base, own_tag, tmp_path, secret):
    """A text, bytes that are no text, nothing at all, a large one: it arrives as it is."""
    folder_of(tmp_path, Dockerfile=READS.format(word=secrets.token_hex(6)))
    image = build_quietly(client, tmp_path, own_tag, secrets={"token": secret})
    content = secret.encode() if isinstance(secret, str) else secret
    assert file_in(client, image, "/sum").split()[0].decode() == hashlib.md5(content).hexdigest()


def test_other_secrets_are_not_given(client, base, tmp_path):
    """One that the step does not ask for is not sent; one that it asks for by another name is missing."""
    folder_of(tmp_path, Dockerfile=READS.format(word="x").replace("id=token", "id=token,required=true"))
    with pytest.raises(docker.errors.BuildError) as caught:
        build(client, tmp_path, tag="course/test-missing", secrets={"tokens": b"1"})
    assert "secret token" in notes(caught.value) and "by the name after id=" in notes(caught.value)


@pytest.fixture
def private(client, registry, login, own_tag):
    """Return ``(name, address, password, content)`` of an image in a registry with a password, not logged in to."""
    password = secrets.token_urlsafe()
    address = registry("learner", password)
    name = f"{address}/{own_tag.removeprefix('course/')}:1"
    content = import_tiny(client, name.removesuffix(":1"))
    login(address, "learner", password)
    push(client, name)
    del client.api._auth_configs["auths"][address]
    return name, address, password, content


@pytest.fixture
def configuration(client, tmp_path):
    """Return a function that has the client read a config.json; in the end, it has its own again."""
    before = client.api._auth_configs

    def read(content):
        folder = tmp_path / "configuration"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(content))
        client.api.reload_config(str(folder / "config.json"))

    yield read
    client.api._auth_configs = before


def from_private(path, name):
    """Write a Dockerfile that begins with an image of a registry."""
    return folder_of(path, Dockerfile=f"FROM {name}\nLABEL once={secrets.token_hex(6)}\n")


def test_a_private_base_without_a_login(client, private, tmp_path):
    """The registry's no, and that a login is what is missing."""
    with pytest.raises(docker.errors.BuildError) as caught:
        build(client, from_private(tmp_path, private[0]), tag="course/test-private")
    assert "docker login" in notes(caught.value).partition("next:")[2]


def test_a_private_base_with_a_wrong_password(client, private, configuration, tmp_path):
    """The same, and the password is in no word of it."""
    name, address, password, _ = private
    wrong = base64.b64encode(f"learner:not-{password}".encode()).decode()
    configuration({"auths": {address: {"auth": wrong}}})
    with pytest.raises(docker.errors.BuildError) as caught:
        build(client, from_private(tmp_path, name), tag="course/test-private")
    assert "docker login" in notes(caught.value).partition("next:")[2]
    assert password not in notes(caught.value) + str(caught.value)


@pytest.mark.parametrize("way", ["login", "config.json"])
def test_a_private_base(client, private, login, configuration, own_tag, tmp_path, way):
    """By what ``client.login`` knows, or a file of the docker command's: it is there, and no password is in it."""
    name, address, password, content = private
    auth = base64.b64encode(f"learner:{password}".encode()).decode()
    if way == "login":
        login(address, "learner", password)
    else:
        configuration({"auths": {address: {"auth": auth}}})
    image = build(client, from_private(tmp_path, name), tag=own_tag)
    assert file_in(client, image, "/only-here") == content
    saved = all_bytes(image)
    assert password.encode() not in saved and auth.encode() not in saved


@pytest.mark.parametrize(
    "content",
    [{"credsStore": "desktop"}, {"credHelpers": {"docker.io": "not-here", "gcr.io": "not-here"}}, {"auths": {"x": {}}}],
    ids=["store", "helpers", "empty"],
)
@pytest.mark.filterwarnings("ignore:docker-credential")
def test_a_credential_program_that_is_gone(client, base, configuration, own_tag, tmp_path, content):
    """A build that needs no registry works; one that asks a registry goes on without a login, as docker does."""
    configuration(content)
    build(client, folder_of(tmp_path, Dockerfile="FROM debian:trixie-slim\nCOPY Dockerfile /\n"), tag=own_tag)
    with pytest.raises(docker.errors.BuildError) as caught:
        build(client, folder_of(tmp_path, Dockerfile="FROM 127.0.0.1:9/nothing\n"), tag=own_tag)
    assert "connection refused" in notes(caught.value)


@apart.needs_root
def test_over_tls(client, state_home, tmp_path):
    """An engine that wants a key: files, a secret and the answer take the same encrypted way."""
    authority, port, home = trustme.CA(), free_port(), Path(state_home)
    server, learner = authority.issue_cert("127.0.0.1"), authority.issue_cert("learner@example.org")
    authority.cert_pem.write_to_path(home / "ca.pem")
    for name, one in (("server", server), ("cert", learner)):
        one.cert_chain_pems[0].write_to_path(home / f"{name}.pem")
    server.private_key_pem.write_to_path(home / "server-key.pem")
    learner.private_key_pem.write_to_path(home / "key.pem")
    settings = {
        "hosts": [f"unix://{home}/docker.sock", f"tcp://127.0.0.1:{port}"],
        "tlsverify": True,
        "tlscacert": f"{home}/ca.pem",
        "tlscert": f"{home}/server.pem",
        "tlskey": f"{home}/server-key.pem",
    }
    secret, large = secrets.token_bytes(300_000), secrets.token_bytes(3_000_000)
    text = """FROM hello-world AS program
COPY large /large
RUN --mount=type=secret,id=token ["/busybox", "sh", "-c", "/busybox md5sum /run/secrets/token /large > /sums"]
"""
    folder_of(tmp_path, Dockerfile=text, large=large)
    hello = b"".join(base_image(client, "hello-world").save(named=True))
    with apart.empty_engine(home, settings) as other:
        other.images.load(hello)
        over = keys.client(home, port)
        image = build(over, tmp_path, tag="course/tls", secrets={"token": secret}, network_mode="none")
        sums = file_in(over, image, "/sums").decode().split()[::2]
        over.close()
    assert sums == [hashlib.md5(one).hexdigest() for one in (secret, large)]
