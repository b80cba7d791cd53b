"""Exact bytes of an image that is known: its size, its layers, what is in it, what a pull of it costs."""

import gzip
import hashlib
import io
import json
import secrets
from types import SimpleNamespace

import docker
import pytest
from samples import folder_of, import_tiny, tar

from helpers import base_image, build, compare, contents, layers, size
from helpers.errors import CourseError
from helpers.images.layers import files_of_layers
from helpers.images.saved_layers import compressed_size


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


AS_WRITTEN = """FROM debian:trixie-slim
ARG DIR
ARG OTHER="two words"
RUN echo $DIR
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN true
RUN mkdir /d && echo 1 > /d/a
RUN rm -r /d && mkdir /d && echo 2 > /d/b
RUN ["/bin/echo", "three words"]
WORKDIR /w
CMD ["bash"]
"""


@pytest.mark.parametrize("builder", ["BuildKit", "the older one"])
def test_instructions_as_written(client, base, own_tag, tmp_path, builder):
    """Whatever arguments a RUN was given, and whichever shell it called; a list is told word by word."""
    folder_of(tmp_path, Dockerfile=AS_WRITTEN)
    given = {"DIR": "/opt/bin/tool"}
    if builder == "BuildKit":
        image = build(client, tmp_path, tag=own_tag, buildargs=given)
    else:
        image, _ = client.images.build(path=str(tmp_path), tag=own_tag, buildargs=given, rm=True)
    told = [row["instruction"] for row in layers(image)]
    wanted = [line for line in AS_WRITTEN.splitlines() if line.startswith(("RUN ", "WORKDIR", "CMD"))]
    wanted[wanted.index('RUN ["/bin/echo", "three words"]')] = "RUN /bin/echo three words"
    assert [one for one in told if one.split()[0] in ("RUN", "WORKDIR", "CMD")][-len(wanted) :] == wanted
    last = next(row for row in files_of_layers(image) if row["instruction"].startswith("RUN rm"))
    removed = [path for path, _ in last["largest"] if path.endswith(" (removed)")]
    assert last["files"] == 1 and ["/d/b", 2] in last["largest"] and removed in (["/d/* (removed)"], ["/d/a (removed)"])


def test_compare(tiny):
    """One row an image."""
    row = compare({"tiny": tiny}, compressed=True)[0]
    assert {key: row[key] for key in ("name", "bytes", "layers", "user")} == {
        "name": "tiny", "bytes": 1234, "layers": 2, "user": "7"
    }  # fmt: skip
    assert 100 < row["compressed_bytes"] < 10_000
    with pytest.raises(CourseError, match=r"without names\n.*compare\(\{"):
        compare([tiny])


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


LINKS = """
FROM debian:trixie-slim
RUN mkdir /d && head -c 1000 /dev/urandom > /d/a && ln /d/a /d/b && ln -s /a/path/that/is/text /d/c
RUN rm -r /d && mkdir /d && printf 12345 > /d/new && truncate -s 7000 /d/holes
"""


def test_what_counts(client, own_tag, tmp_path):
    """A hard link counts as a file and not twice, a symbolic link not at all, holes do; hidden files are named."""
    base_image(client, "debian:trixie-slim")
    rows = files_of_layers(build(client, folder_of(tmp_path, Dockerfile=LINKS), tag=own_tag))[-2:]
    assert (rows[0]["bytes"], rows[0]["files"]) == (1000, 2)
    assert rows[1]["bytes"] == 7005
    assert {path for path, _ in rows[0]["largest"]} == {"/d/a", "/d/b"}
    hidden = {path for path, _ in rows[1]["largest"] if path.endswith(" (removed)")}
    assert hidden in ({"/d/* (removed)"}, {f"/d/{name} (removed)" for name in "abc"})


def test_the_same_after_save_and_load(client, own_tag, tmp_path, monkeypatch):
    """An engine that loads an image counts other bytes than the one that built it; we count the same."""
    base_image(client, "debian:trixie-slim")
    built = build(client, folder_of(tmp_path, Dockerfile=LINKS), tag=own_tag)
    before = size(built), layers(built), compressed_size(built)
    archive = b"".join(built.save(named=True))
    client.images.remove(own_tag, force=True)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))  # nothing is remembered
    loaded = client.images.load(archive)[0]
    assert (size(loaded), layers(loaded), compressed_size(loaded)) == before


def test_the_engines_own_figure(client, base):
    """It stands in a row only where it is another number."""
    row = compare({"base": base})[0]
    shown = next(one["Size"] for one in client.api.images(all=True) if one["Id"] == base.id)
    far = abs(shown - size(base)) > size(base) / 100
    assert row.get("engine_bytes") == (shown if far else None)
    stand_in = SimpleNamespace(api=SimpleNamespace(images=lambda **_: [{"Id": base.id, "Size": 2 * size(base)}]))
    doubled = docker.models.images.Image(base.attrs, client=stand_in)
    assert compare({"base": doubled})[0]["engine_bytes"] == 2 * size(base)


READERS = [size, contents, compressed_size, lambda image: compare({"x": image}, compressed=True)]


@pytest.mark.parametrize("read", READERS, ids=["size", "contents", "compressed_size", "compare"])
def test_a_name_for_an_image(read):
    """What reads an image takes the image, and says so."""
    with pytest.raises(CourseError, match=r"client\.images\.get\('course/first'\)"):
        read("course/first")
    with pytest.raises(CourseError, match="that is no image"):
        read(None)


