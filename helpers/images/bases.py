"""Base images: there already, pulled from a registry, or made from Debian packages."""

import json
import re
import tempfile
from pathlib import Path

import docker
import requests

from helpers import engine, state
from helpers.errors import CourseError, engine_gone
from helpers.host import mmdebstrap, settings
from helpers.images.build import build
from helpers.progress import progress

FOLDER = Path(__file__).with_name("recipes")
RECIPES = {  # base image → what makes it: a script for mmdebstrap, or a folder with a Dockerfile
    "debian:bookworm-slim": "debian/slim.sh",
    "debian:trixie-slim": "debian/slim.sh",
    "hello-world": "hello-world",
    "registry:2": "registry",
    "python:3.11-slim-bookworm": "python",
    "gcr.io/distroless/python3-debian12": "distroless/python3-debian12",
}
HOST_SETTINGS = """\
ARG BASE
FROM ${BASE}
LABEL org.docker-course=1
COPY . /etc/
"""


def base_image(client: docker.DockerClient, name: str, with_host_settings: bool = False) -> docker.models.images.Image:
    """
    Return a base image as ``course/<name>``, and print where it came from.

    An image that is there already is used; else it is pulled from its registry; else, where no registry answers,
    it is made from Debian packages (``helpers/images/recipes`` has how). With ``with_host_settings``, this
    computer's certificate authorities and pip settings are added as a layer on top, so that ``pip`` works in a build
    behind a proxy that inspects TLS; where this computer has none, the plain image is returned.
    SDK calls: ``client.images.get``, ``client.api.pull``, ``image.tag``, ``client.api.import_image``.

    Raises:
        CourseError: not here, not in a registry, and no recipe for it; with what was tried.

    Example::

        base = base_image(client, "debian:bookworm-slim")
    """
    tag = _course_name(name)
    try:
        image, origin = _found(client, name, tag) or _pulled(client, name, tag) or _made(client, name, tag)
    except requests.exceptions.ConnectionError as error:
        raise engine_gone(error, f"looking for the image {name}") from None
    print(f"{tag}: {origin}")
    if not with_host_settings:
        return image
    image, said = add_host_settings(client, image, tag)
    print(said)
    return image


def _course_name(name):
    """Return ``course/…`` for a name, without the registry that it may begin with."""
    repository, tag = docker.utils.parse_repository_tag(name)
    registry, slash, path = repository.partition("/")
    if slash and (registry == "localhost" or re.search("[.:]", registry)):
        repository = path
    return f"course/{repository.removeprefix('course/')}:{tag or 'latest'}"


def _found(client, name, tag):
    """Return an image that is there, under the course's name or its own, and which it was; else None."""
    for candidate, origin in ((tag, "here already"), (name, "an image that you had already")):
        try:
            image = client.images.get(candidate)
        except docker.errors.ImageNotFound:
            continue
        except docker.errors.APIError as error:
            remedy = "write the name in lower case, such as debian:bookworm-slim"
            raise CourseError(f"looking for the image {name}", error.explanation, remedy) from error
        image.tag(tag)
        return client.images.get(tag), origin
    return None


def _pulled(client, name, tag):
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
    client.images.get(name).tag(tag)
    client.images.remove(name)  # only the name: nothing but course/* stays on this engine
    return client.images.get(tag), f"pulled as {name}"


def _made(client, name, tag):
    """Make an image from Debian packages by its recipe; return it and its origin."""
    recipe = RECIPES[name]
    with state.Lock(state.folder() / f"base-{re.sub(r'[^a-z0-9]', '-', tag)}.lock"):
        if client.images.list(tag):  # another notebook has made it meanwhile
            pass
        elif recipe.endswith(".sh"):
            with tempfile.TemporaryDirectory(prefix="docker-course-") as work:
                load_archive(client, tag, debian_archive(name, Path(work) / "root.tar"))
        else:
            build(client, FOLDER / recipe, tag=tag, base=base_image(client, "debian:bookworm-slim"))
    return client.images.get(tag), "made from Debian packages"


