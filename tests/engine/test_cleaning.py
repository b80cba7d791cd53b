"""The engine holds what it held before, plus course/*; after clean, exactly what it held before."""

import io
import json
import secrets
import tarfile
import time
from pathlib import Path

import apart
import pytest

from helpers import base_image, build, cleanup, labels, run
from helpers.engine.cleaning import remove_expired, remove_objects
from helpers.images import bases

BASE = "course/debian:bookworm-slim"

FOREIGN = """
import io, json, tarfile, time
from helpers import base_image, build, cleanup, compare, contents, labels, run, url
from helpers.engine import cleaning
client, _ = engine.find("dockerd")

def snapshot():
    return {
        "containers": sorted((c.name, c.status) for c in client.containers.list(all=True)),
        "images": sorted((image.id, sorted(image.tags)) for image in client.images.list(all=True)),
        "volumes": sorted(volume.name for volume in client.volumes.list()),
        "networks": sorted((network.id, network.name) for network in client.networks.list()),
    }

def from_text(text, tag=None):
    buffer = io.BytesIO(text.encode())
    return client.images.build(fileobj=buffer, tag=tag, rm=True)[0]

# an image of the learner's own, without a label of ours, under the very name that the course asks for
client.api.import_image(ARCHIVE, repository="debian", tag="bookworm-slim")
from_text("FROM debian:bookworm-slim\\nRUN echo mine > /mine\\n", "mine/app:1")
from_text("FROM debian:bookworm-slim\\nRUN echo nameless > /mine\\n")
client.volumes.create("mine")
client.networks.create("mine")
volumes = {"mine": {"bind": "/data"}}
client.containers.run("mine/app:1", "sleep 600", detach=True, name="mine-running", stop_signal="KILL", volumes=volumes)
client.containers.run("mine/app:1", "true", detach=True, name="mine-stopped", volumes=["/anonymous"]).wait()
before = snapshot()
"""

COURSE = """
base = base_image(client, "debian:bookworm-slim")
def folder(text):
    import pathlib, tempfile
    path = pathlib.Path(tempfile.mkdtemp(dir=os.environ["XDG_STATE_HOME"]))
    (path / "Dockerfile").write_text(text)
    return path
STAGES = '''ARG BASE
FROM ${BASE} AS build
LABEL org.docker-course=1
RUN echo program > /program
FROM ${BASE} AS unlabelled
RUN echo more > /more
FROM scratch
LABEL org.docker-course=1
COPY --from=build /program /program
COPY --from=unlabelled /more /more
'''
image = build(client, folder(STAGES), tag="course/stages", base=base)
image = build(client, folder(STAGES.replace("more", "less")), tag="course/stages", base=base)  # now one is nameless
client.images.get("course/stages").tag("127.0.0.1:5000/course/stages")
for broken in ("RUN echo before > /before\\nRUN false\\n", "COPY nothing /\\n"):
    try:
        build(client, folder("ARG BASE\\nFROM ${BASE}\\n" + broken), tag="course/broken", base=base)
    except docker.errors.BuildError:
        pass
run(client, base, "true", remove=True)
run(client, base, "sleep 600", detach=True, ports={"80/tcp": None})
run(client, base, "true", detach=True, volumes=["/anonymous"])
try:
    run(client, base, "false")
except docker.errors.ContainerError:
    pass
contents(image)
compare({"stages": image}, compressed=True)
client.networks.create("course-net", labels=labels())
client.volumes.create("course-volume", labels=labels())
"""


STORY = f"""
{FOREIGN}
{COURSE}
cleanup(client)
after = snapshot()
counts = cleaning.clean(client)
clean = snapshot()
base = base_image(client, "debian:bookworm-slim")
build(client, folder(STAGES), tag="course/stages", base=base)
from_text("FROM course/debian:bookworm-slim\\nRUN echo thesis > /thesis\\n", "mine/thesis:1")
client.containers.create("course/stages", "x", name="mine-too")
cleanup(client)
kept = cleaning.clean(client)["kept"]
thesis = client.containers.run("mine/thesis:1", "cat /thesis", remove=True).decode()
names = [container.name for container in client.containers.list(all=True)]
print(json.dumps(dict(before=before, after=after, counts=counts, clean=clean, kept=kept, thesis=thesis, names=names)))
"""


