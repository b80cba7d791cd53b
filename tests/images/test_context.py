"""
What is sent of a folder: held against what the docker command sends, file by file.

``listings.json`` records what came into images by docker 28.5 with buildx 0.29; where a docker command with BuildKit
is on this computer, it is asked, too, and the record is held against its answer.
"""

import functools
import io
import json
import os
import tarfile
from pathlib import Path

import contexts
import docker
import docker_command
import pytest
from apart import needs_root
from samples import file_in, folder_of

from helpers import build, run, stages
from helpers.errors import CourseError
from helpers.images import buildkit
from helpers.images.build import build_quietly
from helpers.images.context import _matcher, diff_copy
from helpers.images.trace import Trace

RECORD = Path(__file__).with_name("listings.json")
NOT_ASKED = docker.DockerClient("unix:///nowhere.sock", version="1.41")
NAMES = [*contexts.PATTERNS, *contexts.OTHERS]


@functools.cache
def recorded():
    """Return the listings of the docker command, by case."""
    return json.loads(RECORD.read_text(encoding="utf-8"))


def listing(image):
    """Return a line for each file of an image's layers: kind, mode, owner, size, name, link."""
    lines = []
    with tarfile.open(fileobj=io.BytesIO(b"".join(image.save()))) as saved:
        texts = {one.name: saved.extractfile(one).read() for one in saved if one.isfile()}
    for layer in json.loads(texts["manifest.json"])[0]["Layers"]:
        with tarfile.open(fileobj=io.BytesIO(texts[layer])) as files:
            lines += [_line(one) for one in files]
    return sorted(set(lines))


def _line(entry):
    owner = f"{entry.uid}:{entry.gid}"
    return f"{entry.type.decode()} {entry.mode & 0o7777:o} {owner} {entry.size} {entry.name} {entry.linkname}".rstrip()


def expected(client, name):
    """Return what is recorded, without the pipe where the engine's COPY passes over pipes: before Docker 23."""
    old = not docker.utils.version_gte(client.version()["ApiVersion"], "1.42")
    return [line for line in recorded()[name] if not (old and line.endswith(" fifo"))]


@pytest.fixture(autouse=True)
def usual_modes():
    """Have files made as most people's are."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize("name", NAMES)
def test_the_image_is_the_docker_commands(client, own_tag, tmp_path, name):
    """Every file with kind, mode, owner, size and link, and no file more."""
    folder = tmp_path / "context"
    dockerfile = contexts.made(folder, name)
    arguments = {} if dockerfile.lower() == "dockerfile" else {"dockerfile": dockerfile}
    assert listing(build_quietly(client, folder, own_tag, **arguments)) == expected(client, name)
    if docker_command.can_build():
        client.images.remove(own_tag)
        more = ["--file", str(folder / dockerfile)] if arguments else []
        done = docker_command.build(client, folder, own_tag, *more)
        assert done.returncode == 0, done.stderr
        assert listing(client.images.get(own_tag)) == expected(client, name)


@pytest.mark.parametrize("name", contexts.BAD_PATTERNS)
def test_a_pattern_that_is_none(client, tmp_path, name):
    """Refused by both, and not taken in silence; ours says what to write."""
    folder = tmp_path / "context"
    contexts.made(folder, name)
    with pytest.raises((docker.errors.BuildError, CourseError)) as caught:
        build(client, folder, tag="course/test-pattern")
    said = "\n".join(getattr(caught.value, "__notes__", [])) or str(caught.value)
    assert "pattern" in said and "dockerignore" in said and r"\[" in said
    if docker_command.can_build():
        assert docker_command.build(client, folder, "course/test-pattern").returncode != 0


@pytest.mark.parametrize("name", contexts.FAILING)
def test_a_link_that_leads_nowhere(client, tmp_path, name):
    """COPY of one whose target is not in the folder stops, by both; nothing from outside comes in."""
    folder = tmp_path / "context"
    folder.mkdir()
    contexts.links(folder)
    (tmp_path / "outside").write_text("not for an image\n")
    (folder / "Dockerfile").write_text(f"FROM scratch\n{contexts.FAILING[name]}")
    with pytest.raises(docker.errors.BuildError, match=r"not found|too many"):
        build(client, folder, tag="course/test-nowhere")
    if docker_command.can_build():
        assert docker_command.build(client, folder, "course/test-nowhere").returncode != 0


def test_a_name_that_is_not_utf_8(client, tmp_path, own_tag):
    """The docker command stops with gRPC's words; ours names the file, unless .dockerignore leaves it out."""
    folder_of(tmp_path, Dockerfile=contexts.ALL)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).write_text("x")
    with pytest.raises(CourseError) as caught:
        build(client, tmp_path, tag=own_tag)
    assert r"b'caf\xe9'" in str(caught.value) and "rename it" in str(caught.value)
    (tmp_path / ".dockerignore").write_text("caf*\n")
    assert not [line for line in listing(build(client, tmp_path, tag=own_tag)) if "caf" in line]


