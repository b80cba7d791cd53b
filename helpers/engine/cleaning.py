"""Remove what the course made, and nothing else."""

import re
import time

import docker

from helpers import state
from helpers.engine import build_cache
from helpers.progress import progress

LISTS = ("built-images", "base-images", "build-cache")


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
    Remove everything of the course from an engine: containers, networks, volumes, images, and what builds left cached.

    Images are those named ``course/…``, those that its builds made and a later build took the name from, and the base
    images that it brought. Returns counts of ``containers``, ``networks``, ``volumes``, ``images``, ``cache records``,
    in ``kept`` the names of images that stay because a container or an image of somebody else needs them, and how many
    ``other cache records`` there are.
    SDK calls: as ``cleanup``, ``client.images.list``, ``client.api.remove_image``; ``POST /build/prune``.

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
        cache_records, others = build_cache.remove(client)
    kept = sorted(name for name in _course_images(client, set()) if not name.startswith("sha256:"))
    for file in lists():
        file.unlink()
    counts |= {"images": len(before - _image_ids(client)), "cache records": cache_records}
    return {**counts, "kept": kept, "other cache records": others}


def lists():
    """Return the files that say what the course made on an engine that is not its own: only these tell it apart."""
    return [path for name in LISTS if (path := state.folder() / name).exists()]


def _course_images(client, remembered):
    """
    Return what to remove: names ``course/*``, also behind a registry's, base images, and unnamed images of our builds.

    A label decides nothing: an image that a learner built on one of ours has inherited it.
    """
    names = []
    for image in client.api.images(all=True):  # no call for each of them: another program may remove one meanwhile
        image_id, bases = image["Id"], _brought(image["Id"])
        tags = [tag for tag in image["RepoTags"] or [] if tag != "<none>:<none>"]
        names += [tag for tag in tags if re.match(r"([^/]*[.:][^/]*/)?course/", tag) or tag in bases]
        if not tags and (image_id in remembered or image_id.removeprefix("sha256:")[:12] in remembered):
            names.append(image_id)
    return names


def _brought(image_id):
    """Return the names under which the course has brought a base image: pulled it, or made it."""
    file = state.folder() / "base-images"
    lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    names = [name for name, brought in lines if brought == image_id]
    return {name if ":" in name.rpartition("/")[2] else f"{name}:latest" for name in names}


def _remove_image(client, name):
    return _gone(client.api.remove_image, name)


def _image_ids(client):
    return {image["Id"] for image in client.api.images(all=True)}


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