def small_system(client, tag, path):
    """Write a tar archive of a system that is one program, busybox: as good as Debian here, and quick."""
    base = base_image(client, "debian:bookworm-slim")
    image = build(client, bases.FOLDER / "hello-world", tag=tag, base=base)
    container = client.containers.create(image, labels=labels())
    chunks, _ = container.get_archive("/busybox")
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as inside:
        program = inside.extractfile("busybox").read()
    container.remove()
    client.images.remove(tag, force=True)  # only the name, where another container is of it
    with tarfile.open(path, "w") as tar:
        entry = tarfile.TarInfo("bin/busybox")
        entry.size, entry.mode = len(program), 0o755
        tar.addfile(entry, io.BytesIO(program))
        for name in ("sh", "true", "false", "sleep", "cat"):
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return path


@pytest.fixture(scope="module")
def story(client, tmp_path_factory, state_homes):
    """Return what was seen on an engine of its own, with a learner's things on it, while the course came and went."""
    archive = small_system(
        client, f"course/test-{secrets.token_hex(4)}", tmp_path_factory.mktemp("archive") / "base.tar"
    )
    start = f"subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)\nARCHIVE = {str(archive)!r}\n"
    done = apart.python(start + STORY, XDG_STATE_HOME=state_homes())
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def tags(snapshot):
    """Return all names of images."""
    return {tag for _, names in snapshot["images"] for tag in names}


@apart.needs_root
def test_after_the_notebooks(story):
    """The learner's containers, images, volumes and networks are as they were; only course/* was added."""
    before, after = story["before"], story["after"]
    assert {"debian:bookworm-slim", "mine/app:1"} <= tags(before) and len(before["containers"]) == 2
    for kind in ("containers", "volumes", "networks"):
        assert after[kind] == before[kind], kind
    added = {"course/debian:bookworm-slim", "course/stages:latest", "127.0.0.1:5000/course/stages:latest"}
    assert tags(after) == tags(before) | added
    assert {image_id for image_id, _ in before["images"]} < {image_id for image_id, _ in after["images"]}


@apart.needs_root
def test_after_clean(story):
    """Exactly what was there before: names, ids, states; stages and failed builds are gone, too."""
    assert story["clean"] == story["before"]
    assert story["counts"]["images"] >= 5 and story["counts"]["kept"] == []


@apart.needs_root
def test_what_a_learner_made_from_an_image_of_the_course_stays(story):
    """An image built on course/…, and a container of one: kept, with what they need, and named."""
    assert story["thesis"] == "thesis\n"
    assert "course/stages:latest" in story["kept"]
    assert set(story["names"]) == {"mine-running", "mine-stopped", "mine-too"}


@apart.needs_root
def test_the_whole_command(state_home):
    """The private engine and all its data are gone, and the state folder with them."""
    done = apart.python("engine.find('dockerd')", XDG_STATE_HOME=state_home)
    assert done.returncode == 0, done.stderr
    done = apart.python("import helpers.__main__ as c; sys.exit(c.clean(None, None))", XDG_STATE_HOME=state_home)
    assert done.returncode == 0, done.stderr
    assert "the course's private engine and all its data" in done.stdout
    assert list(Path(state_home).iterdir()) == []


HOST_NETWORK = """
from helpers import engine, run

client, _ = engine.find("dockerd")
client.api.import_image(src=ARCHIVE, repository="course/small", tag="latest")
run(client, "course/small", "true", network_mode="host", remove=True)
"""


