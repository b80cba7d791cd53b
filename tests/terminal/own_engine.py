"""An engine of tests/engines/rehearse: told by its label, and given base images that trust a company's proxy."""

import contextlib
import tempfile
from pathlib import Path

import docker

from helpers import base_image, build, engine
from helpers.engine import running
from helpers.images import bases, pip_secrets

LABEL = "org.docker-course.rehearsal"  # in its daemon.json
BASES = ("debian:trixie-slim", "python:3.13-slim-trixie")  # what the Dockerfiles with pip begin with


def is_ours(client):
    """Return whether an engine was started by a rehearsal."""
    return any(label.startswith(LABEL) for label in client.info()["Labels"] or ())


def variables(client):
    """Return what the docker command needs to reach a client's engine."""
    return {"DOCKER_HOST": running.address()[1], **engine.variables(engine.kind_of(client))}


@contextlib.contextmanager
def bases_that_trust(client):
    """
    Give the base images this computer's pip settings and certificates, for the time of a with block.

    Behind a proxy that inspects TLS, `docker build` in a terminal needs what the course's own `build` takes along as
    secrets: pip in a RUN step trusts nothing. A company there gives its people base images of the same names with one
    more layer. So does this, where this computer has such settings, on an engine that nobody else uses.
    """
    files = pip_secrets.files()
    for name in BASES if files else ():
        base_image(client, name)
        with tempfile.TemporaryDirectory() as folder:
            for secret, content in files.items():
                (Path(folder) / secret).write_bytes(content)
            copies = "".join(f"COPY {secret} {pip_secrets.TARGETS[secret]}\n" for secret in files)
            (Path(folder) / "Dockerfile").write_text(f"FROM {_kept(client, name)}\n{copies}")
            build(client, folder, tag=name)
    try:
        yield
    finally:
        for name in BASES if files else ():
            client.images.get(_kept(client, name)).tag(name)
            client.api.remove_image(_kept(client, name))


def _kept(client, name):
    """Return a second name of a base image as it was; one is there already if an earlier test was killed."""
    kept = f"course/before-{name.replace(':', '-')}"
    if not client.images.list(kept):
        client.images.get(name).tag(kept)
    return kept


def inventory(client):
    """Return what an engine has: kind → names or ids."""
    images = client.api.images()
    return {
        "containers": {one["Id"] for one in client.api.containers(all=True)},
        "networks": {one["Id"] for one in client.api.networks()},
        "volumes": {one["Name"] for one in client.api.volumes()["Volumes"] or ()},
        "images": {name for one in images for name in _names(one)},
    }


def _names(image):
    """Return an image's names, or its id where it has none."""
    return [name for name in image["RepoTags"] or () if name != "<none>:<none>"] or [image["Id"]]


def remove_new(client, before):
    """Remove what an engine has more than before, but images of the course and its base images; return their names."""
    ours = {name if ":" in name else f"{name}:latest" for name in bases.RECIPES}
    removed = []
    calls = {
        "containers": lambda name: client.api.remove_container(name, v=True, force=True),
        "networks": client.api.remove_network,
        "volumes": client.api.remove_volume,
        "images": client.api.remove_image,
    }
    for kind, call in calls.items():
        for name in inventory(client)[kind] - before[kind]:
            if kind == "images" and (name.startswith("course/") or name in ours):
                continue
            with contextlib.suppress(docker.errors.APIError):
                call(name)
                removed.append(name)
    return removed
