"""Both builders, timed: how many stages each builds, and what the older one leaves is found again by clean."""

import json
import secrets

import apart
import docker
import pytest

from helpers import measure_builders
from helpers.measure import builders

STORY = r"""
import json, pathlib
from helpers import measure_builders
from helpers.engine import cleaning
client, _ = engine.find("dockerd")
folder = pathlib.Path(os.environ["XDG_STATE_HOME"]) / "two"
folder.mkdir()
(folder / "word").write_text("word\n")

def write(text):
    (folder / "Dockerfile").write_text(text)

def ids(**options):
    return sorted(image["Id"] for image in client.api.images(**options))

write("FROM scratch\nCOPY word /mine\n")
client.images.build(path=str(folder), rm=True)  # a learner's own, without a name
before = ids(all=True)
write("FROM scratch AS one\nCOPY word /one\nFROM scratch AS unused\nCOPY word /unused\n"
      "FROM scratch\nCOPY --from=one /one /two\n")
rows = [measure_builders(client, folder) for _ in range(2)][-1]  # the second takes the name from the first
nameless = len(set(ids(filters={"dangling": True})) - set(before))
cleaning.clean(client)
print(json.dumps(dict(rows=rows, nameless=nameless, before=before, after=ids(all=True))))
"""


@apart.needs_root
def test_nothing_nameless_is_left_after_cleaning(state_home):
    """The older builder builds a stage that nobody needs, and leaves images without a name; clean finds just these."""
    done = apart.python(
        f"subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)\n{STORY}", XDG_STATE_HOME=state_home
    )
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert [(row["name"], row["stages_built"]) for row in seen["rows"]] == [("BuildKit", 2), ("the older builder", 3)]
    assert all(row["seconds"] > 0 for row in seen["rows"])
    assert seen["nameless"] >= 4  # two stages, twice
    assert seen["after"] == seen["before"] and len(seen["before"]) == 1


def test_an_interrupted_build_is_remembered(client, base, monkeypatch, tmp_path):
    """What the older builder has made until then is found again, and nothing else that has no name."""
    folder, word = tmp_path / f"test-{secrets.token_hex(4)}", secrets.token_hex(8)
    folder.mkdir()
    stages = f"FROM {base.tags[0]} AS one\nRUN echo {word} > /one\nFROM scratch\nCOPY --from=one /one /one\n"
    (folder / "Dockerfile").write_text(stages)
    remembered, tag, build = [], f"course/{folder.name}-older", docker.models.images.ImageCollection.build

    def interrupted(self, **arguments):
        build(self, **arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(builders, "remember", remembered.extend)
    monkeypatch.setattr(docker.models.images.ImageCollection, "build", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure_builders(client, folder)
    for name in (tag, tag.removesuffix("-older")):
        client.images.remove(name)
    [stage] = remembered
    assert word in client.images.get(stage).history()[0]["CreatedBy"]
    client.images.remove(stage)
