"""The engine holds what it held before, plus course/*; after clean, exactly what it held before."""

import json
import time
from pathlib import Path

import apart
import pytest

from helpers import cleanup, run
from helpers.cleaning import remove_expired

ROOT = Path(__file__).parents[1]

FOREIGN = """
import io, json, tarfile, time
from helpers import base_image, build, cleaning, cleanup, compare, contents, run, url
from helpers.containers import labels
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

# a Debian of the learner's own, without a label of ours, under the very name that the course asks for
(image,) = client.images.load(open(ARCHIVE, "rb"))
container = client.containers.create(image, "true")
client.api.import_image_from_data(b"".join(container.export()), repository="debian", tag="bookworm-slim")
container.remove()
client.images.remove(image.tags[0])
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


@pytest.fixture
def archive(base, tmp_path):
    """Return the Debian image as a file."""
    path = tmp_path / "base.tar"
    with path.open("wb") as file:
        file.writelines(base.save(named=base.tags[0]))
    return path


def played(archive, state_home, code):
    """Run code on an engine of its own with a learner's things on it; return what it printed last, as JSON."""
    start = "import subprocess; subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)\n"
    done = apart.python(f"{start}ARCHIVE = {str(archive)!r}\n{FOREIGN}{code}", XDG_STATE_HOME=state_home)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@apart.needs_root
def test_inventory(archive, state_home):
    """Before, after cleanup, after clean: the learner's containers, images, volumes and networks are as they were."""
    code = COURSE + "cleanup(client); after = snapshot()\ncounts = cleaning.clean(client)\n"
    code += "print(json.dumps([before, after, snapshot(), counts]))"
    before, after, clean, counts = played(archive, state_home, code)
    assert {"debian:bookworm-slim", "mine/app:1"} <= {tag for _, tags in before["images"] for tag in tags}
    for kind in ("containers", "volumes", "networks"):
        assert after[kind] == before[kind], kind
    mine = {tag for _, tags in before["images"] for tag in tags}
    added = {tag for _, tags in after["images"] for tag in tags} - mine
    assert mine <= {tag for _, tags in after["images"] for tag in tags}
    assert added == {"course/debian:bookworm-slim", "course/stages:latest", "127.0.0.1:5000/course/stages:latest"}
    assert {image_id for image_id, _ in before["images"]} < {image_id for image_id, _ in after["images"]}
    assert clean == before
    assert counts["images"] >= 5 and counts["kept"] == []


@apart.needs_root
def test_what_a_learner_made_from_an_image_of_the_course_stays(archive, state_home):
    """An image built on course/…, and a container of one: kept, with what they need, and named."""
    code = (
        COURSE
        + """
from_text("FROM course/debian:bookworm-slim\\nRUN echo thesis > /thesis\\n", "mine/thesis:1")
client.containers.create("course/stages", "x", name="mine-too")
cleanup(client)
counts = cleaning.clean(client)
run_it = client.containers.run("mine/thesis:1", "cat /thesis", remove=True).decode()
print(json.dumps([run_it, counts["kept"], [c.name for c in client.containers.list(all=True)]]))
"""
    )
    said, kept, names = played(archive, state_home, code)
    assert said == "thesis\n"
    assert "course/stages:latest" in kept
    assert {"mine-running", "mine-stopped", "mine-too"} == set(names)


@apart.needs_root
def test_the_whole_command(state_home):
    """The private engine and all its data are gone, and the state folder with them."""
    done = apart.python("engine.find('dockerd')", XDG_STATE_HOME=state_home)
    assert done.returncode == 0, done.stderr
    done = apart.python("import helpers.__main__ as c; sys.exit(c.clean(None, None))", XDG_STATE_HOME=state_home)
    assert done.returncode == 0, done.stderr
    assert "the course's private engine and all its data" in done.stdout
    assert list(Path(state_home).iterdir()) == []


def test_expired_containers_are_removed(client, base):
    """A container whose hour is over goes when a notebook connects; one whose hour is not over stays."""
    over = run(
        client, base, ["sleep", "600"], detach=True, labels={"org.docker-course.ends": str(int(time.time()) - 1)}
    )
    fresh = run(client, base, ["sleep", "600"], detach=True)
    remove_expired(client)
    left = {container.id for container in client.containers.list(all=True)}
    assert over.id not in left and fresh.id in left


def test_cleanup_touches_this_notebook_only(client, base, monkeypatch, capsys):
    """Two notebooks share an engine: each removes its own."""
    ours = run(client, base, ["sleep", "600"], detach=True)
    name = ours.labels["org.docker-course.notebook"]
    monkeypatch.setenv("JPY_SESSION_NAME", "notebooks/99_other.ipynb")
    theirs = run(client, base, ["sleep", "600"], detach=True)
    assert theirs.labels["org.docker-course.notebook"] == "99_other"
    cleanup(client)
    left = {container.id for container in client.containers.list(all=True)}
    monkeypatch.setenv("JPY_SESSION_NAME", name)
    assert theirs.id not in left and ours.id in left
    assert "removed: containers 1, networks 0, volumes 0" in capsys.readouterr().out
