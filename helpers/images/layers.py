"""Images compared: their sizes, their layers, what a pull of them costs."""

import re

import docker

from helpers.errors import CourseError
from helpers.images.saved_layers import compressed_size, require_image, saved_layers


def size(image: docker.models.images.Image) -> int:
    """
    Return the bytes of an image: the sum of the files in its layers, unpacked.

    It is the same on every engine, as the engine's own ``Size`` and the sizes in its history are not: some count
    blocks of the disk, packed layers or the text of symbolic links, too. Remembered by image id. SDK call:
    ``image.save``, once for an image: that reads all of it.

    Raises:
        CourseError: the engine has not all of its layers.

    Example::

        size(image)
    """
    return sum(row["bytes"] for row in layers(image))


def layers(image: docker.models.images.Image) -> list[dict]:
    """
    Return what each instruction added, oldest first: rows with ``instruction`` and ``bytes``.

    SDK call and errors: as for ``size``.

    Example::

        table(layers(image))
    """
    return [{key: row[key] for key in ("instruction", "bytes")} for row in files_of_layers(image)]


def files_of_layers(image):
    """
    Return the rows of ``layers`` with ``files``, how many each instruction added, and ``largest``.

    ``largest`` lists up to 15 of them as ``[path, bytes]``; a file that a layer hides is listed as ``path (removed)``.
    SDK call and errors: as for ``size``.

    Example::

        table(files_of_layers(image), ["instruction", "bytes", "files"])
    """
    require_image(image, "reading the layers of")
    rows = saved_layers(image)
    return [
        {"instruction": instruction, **{key: row[key] for key in ("bytes", "files", "largest")}}
        for instruction, row in zip(_instructions(rows), rows, strict=True)
    ]


def _instructions(history):
    """Return each instruction as it was written, as far as a history tells: that differs by builder, and by engine."""
    shell, found = "/bin/sh -c", []
    for entry in history:
        text = _without_shell(entry["created_by"], shell)
        if named := re.match(r"SHELL \[(.*)\]$", text):
            shell = named[1]
        imported = entry["comment"].startswith("Imported from")  # docker import, of a bootstrapped base
        found.append("base image" if imported else text or entry["comment"] or "base image")
    return found


def _without_shell(text, shell):
    text = re.sub(r"\s*# buildkit$", "", text)
    text = re.sub(rf"^(?:{re.escape(shell)}|/bin/(?:ba)?sh(?: -o \w+)* -c) #\(nop\)\s+", "", text)
    if re.match(r"(?:RUN )?\|\d+ ", text):  # build arguments that a RUN was given
        _, found, command = text.partition(f" {shell} ")
        text = f"RUN {command}" if found else re.sub(r"^(?:RUN )?\|\d+ .*? (?=/)", "RUN ", text)
    text = re.sub(rf"^(?:RUN )?(?:{re.escape(shell)}|/bin/(?:ba)?sh(?: -o \w+)* -c) ", "RUN ", text)
    text = re.sub("^(?=/)", "RUN ", text)  # the older builder's, of a list
    text = re.sub(r"^(COPY|ADD) (?:--\S*?)? ?(?:file|dir|multi):[0-9a-f]+ in ", r"\1 … ", text)  # the older builder's
    return " ".join(text.split())


def compare(images: dict[str, docker.models.images.Image], compressed: bool = False) -> list[dict]:
    """
    Return one row an image, with the keys below.

    Keys:
        name, bytes: as given; the files of all layers, unpacked, as ``size`` counts them.
        layers, user: how many layers it has, and as whom it runs.
        engine_bytes: what ``docker images`` shows, only where that is another number by more than one in a hundred:
            containerd's image store counts blocks of the disk, and the packed layers beside the unpacked ones.
        compressed_bytes: with ``compressed``, its layers gzipped, about what a pull costs.

    SDK calls: ``image.save``, once for an image; ``image.attrs``, ``client.api.images``.

    Raises:
        CourseError: the engine has not all layers of an image, or the images were given without names.

    Example::

        rows = compare({"single stage": single, "two stages": multi})
    """
    if not isinstance(images, dict):
        remedy = 'compare({"single stage": single, "two stages": multi}): the names are those of the rows'
        raise CourseError("comparing images", f"they were given as {type(images).__name__}, without names", remedy)
    rows = []
    for name, image in images.items():
        packed = {"compressed_bytes": compressed_size(image)} if compressed else {}  # first: it counts files as well
        row = {"name": name, "bytes": size(image)}
        engines = _engines_size(image)
        if abs(engines - row["bytes"]) > row["bytes"] / 100:
            row["engine_bytes"] = engines
        row["layers"] = len(image.attrs["RootFS"].get("Layers") or [])
        row["user"] = image.attrs["Config"].get("User") or "root"
        rows.append(row | packed)
    return rows


def _engines_size(image):
    """Return the size that the engine's list of images has; on containerd's store, ``image.attrs`` has another."""
    listed = {one["Id"]: one["Size"] for one in image.client.api.images(all=True)}
    return listed.get(image.id, image.attrs["Size"])
