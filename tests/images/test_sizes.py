"""Exact bytes of an image that is known: its size, its layers, what is in it, what a pull of it costs."""

import secrets

import pytest
from samples import folder_of, import_tiny

from helpers import build, compare, contents, layers, size
from helpers.errors import CourseError
from helpers.images.layers import compressed_size


@pytest.fixture
def tiny(client, own_tag, tmp_path):
    """Return an image, never seen before, with two files in two layers."""
    text = f"FROM scratch\nLABEL once={secrets.token_hex(8)}\nCOPY a /bin/sh\nCOPY b /b\n"
    folder_of(tmp_path, Dockerfile=f"{text}ENV X=1\nUSER 7\n", a="x" * 1000, b="y" * 234)
    (tmp_path / "a").chmod(0o755)
    (tmp_path / "b").chmod(0o644)
    return build(client, tmp_path, tag=own_tag)


def test_size_and_layers(tiny):
    """Each instruction with its bytes, oldest first."""
    assert size(tiny) == 1234
    rows = layers(tiny)
    assert [row["bytes"] for row in rows if row["bytes"]] == [1000, 234]
    assert [row["instruction"] for row in rows[-4:]] == ["COPY a /bin/sh", "COPY b /b", "ENV X=1", "USER 7"]


def test_compare(tiny):
    """One row an image."""
    row = compare({"tiny": tiny}, compressed=True)[0]
    assert {key: row[key] for key in ("name", "bytes", "layers", "user")} == {
        "name": "tiny", "bytes": 1234, "layers": 2, "user": "7"
    }  # fmt: skip
    assert 100 < row["compressed_bytes"] < 10_000


@pytest.mark.parametrize(
    ("content", "low", "high"),
    [(secrets.token_bytes(300_000), 300_000, 320_000), (bytes(300_000), 100, 5000)],
    ids=["random", "zeros"],
)
def test_compressed_size_is_that_of_gzip(client, own_tag, content, low, high):
    """Random bytes do not shrink; zeros nearly vanish."""
    import_tiny(client, own_tag, content=content)
    assert low < compressed_size(client.images.get(f"{own_tag}:1")) < high


def test_contents(client, tiny, own):
    """Counts from the file system, and nothing left behind."""
    row = contents(tiny)
    assert row == {"files": 2, "bytes": 1234, "executables": 1, "setuid": 0, "shells": ["sh"], "packages": 0}
    assert client.containers.list(all=True, filters=own) == [] and client.volumes.list(filters=own) == []


def test_contents_of_debian(base):
    """A distribution has shells, packages and set-uid programs."""
    row = contents(base)
    assert row["shells"] == ["bash", "dash", "sh"] and row["packages"] > 70 and row["setuid"] >= 1


def test_a_name_for_an_image():
    """What reads an image takes the image, and says so."""
    with pytest.raises(CourseError, match=r"client\.images\.get\('course/first'\)"):
        size("course/first")