@needs_root
@pytest.mark.parametrize("name", ["secret", "sub"])
@pytest.mark.parametrize("mode", [0, 0o644], ids=oct)
def test_what_may_not_be_read(tmp_path, name, mode):
    """A file or a folder of another user is named; the docker command would send an empty file, and say nothing."""
    folder = tmp_path / "context"
    folder.mkdir()
    contexts.write(folder)
    (folder / name).chmod(mode if name == "sub" else 0)  # a folder that may be listed, and not entered
    for call in (refused, lambda top: refused(top, "secret", "sub/a")):
        said = as_nobody(folder, call)
        assert f"sending {name}" in said and "Permission denied" in said and "dockerignore" in said


@needs_root
@pytest.mark.parametrize(("name", "mode"), [("Dockerfile", 0o600), (".", 0o700), (".", 0o744), (".", 0o711)], ids=str)
@pytest.mark.parametrize("call", [lambda folder: build_quietly(NOT_ASKED, folder), stages], ids=["build", "stages"])
def test_a_build_of_what_may_not_be_read(tmp_path, name, mode, call):
    """A Dockerfile, or the folder itself, of another user: a sentence, and no bare PermissionError."""
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\n")
    (folder / name).chmod(mode)
    said = as_nobody(folder, refused if mode == 0o711 else call)  # which lets in who knows the names
    assert said.startswith("CourseError") and "Permission denied" in said and "chmod u+rX" in said