def test_without_layers(client, own_tag):
    """An image with settings only has no bytes, and its instructions are told; no engine saves it."""
    text = f'FROM scratch\nLABEL once={secrets.token_hex(8)}\nCMD ["/x"]\n'
    image = build(client, fileobj=io.BytesIO(text.encode()), tag=own_tag)
    assert [(row["instruction"].split()[0], row["bytes"]) for row in layers(image)] == [("LABEL", 0), ("CMD", 0)]
    row = compare({"settings": image}, compressed=True)[0]
    assert (row["bytes"], row["layers"], row["compressed_bytes"]) == (0, 0, 0)


FIRST, SECOND = tar({"a": b"x" * 500}), tar({"b": b"y" * 20, ".wh.a": b""})


def archive(files=None, history=None, left_out=(), platforms=("ours",)):
    """Return what an engine saves of an image of two layers, and its manifest: as bytes."""
    files = {"1.tar": FIRST, "2.tar": SECOND} if files is None else files
    manifest, texts = [], {}
    for platform in platforms:
        config = {"rootfs": {"diff_ids": [f"{platform}-1", f"{platform}-2"]}}
        texts[f"{platform}.json"] = json.dumps(config if history is None else {**config, "history": history}).encode()
        names = list(files) if platform == "ours" else ["missing.tar"]
        manifest.append({"Config": f"{platform}.json", "Layers": names})
    everything = {**files, **texts, "manifest.json": json.dumps(manifest).encode()}
    return tar({name: content for name, content in everything.items() if name not in left_out})


def saved_as(saved):
    """Return an image of an engine that saves it so, in pieces."""
    attrs = {"Id": f"sha256:{secrets.token_hex(32)}", "Size": 520, "RootFS": {"Layers": ["ours-1", "ours-2"]}}
    pieces = [saved[at : at + 300] for at in range(0, len(saved), 300)]
    attrs["RepoTags"] = ["course/stand-in:1"]
    api = SimpleNamespace(get_image=lambda *_: iter(pieces))
    return docker.models.images.Image(attrs, client=SimpleNamespace(api=api))


@pytest.mark.parametrize("history", [None, [], [{"created_by": "bazel build ..."}]], ids=["none", "empty", "too short"])
def test_without_a_history(history):
    """An image whose builder wrote none has a row a layer, and all of its bytes."""
    rows = files_of_layers(saved_as(archive(history=history)))
    assert [(row["bytes"], row["files"]) for row in rows] == [(500, 1), (20, 1)]
    assert {row["instruction"] for row in rows} == {"base image"}


def test_a_loaded_image_without_a_history(client, own_tag):
    """The engine's own list of instructions would be empty, and its size 0."""
    content = tar({"only": secrets.token_bytes(300)})
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest]}}
    manifest = [{"Config": "c.json", "RepoTags": [f"{own_tag}:1"], "Layers": ["1.tar"]}]
    files = {"1.tar": content, "c.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()}
    client.images.load(tar(files))
    image = client.images.get(f"{own_tag}:1")
    assert size(image) == 300 and len(layers(image)) == 1


@pytest.mark.parametrize(
    "packed",
    [gzip.compress(FIRST), gzip.compress(FIRST[:512]) + gzip.compress(FIRST[512:])],
    ids=["one", "two members"],
)
def test_a_packed_layer(packed):
    """A layer that the engine keeps packed has the same files, and costs the same to pull, as the unpacked one."""
    plain, image = (saved_as(archive({"1.tar": first, "2.tar": SECOND})) for first in (FIRST, packed))
    assert size(image) == size(plain) == 520
    assert (
        compressed_size(image)
        == compressed_size(plain)
        == sum(len(gzip.compress(layer, 6)) for layer in (FIRST, SECOND))
    )


def test_of_several_platforms_our_own():
    """An archive may name an image of another platform first, whose layers are not there."""
    assert size(saved_as(archive(platforms=("theirs", "ours")))) == 520


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        (archive(left_out=["2.tar"]), "has not the layer 2.tar"),
        (archive(left_out=["manifest.json"]), "no manifest.json"),
        (archive()[:700], "unexpected end of data"),
        (b"", "empty file"),
    ],
    ids=["a layer", "the manifest", "the end", "everything"],
)
@pytest.mark.parametrize("read", [size, compressed_size])
def test_parts_that_are_not_there(saved, said, read):
    """An engine that has lost a part of an image sends the rest: no wrong number comes of it, and advice."""
    with pytest.raises(CourseError, match=said) as caught:
        read(saved_as(saved))
    assert "docker save course/stand-in:1" in str(caught.value) and "docker pull" in caught.value.remedy


def test_an_engine_that_refuses():
    """What it answered is passed on."""

    def refuse(*_):
        raise docker.errors.APIError("500", explanation="content digest sha256:12: not found")

    image = saved_as(b"")
    image.client.api.get_image = refuse
    with pytest.raises(CourseError, match="content digest sha256:12: not found"):
        size(image)


def test_a_layer_that_is_no_archive():
    """Packed in a way that Python cannot read: said, and not counted as nothing."""
    with pytest.raises(CourseError, match=r"1\.tar is no tar archive"):
        size(saved_as(archive({"1.tar": b"\x28\xb5\x2f\xfd" + bytes(600), "2.tar": SECOND})))
