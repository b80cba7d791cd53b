"""Exercises of 04: the first practical."""

import io
import json
import tarfile

import docker

from helpers.containers.outcome import status_and_output
from helpers.lessons.checks.checking import exercise
from helpers.lessons.checks.observing import end_of_text

REGISTRY_FILES = "/var/lib/registry/docker/registry/v2"


@exercise("04-own-words", "image", "what has to differ from course/first: the file, the command, or either?")
def says_own_words(client, image):
    """Build an image that says something of your own when it is run."""
    status, said = status_and_output(client, image, awake=True, network_mode="none")
    yield "it ends by itself", status is not None, "it goes on and on: what does its command wait for?"
    yield "with status 0", status == 0, f"it said: {end_of_text(said)}. What does CMD name?"
    yield "it says something", said != "", "what is its command? image.attrs['Config']['Cmd'] tells"
    other = said != "Hello from a container!" and "Hello from Docker!" not in said
    question = "a new name does not change an image. What has to be built again?"
    yield "that is not what an image of the lesson says", other, question


@exercise("04-push", "image", "what does an image's name have to begin with, so that it goes to your registry?")
def pushed_image(client, image):
    """Push an image under a name of your own to the registry with the password."""
    names = _names_at_registries(client, image)
    yield "it has a name that begins with your registry's address", names, "`tag` gives an image one more name"
    own = {name: registry for name, registry in names.items() if "/course/mine:" not in name}
    yield "and goes on with a name of your own", own, f"{', '.join(names)} is the lesson's. What is yours?"
    stored = any(_is_stored(registry, name, image) for name, registry in own.items())
    yield "the registry has stored it", stored, "a name sends nothing. Which call does? Did it say no?"


def _names_at_registries(client, image):
    """Return the names of an image that begin with the address of a registry that runs, each with its container."""
    names = {}
    for registry in client.containers.list(ignore_removed=True):
        for port in registry.ports.get("5000/tcp") or []:
            addresses = (f"127.0.0.1:{port['HostPort']}/", f"localhost:{port['HostPort']}/")
            names |= {name: registry for name in image.tags if name.startswith(addresses)}
    return names


def _is_stored(registry, name, image):
    """Return whether a registry's own files have an image under a name, such as ``127.0.0.1:5000/ada:latest``."""
    repository, _, tag = name.partition("/")[2].rpartition(":")
    try:
        digest = _registry_file(registry, f"repositories/{repository}/_manifests/tags/{tag}/current/link").decode()
        manifest = _blob(registry, digest)
        if "manifests" in manifest:  # an index: an image for each kind of processor, this computer's first
            manifest = _blob(registry, manifest["manifests"][0]["digest"])
        stored = _blob(registry, manifest["config"]["digest"])
    except docker.errors.NotFound:
        return False
    # not by ids: each store of images, and each push, has its own
    same = [stored["config"].get(key) == image.attrs["Config"].get(key) for key in ("Cmd", "Entrypoint", "Labels")]
    return stored["rootfs"]["diff_ids"] == image.attrs["RootFS"]["Layers"] and all(same)


def _blob(registry, digest):
    """Return a JSON document that a registry keeps under its digest."""
    return json.loads(_registry_file(registry, f"blobs/sha256/{digest[7:9]}/{digest[7:]}/data"))


def _registry_file(registry, path):
    """Return the bytes of a file in which a registry keeps what was pushed to it."""
    chunks, _ = registry.get_archive(f"{REGISTRY_FILES}/{path}")
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        return tar.extractfile(tar.next()).read()
