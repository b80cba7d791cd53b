"""Remove what the course made, and nothing else."""

import re
import time

import docker

from helpers import state
from helpers.progress import progress


def cleanup(client: docker.DockerClient) -> None:
    """
    Remove this notebook's containers, networks and volumes, and print how many; images stay for the next run.

    SDK calls: ``client.containers.list(filters={"label": …})``, ``container.remove`` and the same for the others.

    Example::

        cleanup(client)
    """
    counts = remove_objects(client, f"{state.NOTEBOOK_LABEL}={state.notebook()}")
    print("removed: " + ", ".join(f"{kind} {count}" for kind, count in counts.items()))


def remove_objects(client, label):
    """Remove all containers, networks and volumes with a label; return how many of each."""
    counts = {"containers": 0, "networks": 0, "volumes": 0}
    for container in client.containers.list(all=True, filters={"label": label}, ignore_removed=True):
        counts["containers"] += _gone(container.remove, force=True, v=True)
    for network in client.networks.list(filters={"label": label}):
        counts["networks"] += _gone(network.remove)
    for volume in client.volumes.list(filters={"label": label}):
        counts["volumes"] += _gone(volume.remove)
    return counts


def remove_expired(client):
    """Remove the course's containers whose hour is over: those of a kernel that was killed before its ``cleanup``."""
    for container in client.containers.list(all=True, filters={"label": state.ENDS_LABEL}, ignore_removed=True):
        if int(container.labels.get(state.ENDS_LABEL, 0)) < time.time():
            _gone(container.remove, force=True, v=True)
    _forget_registries(client)


def _forget_registries(client):
    """Take names away that mean a registry of an ended notebook, where an image has another name, too."""
    names = {image["Id"]: image["RepoTags"] or [] for image in client.api.images(filters={"dangling": False})}
    there = {name: tags for tags in names.values() for name in tags if re.match(r"127\.0\.0\.1:\d+/course/", name)}
    running = client.containers.list(ignore_removed=True) if there else []
    ports = {binding["HostPort"] for one in running for found in one.ports.values() for binding in found or []}
    for name, tags in there.items():
        if re.search(r":(\d+)/", name)[1] not in ports and not set(tags) <= set(there):
            _gone(client.api.remove_image, name)


def clean(client):
    """
    Remove everything of the course from an engine: containers, networks, volumes, and images by name, label and memory.

    Returns counts of ``containers``, ``networks``, ``volumes`` and ``images``, and in ``kept`` the names of images that
    stay because a container or an image of somebody else needs them. SDK calls: as ``cleanup``, and
    ``client.images.list``, ``client.api.remove_image``.

    Example::

        clean(client)
    """
    made = state.folder() / "built-images"
    remembered = set(made.read_text().split()) if made.exists() else set()
    with progress(total=None, desc="removing what the course made", delay=2):
        counts = remove_objects(client, state.NOTEBOOK_LABEL)  # not LABEL: a learner's container inherits it
        before = _image_ids(client)
        while any([_remove_image(client, name) for name in _course_images(client, remembered)]):
            pass  # what was needed by a removed image can be removed now
    made.unlink(missing_ok=True)
    kept = sorted(name for name in _course_images(client, set()) if not name.startswith("sha256:"))
    return {**counts, "images": len(before - _image_ids(client)), "kept": kept}


def _course_images(client, remembered):
    """
    Return what to remove: names ``course/*``, also behind a registry's, and unnamed images that are labelled or ours.

    No other name is: an image that a learner built on one of ours has inherited its label.
    """
    names = []
    for image in client.images.list(all=True):
        names += [tag for tag in image.tags if re.match(r"([^/]*[.:][^/]*/)?course/", tag)]
        ours = state.LABEL in (image.labels or {}) or image.id.removeprefix("sha256:")[:12] in remembered
        if ours and not image.tags:
            names.append(image.id)
    return names


def _remove_image(client, name):
    return _gone(client.api.remove_image, name)


def _image_ids(client):
    return {image.id for image in client.images.list(all=True)}


def _gone(remove, *arguments, **options):
    """Call a remove function; return whether it removed something: what is gone already, or still needed, is not."""
    try:
        remove(*arguments, **options)
    except docker.errors.NotFound:
        return False
    except docker.errors.APIError as error:
        if error.status_code == 409 or "active endpoints" in str(error):  # in use, or has children: later, or never
            return False
        raise
    return True