@apart.needs_root
def test_after_a_container_on_the_hosts_network(client, own_tag, state_home, tmp_path):
    """Such a container leaves a mount below the state folder; the whole command lets it go, too."""
    archive = small_system(client, own_tag, tmp_path / "base.tar")
    first = f"ARCHIVE = {str(archive)!r}\n{HOST_NETWORK}"
    code = f"subprocess.run([sys.executable, '-c', {first!r}], check=True)\n"
    code += "print('mounted:', 'netns/default' in open('/proc/self/mountinfo').read())\n"
    code += "import helpers.__main__ as c; sys.exit(c.clean(None, None))"
    done = apart.python(code, XDG_STATE_HOME=state_home)
    assert done.returncode == 0 and "mounted: True" in done.stdout, done.stdout + done.stderr
    assert list(Path(state_home).iterdir()) == []


def test_a_network_in_use_is_left_for_later(client, base, own):
    """One that somebody's container still uses is no error; it goes with the container."""
    network = client.networks.create(f"course-in-use-{secrets.token_hex(4)}", labels=labels())
    other = client.containers.run(base, ["sleep", "600"], detach=True, network=network.name)
    try:
        assert remove_objects(client, own["label"])["networks"] == 0
    finally:
        other.remove(force=True)
    assert remove_objects(client, own["label"])["networks"] == 1


def test_expired_containers_are_removed(client, base, own):
    """A container whose hour is over goes when a notebook connects; one whose hour is not over stays."""
    past = {"org.docker-course.ends": str(int(time.time()) - 1)}
    run(client, base, ["sleep", "600"], detach=True, labels=past)
    fresh = run(client, base, ["sleep", "600"], detach=True)
    remove_expired(client)
    assert [container.id for container in client.containers.list(all=True, filters=own)] == [fresh.id]


@pytest.fixture
def pushed_names(client, base):
    """Return a function that gives an image of its own further names; in the end, all of them are taken away."""
    made = []

    def named(*names):
        file = io.BytesIO(f"FROM {BASE}\nLABEL org.docker-course=1 once={secrets.token_hex(8)}\n".encode())
        image = client.images.build(fileobj=file, tag=names[0], rm=True)[0]
        made.append(image.id)
        for name in names[1:]:
            image.tag(name)

    yield named
    for image_id in made:
        client.api.remove_image(image_id, force=True)


def test_a_registry_that_is_gone_leaves_no_name(client, base, pushed_names):
    """What an ended notebook had pushed keeps its other name; an image with no other keeps the one it has."""
    own = f"course/test-{secrets.token_hex(4)}:latest"
    gone, only = f"127.0.0.1:1/{own}", f"127.0.0.1:1/{own}".replace("test-", "test-only-")
    registry = run(client, base, ["sleep", "600"], detach=True, ports={"5000/tcp": None})
    registry.reload()
    there = f"127.0.0.1:{registry.ports['5000/tcp'][0]['HostPort']}/{own}"
    pushed_names(own, gone, there)
    pushed_names(only)
    remove_expired(client)
    names = {name for image in client.api.images() for name in image["RepoTags"] or ()}
    assert names >= {there, only, own} and gone not in names


def test_cleanup_touches_this_notebook_only(client, base, own, monkeypatch, capsys):
    """Two notebooks share an engine: each removes its own."""
    ours = run(client, base, ["sleep", "600"], detach=True)
    other = f"99_other_{secrets.token_hex(4)}"
    with monkeypatch.context() as patch:
        patch.setenv("JPY_SESSION_NAME", f"notebooks/{other}.ipynb")
        theirs = run(client, base, ["sleep", "600"], detach=True)
        assert theirs.labels["org.docker-course.notebook"] == other
        cleanup(client)
    theirs_left = client.containers.list(all=True, filters={"label": f"org.docker-course.notebook={other}"})
    assert theirs_left == [] and client.containers.list(all=True, filters=own) == [ours]
    assert "removed: containers 1, networks 0, volumes 0" in capsys.readouterr().out
