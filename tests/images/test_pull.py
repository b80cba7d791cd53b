"""Images from a real registry, with and without a password; a silent bootstrap would fail these."""

import io
import secrets
from types import SimpleNamespace

import apart
import docker
import pytest
from samples import file_in, import_tiny, push
from tqdm import tqdm

from helpers import base_image
from helpers.errors import CourseError
from helpers.images import bases


def test_without_password(client, registry, own_tag, capsys):
    """An image that no recipe makes comes from the registry, under the name that it has there."""
    name = f"{registry()}/{own_tag.removeprefix('course/')}:1"
    content = import_tiny(client, name.removesuffix(":1"))
    push(client, name)
    image = base_image(client, name)
    assert file_in(client, image, "/only-here") == content
    assert image.tags == [name]
    assert f"{name}: pulled from its registry" in capsys.readouterr().out
    base_image(client, name)
    assert f"{name}: here already\n" in capsys.readouterr().out
    client.images.remove(name)


def test_with_password(client, registry, login, own_tag):
    """Refused without a login, with one sentence each; given after it."""
    password = secrets.token_urlsafe()
    address = registry("learner", password)
    name = f"{address}/{own_tag.removeprefix('course/')}:1"
    content = import_tiny(client, name.removesuffix(":1"))
    login(address, "learner", password)
    push(client, name)
    del client.api._auth_configs["auths"][address]
    with pytest.raises(CourseError) as caught:
        base_image(client, name)
    assert f"docker pull {name}" in str(caught.value) and "auth" in str(caught.value)
    login(address, "learner", password)
    image = base_image(client, name)
    assert file_in(client, image, "/only-here") == content
    client.images.remove(name)


def test_wrong_name(client, registry):
    """A registry that answers and has no such image."""
    with pytest.raises(CourseError) as caught:
        base_image(client, f"{registry()}/tests/nothing:1")
    assert "not found" in str(caught.value) or "unknown" in str(caught.value)
    assert "next:" in str(caught.value)


def test_progress_counts_bytes_and_layers(client, registry, monkeypatch):
    """The bar ends at all bytes of all layers; with containerd's store, the engine counts only what takes a while."""
    name, count = f"{registry()}/tests/bar:1", 40_000_000
    import_tiny(client, name.removesuffix(":1"), content=secrets.token_bytes(count))
    push(client, name)
    bars = []

    def remembered(**options):
        bars.append(tqdm(**options, file=io.StringIO()))
        return bars[0]

    monkeypatch.setattr(bases, "progress", remembered)
    bases.pull(client, name)
    client.images.remove(name)
    assert count <= bars[0].total <= 1.01 * count and bars[0].n == bars[0].total
    assert "1 of 1 layers" in str(bars[0].postfix)


def test_a_download_before_its_first_byte():
    """The engine leaves out a number that is 0, also where it then says why nothing more came."""
    events = [
        {"id": "a", "status": "Downloading", "progressDetail": {"total": 10}},
        {"errorDetail": {"message": "unexpected EOF"}},
    ]
    engine = SimpleNamespace(api=SimpleNamespace(pull=lambda *_, **__: events))
    with pytest.raises(docker.errors.APIError, match="unexpected EOF"):
        bases.pull(engine, "debian:trixie-slim")


@apart.needs_root
def test_debian_from_a_mirror_on_an_empty_engine(client, registry, state_home, capsys):
    """Where a registry answers, Debian itself comes from there, although a recipe could make it."""
    address = registry()
    content = import_tiny(client, f"{address}/library/debian", "trixie-slim")
    push(client, f"{address}/library/debian:trixie-slim")
    with apart.empty_engine(state_home, {"registry-mirrors": [f"http://{address}"]}) as other:
        image = base_image(other, "debian:trixie-slim")
        assert file_in(other, image, "/only-here") == content
        assert [tag for image in other.images.list() for tag in image.tags] == ["debian:trixie-slim"]
    assert "debian:trixie-slim: pulled from its registry" in capsys.readouterr().out
