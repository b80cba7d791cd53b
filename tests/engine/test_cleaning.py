"""The engine holds what it held before, plus what the course brought; after clean, exactly what it held before."""

import io
import json
import secrets
import tarfile
import time
from pathlib import Path

import apart
import pytest

from helpers import build, cleanup, labels, run
from helpers.engine.cleaning import remove_expired, remove_objects
from helpers.images import bases
from helpers.images.build import build_quietly

FOREIGN = """
import io, json, pathlib, shutil, tarfile, tempfile, threading, time
from helpers import base_image, build, cache_records, cleanup, compare, contents, labels, run, url
from helpers.engine import cleaning
from helpers.images import bases, buildkit
from helpers.images.trace import Trace
client, _ = engine.find("dockerd")

def snapshot():
    return {
        "containers": sorted((c.name, c.status) for c in client.containers.list(all=True)),
        "images": sorted((image["Id"], sorted(image["RepoTags"] or [])) for image in client.api.images(all=True)),
        "volumes": sorted(volume.name for volume in client.volumes.list()),
        "networks": sorted((network.id, network.name) for network in client.networks.list()),
        "build cache": sorted(record["ID"] for record in cache_records(client)),
    }

def from_text(text, tag=None):
    buffer = io.BytesIO(text.encode())
    return client.images.build(fileobj=buffer, tag=tag, rm=True)[0]

def folder(text):
    path = pathlib.Path(tempfile.mkdtemp(dir=os.environ["XDG_STATE_HOME"]))
    (path / "Dockerfile").write_text(text)
    return path

def learner_builds(text, tag):  # as the docker command does: the course learns nothing of it
    path = folder(text)
    buildkit.solve(client, Trace(), path, path / "Dockerfile", t=tag)

# an image of the learner's own, without a label of ours, under the very name that the course asks for
client.api.import_image(ARCHIVE, repository="debian", tag="trixie-slim")
from_text("FROM debian:trixie-slim\\nRUN echo mine > /mine\\n", "mine/app:1")
from_text("FROM debian:trixie-slim\\nRUN echo nameless > /mine\\n")
MINE = '''FROM debian:trixie-slim AS one
RUN --mount=type=cache,target=/kept echo mine > /kept/x; echo mine > /mine
COPY Dockerfile /copied
FROM scratch
COPY --from=one /copied /mine
'''
learner_builds(MINE, "mine/kit:1")
client.volumes.create("mine")
client.networks.create("mine")
volumes = {"mine": {"bind": "/data"}}
client.containers.run("mine/app:1", "sleep 600", detach=True, name="mine-running", stop_signal="KILL", volumes=volumes)
client.containers.run("mine/app:1", "true", detach=True, name="mine-stopped", volumes=["/anonymous"]).wait()
before = snapshot()
"""

COURSE = """
base = base_image(client, "debian:trixie-slim")
bases.debian_archive = lambda name, tar: shutil.copy(ARCHIVE, tar)
brought = base_image(client, "debian:bookworm-slim")
STAGES = '''FROM debian:trixie-slim AS build
RUN --mount=type=cache,target=/ours echo program > /program
FROM debian:bookworm-slim AS other
WORKDIR /made
RUN echo more > /more
COPY Dockerfile /copied
FROM scratch
COPY --from=build /program /program
COPY --from=other /more /more
COPY Dockerfile /
'''
image = build(client, folder(STAGES), tag="course/stages")
image = build(client, folder(STAGES.replace("more", "less")), tag="course/stages")  # now one is nameless
client.images.get("course/stages").tag("127.0.0.1:5000/course/stages")
for broken in ("RUN echo before > /before\\nRUN false\\n", "COPY nothing /\\n"):
    try:
        build(client, folder("FROM debian:trixie-slim\\n" + broken), tag="course/broken")
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
base_image(client, "debian:bookworm-slim")
build(client, folder(STAGES), tag="course/stages")
from_text("FROM debian:bookworm-slim\\nRUN echo thesis > /thesis\\n", "mine/thesis:1")
client.containers.create("course/stages", "x", name="mine-too")
cleanup(client)
kept = cleaning.clean(client)["kept"]
thesis = client.containers.run("mine/thesis:1", "cat /thesis", remove=True).decode()
names = [container.name for container in client.containers.list(all=True)]
base_image(client, "debian:bookworm-slim")
before_both = snapshot()
learner = threading.Thread(target=learner_builds, args=(MINE.replace("echo mine", "sleep 3; echo mine"), "mine/kit:2"))
learner.start()
time.sleep(1)
build(client, folder(STAGES.replace("more", "most")), tag="course/meanwhile")
learner.join()
both = snapshot()
cleaning.clean(client)
rest = snapshot()
print(json.dumps(dict(before=before, after=after, counts=counts, clean=clean, kept=kept, thesis=thesis, names=names,
                      before_both=before_both, both=both, rest=rest)))
"""


def small_system(client, tag, path):
    """Write a tar archive of a system that is one program, busybox: as good as Debian here, and quick."""
    image = build(client, bases.FOLDER / "hello-world", tag=tag)
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
def story(client, base, tmp_path_factory, state_homes):
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
    """The learner's things are as they were; only course/*, a base that was missing and build cache were added."""
    before, after = story["before"], story["after"]
    assert {"debian:trixie-slim", "mine/app:1", "mine/kit:1"} <= tags(before) and len(before["containers"]) == 2
    for kind in ("containers", "volumes", "networks"):
        assert after[kind] == before[kind], kind
    added = {"debian:bookworm-slim", "course/stages:latest", "127.0.0.1:5000/course/stages:latest"}
    assert tags(after) == tags(before) | added
    assert {image_id for image_id, _ in before["images"]} < {image_id for image_id, _ in after["images"]}
    assert set(before["build cache"]) < set(after["build cache"])


@apart.needs_root
def test_after_clean(story):
    """Exactly what was there before: names, ids, states, what builds have cached; failed builds are gone, too."""
    assert story["clean"] == story["before"] and len(story["before"]["build cache"]) > 5
    assert story["counts"]["images"] == 3 and story["counts"]["kept"] == []
    assert story["counts"]["cache records"] == len(story["after"]["build cache"]) - len(story["before"]["build cache"])


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
def test_two_builds_at_the_same_time(story):
    """What a learner's build cached while one of ours ran is not taken for ours."""
    before, both, rest = (set(story[when]["build cache"]) for when in ("before_both", "both", "rest"))
    assert len(both - before) > 10 and rest >= before
    learners = rest - before
    assert 4 <= len(learners) < len(both - before) - 5
    assert "mine/kit:2" in tags(story["rest"]) and "course/meanwhile:latest" not in tags(story["rest"])


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
        file = io.BytesIO(f"FROM debian:trixie-slim\nLABEL once={secrets.token_hex(8)}\n".encode())
        image = build_quietly(client, fileobj=file, tag=names[0])
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