def as_nobody(folder, call):
    """Return the error of a call on a folder by another user, in a process of its own: who runs this may read all."""
    opened = os.open(folder, os.O_RDONLY)  # the way there is not another user's
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            call(f"/proc/self/fd/{opened}")
        except BaseException as error:
            os.write(writes, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(opened)
    os.close(writes)
    with os.fdopen(reads, encoding="utf-8") as said:
        os.waitpid(child, 0)
        return said.read()


def refused(folder, *followed):
    """Send a folder as a whole, or paths of it, and each file of it."""
    headers = [("dir-name", "context"), *(("followpaths", path) for path in followed)]
    send, answer = diff_copy({"context": folder}, {})(headers)
    for number in range(len([*send])):
        _ = [*answer(bytes([8, 1, 24, number]))]


def labels(client, folder, text=None, name="Dockerfile"):
    """Return the labels of what comes of a Dockerfile, or of a text in its place; the image is removed."""
    trace = Trace()
    buildkit.solve(client, trace, folder, folder / name, text)
    image = client.images.get(trace.image_id)
    client.images.remove(image.id)
    return image.labels


def test_a_text_of_the_same_length(client, tmp_path):
    """It is fetched, though path, size and time of the file on the disk are as they were."""
    folder_of(tmp_path, Dockerfile="FROM scratch\nLABEL a=1\n")
    found = [labels(client, tmp_path, f"FROM scratch\nLABEL a={value}\n".encode())["a"] for value in "123"]
    assert found == ["1", "2", "3"] and labels(client, tmp_path)["a"] == "1"


@pytest.mark.parametrize("target", ["sub/real", "../outside", "..data"])
def test_a_dockerfile_that_is_a_link(client, tmp_path, target):
    """The text in its place is what is built, also where the link leads out of the folder; the file on disk, else."""
    folder = tmp_path / "context"
    (folder / "sub").mkdir(parents=True)
    (folder / target).write_text("FROM scratch\nLABEL a=file\n")
    (folder / "Dockerfile").symlink_to(target)
    assert labels(client, folder, b"FROM scratch\nLABEL a=text\n") == {"a": "text"}
    if target == "../outside":  # as by the docker command: only what is in the folder is sent
        with pytest.raises(docker.errors.BuildError, match=r"no such file|failed to read dockerfile"):
            labels(client, folder)
    else:
        assert labels(client, folder) == {"a": "file"}
    image = build_quietly(client, folder)  # which reads the text itself
    assert image.labels["a"] == "file"
    client.images.remove(image.id)


def test_times(client, own_tag, tmp_path):
    """A file keeps its own, also one after 2038."""
    folder_of(tmp_path, Dockerfile=contexts.ALL, old="1", new="2")
    for name, seconds in {"old": 0, "new": 2**33}.items():
        os.utime(tmp_path / name, (seconds, seconds))
    image = build(client, tmp_path, tag=own_tag)
    container = client.api.create_container(image.id, command=["-"], labels={"org.docker-course": "1"})["Id"]
    try:
        found = {}
        for name in ("old", "new"):
            chunks, _ = client.api.get_archive(container, f"/{name}")
            with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
                found[name] = archive.next().mtime
        assert found == {"old": 0, "new": 2**33}
    finally:
        client.api.remove_container(container)


def test_a_large_file(client, own_tag, tmp_path):
    """Many times as large as what goes in one piece, or without an answer."""
    content = os.urandom(20_000_000)
    image = build(client, folder_of(tmp_path, Dockerfile="FROM scratch\nCOPY large /\n", large=content), tag=own_tag)
    assert file_in(client, image, "/large") == content


def test_only_what_is_needed_is_sent(client, own_tag, tmp_path, monkeypatch):
    """A folder that no COPY names is not even opened; of what an earlier build sent, only what changed is sent."""
    folder_of(tmp_path, Dockerfile="FROM scratch\nCOPY a b /\n", a="1", b="2")
    (tmp_path / "never" / "needed").mkdir(parents=True)
    (tmp_path / "never" / "file").write_text("3")
    opened, scanned, read, look = [], [], Path.open, os.scandir

    def watched(path, *arguments, **options):
        opened.append(path.name)
        return read(path, *arguments, **options)

    def watched_scan(path):
        scanned.append(Path(path).name)
        return look(path)

    monkeypatch.setattr(Path, "open", watched)
    monkeypatch.setattr("helpers.images.context.os.scandir", watched_scan)
    build_quietly(client, tmp_path, own_tag)
    assert {"a", "b"} <= set(opened) and "file" not in opened and "never" not in scanned
    opened.clear()
    (tmp_path / "b").write_text("changed")
    image = build_quietly(client, tmp_path, own_tag)
    assert "b" in opened and "a" not in opened
    assert file_in(client, image, "/b") == b"changed"


def test_a_step_that_mounts_the_folder(client, base, own_tag, tmp_path):
    """RUN --mount=type=bind sees what COPY would take."""
    text = "FROM debian:trixie-slim\nRUN --mount=target=/here cd /here && find . | sort > /found\n"
    folder_of(tmp_path, Dockerfile=text, a="1", b="2", __dockerignore="b\n")
    image = build(client, tmp_path, tag=own_tag)
    assert run(client, image, ["cat", "/found"], remove=True) == b".\n./.dockerignore\n./Dockerfile\n./a\n"


@pytest.mark.parametrize(
    ("pattern", "matched", "others"),
    [
        ("a", ["a"], ["A", "ab", "x/a"]),
        ("*", ["a", ".a"], ["a/b"]),
        ("**", ["a", "a/b/c"], []),
        ("**/a", ["a", "x/a", "x/y/a"], ["ba", "a/b"]),
        ("**a", ["a", "ba", "x/ba"], ["ab"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "b/a"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab"]),
        ("a**", ["a", "ab", "ab/c"], ["ba"]),
        ("a.b", ["a.b"], ["axb"]),
        ("a?c*", ["abc", "abcd"], ["a/c", "abc/d"]),
        ("[a-c]x", ["ax", "cx"], ["dx", "-x"]),
        ("[^a]x", ["bx", "^x"], ["ax"]),
        ("[!a]x", ["ax", "!x"], ["bx"]),
        (r"\*", ["*"], ["a"]),
        (r"\[a\]", ["[a]"], ["a"]),
        ("a+(b)|{c}$*", ["a+(b)|{c}$", "a+(b)|{c}$d"], ["aab"]),
        ("[[]*", ["[", "[a"], ["a"]),
    ],
)
def test_patterns(pattern, matched, others):
    """One by one, as github.com/moby/patternmatcher has them in its own tests."""
    assert [name for name in matched + others if _matcher(pattern)(name)] == matched