def pull(client, name):
    """
    Pull an image from its registry with a progress bar in bytes, layer by layer.

    SDK call: ``client.api.pull(stream=True, decode=True)``.

    Raises:
        docker.errors.APIError: the registry, or the way to it, said no.

    Example::

        pull(client, "debian:bookworm-slim")
    """
    repository, tag = docker.utils.parse_repository_tag(name)
    layers, ready = {}, set()
    with progress(total=0, desc=f"pulling {name}", unit="B", unit_scale=True) as bar:
        for event in client.api.pull(repository, tag=tag or "latest", stream=True, decode=True):
            if "error" in event:
                raise docker.errors.APIError(f"docker pull {name}", explanation=event["error"])
            layer, detail = event.get("id"), event.get("progressDetail") or {}
            if event.get("status") == "Downloading" and detail.get("total"):
                layers[layer] = (detail["current"], detail["total"])
            elif event.get("status") in ("Download complete", "Pull complete", "Already exists"):
                ready.add(layer)
                layers[layer] = (layers.get(layer, (0, 0))[1],) * 2
            bar.total = sum(total for _, total in layers.values())
            bar.set_postfix_str(f"{len(ready)} of {len(layers)} layers", refresh=False)
            bar.update(sum(done for done, _ in layers.values()) - bar.n)


def debian_archive(name, tar):
    """Make the root file system of a Debian base image, such as ``debian:bookworm-slim``, as a tar archive."""
    suite = name.rpartition(":")[2].removesuffix("-slim")
    return mmdebstrap.slim_archive(suite, tar, (FOLDER / RECIPES[name]).read_text())


def load_archive(client, tag, tar):
    """Import a tar archive as an image that says it is the course's."""
    with progress(total=None, desc=f"importing {tag}"):
        repository, _, name = tag.partition(":")
        changes = ['CMD ["bash"]', f"LABEL {state.LABEL}=1"]
        answer = client.api.import_image(src=str(tar), repository=repository, tag=name, changes=changes)
    last = json.loads(answer.strip().splitlines()[-1])
    if "error" in last:
        raise CourseError(f"docker import {tag}", last["error"], "free disk space? python3 -m helpers doctor")


def add_host_settings(client, image, tag):
    """
    Return ``(image, text)``: the image with one layer of host settings on top, or itself where there are none.

    ``tag`` is the image's name; with the layer it ends in ``-host``. The layer holds ``/etc/pip.conf`` and, where this
    computer has a certificate bundle of its own, that bundle. A final stage that begins from the plain image does not
    carry it. Passwords in an index address are left out. In the course's virtual machine it is the one that was made
    with the machine.

    Example::

        image, text = add_host_settings(client, base, "course/debian:bookworm-slim")
    """
    if engine.is_machine(client) and (there := client.images.list(f"{tag}-host")):  # its build cache begins with it
        return there[0], f"{tag}-host: with the settings of the computer that made this virtual machine"
    bundle, pip, left_out = settings.certificate_bundle(), *settings.pip_settings()
    warning = "; an index address with a password was left out" if left_out else ""
    if not bundle and not pip:
        return image, f"{tag}: this computer has no certificates or pip settings of its own{warning}"
    with tempfile.TemporaryDirectory(prefix="docker-course-") as work:
        _write_host_settings(Path(work), bundle, pip)
        made = build(client, work, tag=f"{tag}-host", base=image)
    added = [*(["certificate authorities"] if bundle else []), *(["pip settings"] if pip else [])]
    return made, f"{tag}-host: with this computer's {' and '.join(added)} in one layer{warning}"


def _write_host_settings(context, bundle, pip):
    """Write a build context with pip's configuration and the certificate bundle, each in its place below /etc."""
    lines = ["[global]", *(f"{key} = {value}" for key, value in sorted(pip.items()))]
    if bundle:
        (context / "docker-course-ca.pem").write_bytes(bundle.read_bytes())
        lines.append("cert = /etc/docker-course-ca.pem")
    (context / "pip.conf").write_text("\n".join(lines) + "\n")
    (context / "Dockerfile").write_text(HOST_SETTINGS)
    (context / ".dockerignore").write_text("Dockerfile\n.dockerignore\n")
    for file in context.iterdir():
        file.chmod(0o644)
