"""Base images under their own names: there already, pulled from a registry, or made from Debian packages."""

import json
import re
import tempfile
from pathlib import Path

import docker

from helpers import state
from helpers.engine.gone import GONE
from helpers.errors import CourseError, engine_gone, refusal
from helpers.host import mmdebstrap
from helpers.images.build import build
from helpers.progress import progress

FOLDER = Path(__file__).with_name("recipes")
RECIPES = {  # base image → what makes it: a script for mmdebstrap, or a folder with a Dockerfile
    "debian:trixie-slim": "debian/slim.sh",
    "debian:bookworm-slim": "debian/slim.sh",
    "hello-world": "hello-world",
    "registry:2": "registry",
    "python:3.13-slim-trixie": "python",
    "gcr.io/distroless/python3-debian13": "distroless/python3-debian13",
}
FROM = "debian:trixie-slim"  # what the Dockerfiles of the recipes begin with


def base_image(client: docker.DockerClient, name: str) -> docker.models.images.Image:
    """
    Make sure that the engine has a base image under its own name, print where it came from, and return it.

    An image that is there already is used; else it is pulled from its registry; else, where no registry answers,
    it is made from Debian packages (``helpers/images/recipes`` has how), with the course's label. ``python3 -m helpers
    clean`` removes those that the course has brought, as far as nobody uses them.
    SDK calls: ``client.images.get``, ``client.api.pull``, ``client.api.import_image``.

    Raises:
        CourseError: not here, not in a registry, and no recipe for it; with what was tried.

    Example::

        base = base_image(client, "debian:trixie-slim")
    """
    try:
        image, origin = _found(client, name) or _pulled(client, name) or _made(client, name)
    except GONE as error:
        raise engine_gone(error, f"looking for the image {name}") from None
    print(f"{name}: {origin}")
    return image


def _found(client, name):
    """Return an image that is there, and who brought it; else None."""
    try:
        image = client.images.get(name)
    except docker.errors.ImageNotFound:
        return None
    except docker.errors.APIError as error:
        remedy = "write the name in lower case, such as debian:trixie-slim"
        raise CourseError(f"looking for the image {name}", error.explanation, remedy) from error
    made = " (made by the course from Debian packages)" if state.BASE_LABEL in (image.labels or {}) else ""
    return image, f"here already{made}"


def _pulled(client, name):
    """Return an image from its registry, and its origin; or None where that failed and there is a recipe."""
    try:
        pull(client, name)
    except docker.errors.APIError as error:
        said = error.explanation or str(error)
        if name in RECIPES:
            print(f"{name}: could not be pulled ({said.strip()}); making it from Debian packages, about half a minute")
            return None
        remedy = f"check the name. Without a registry, these can be made: {', '.join(RECIPES)}"
        raise CourseError(f"docker pull {name}", said, remedy) from error
    return _brought(client, name), "pulled from its registry"


def _made(client, name):
    """Make an image from Debian packages by its recipe; return it and its origin."""
    recipe = RECIPES[name]
    with state.Lock(state.folder() / f"base-{re.sub(r'[^a-z0-9]', '-', name)}.lock"):
        if not client.images.list(name):  # another notebook may have made it meanwhile
            if recipe.endswith(".sh"):
                with tempfile.TemporaryDirectory(prefix="docker-course-") as work:
                    load_archive(client, name, debian_archive(name, Path(work) / "root.tar"))
            else:
                base_image(client, FROM)
                build(client, FOLDER / recipe, tag=name, labels={state.BASE_LABEL: "1"})
    return _brought(client, name), "made from Debian packages"


def _brought(client, name):
    """Return an image that the course has brought, and remember that for ``clean``."""
    image = client.images.get(name)
    with (state.folder() / "base-images").open("a") as file:
        file.write(f"{name} {image.id}\n")
    return image


def pull(client, name):
    """
    Pull an image from its registry with a progress bar in bytes, layer by layer.

    SDK call: ``client.api.pull(stream=True, decode=True)``.

    Raises:
        docker.errors.APIError: the registry, or the way to it, said no.

    Example::

        pull(client, "debian:trixie-slim")
    """
    repository, tag = docker.utils.parse_repository_tag(name)
    layers, ready = {}, set()
    with progress(total=0, desc=f"pulling {name}", unit="B", unit_scale=True) as bar:
        for event in client.api.pull(repository, tag=tag or "latest", stream=True, decode=True):
            if said := refusal(event):
                raise docker.errors.APIError(f"docker pull {name}", explanation=said)
            layer, detail = event.get("id"), event.get("progressDetail") or {}
            if event.get("status") == "Downloading" and detail.get("total"):
                layers[layer] = (detail.get("current", 0), detail["total"])  # 0 is left out
            elif event.get("status") in ("Download complete", "Pull complete", "Already exists"):
                ready.add(layer)
                layers[layer] = (layers.get(layer, (0, 0))[1],) * 2
            bar.total = sum(total for _, total in layers.values())
            bar.set_postfix_str(f"{len(ready)} of {len(layers)} layers", refresh=False)
            bar.update(sum(done for done, _ in layers.values()) - bar.n)


def debian_archive(name, tar):
    """Make the root file system of a Debian base image, such as ``debian:trixie-slim``, as a tar archive."""
    suite = name.rpartition(":")[2].removesuffix("-slim")
    return mmdebstrap.slim_archive(suite, tar, (FOLDER / RECIPES[name]).read_text())


def load_archive(client, tag, tar):
    """Import a tar archive as an image that says it is the course's."""
    with progress(total=None, desc=f"importing {tag}"):
        repository, _, name = tag.partition(":")
        changes = ['CMD ["bash"]', f"LABEL {state.BASE_LABEL}=1"]
        answer = client.api.import_image(src=str(tar), repository=repository, tag=name, changes=changes)
    if said := refusal(json.loads(answer.strip().splitlines()[-1])):
        raise CourseError(f"docker import {tag}", said, "free disk space? python3 -m helpers doctor")
