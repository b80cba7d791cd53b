"""The engine's two builders, timed on the same folder: BuildKit, and the older one, which docker-py still calls."""

import contextlib
import re
import time
from pathlib import Path

import docker

from helpers import state
from helpers.engine.gone import GONE
from helpers.errors import engine_gone, explain
from helpers.host.network import proxies_of
from helpers.images.build import build_quietly, build_steps, remember
from helpers.images.dockerfile import instructions
from helpers.progress import progress


def measure_builders(client: docker.DockerClient, path: str | Path) -> list[dict]:
    """
    Build a folder by BuildKit and by the older builder, both without their caches, and return a row for each.

    Keys: ``name``, ``seconds``, ``stages_built``. The images are ``course/NAME`` and ``course/NAME-older``, after the
    folder. The older builder leaves an image without a name for each stage: ``python3 -m helpers clean`` removes them.
    API calls: as ``build``; then the SDK's ``client.images.build``.

    Raises:
        docker.errors.BuildError: a step failed; with what to do next.
        CourseError: there is no such folder.

    Example::

        plot_bars(measure_builders(client, "apps/stages"), "seconds")
    """
    tag, rows = f"course/{Path(path).resolve().name.lower()}", []
    ways = {"BuildKit": _stages_by_buildkit, "the older builder": _stages_by_older_builder}
    with progress(total=len(ways), desc=f"building {path}", unit="build") as bar:
        for name, stages_by in ways.items():
            bar.set_postfix_str(name)
            began = time.monotonic()
            count = stages_by(client, path, tag)
            rows.append({"name": name, "seconds": time.monotonic() - began, "stages_built": count})
            bar.update(1)
    return rows


def _stages_by_buildkit(client, path, tag):
    steps = build_steps(build_quietly(client, path, tag, nocache=True))
    return len({row["stage"] for row in steps})


def _stages_by_older_builder(client, path, tag):
    there, log = {image["Id"] for image in client.api.images(all=True)}, ()
    options = {"buildargs": proxies_of(client), "use_config_proxy": False, "labels": {state.LABEL: "1"}}
    options |= {"nocache": True, "rm": True, "forcerm": True}
    try:
        _, log = client.images.build(path=str(path), tag=f"{tag}-older", **options)
    except docker.errors.BuildError as error:
        log = error.build_log
        remedy = "BuildKit has built it: does the Dockerfile use what only BuildKit knows, such as RUN --mount?"
        raise explain(error, f"the older builder on {path}", error.msg, remedy) from None
    except GONE as error:
        raise engine_gone(error, f"the older builder on {path}") from None
    except KeyboardInterrupt:
        remember(_made_of(client, Path(path, "Dockerfile").read_text(encoding="utf-8", errors="replace"), there))
        raise
    finally:
        log = list(log)
        remember([line["aux"]["ID"] for line in log if "ID" in line.get("aux", {})])  # one for each step that it ran
    return sum(bool(re.match(r"Step \d+/\d+ : FROM ", line.get("stream", ""))) for line in log)


def _made_of(client, text, there):
    """Return the ids of images without a name, not there before, whose last step is a RUN of a Dockerfile."""
    commands = [row["arguments"] for row in instructions(text) if row["keyword"] == "RUN"]
    found = client.api.images(all=True)
    unnamed = {image["Id"] for image in found if image["RepoTags"] in (None, [], ["<none>:<none>"])}
    made = []
    for image_id in unnamed - there:
        with contextlib.suppress(docker.errors.ImageNotFound):  # another build's, removed meanwhile
            last = " ".join((client.api.history(image_id) or [{"CreatedBy": ""}])[0]["CreatedBy"].split())
            made += [image_id for command in commands if command in last][:1]
    return made
