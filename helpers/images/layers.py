"""Images compared: their sizes, their layers, what a pull of them costs."""

import re
import zlib

import docker

from helpers import state
from helpers.errors import CourseError
from helpers.images.saved_layers import saved_layers
from helpers.progress import progress


def size(image: docker.models.images.Image) -> int:
    """
    Return the bytes of an image: the sum of the files in its layers, unpacked.

    It is the same on every engine, as the engine's own ``Size`` and the sizes in its history are not: with containerd's
    image store these count blocks of the disk and packed layers. SDK calls: ``image.history``; with that store
    ``image.save``, once for an image.

    Example::

        size(image)
    """
    return sum(row["bytes"] for row in layers(image))


def layers(image: docker.models.images.Image) -> list[dict]:
    """
    Return what each instruction added, oldest first: rows with ``instruction`` and ``bytes``.

    SDK calls: as for ``size``.

    Example::

        table(layers(image))
    """
    history = list(reversed(_history(image)))
    sizes = [entry["Size"] for entry in history]
    if counts_blocks(image.client):
        sizes = [row["bytes"] for row in saved_layers(image)]
    rows = zip(history, sizes, strict=True)
    return [{"instruction": _instruction(entry), "bytes": count} for entry, count in rows]


def files_of_layers(image):
    """
    Return the rows of ``layers`` with ``files``, how many each instruction added, and ``largest``.

    ``largest`` lists up to 15 of them as ``[path, bytes]``; a file that a layer hides is listed as ``path (removed)``.
    SDK calls: ``image.history``, ``image.save``.

    Example::

        table(files_of_layers(image), ["instruction", "bytes", "files"])
    """
    return [{**saved, **row} for saved, row in zip(saved_layers(image), layers(image), strict=True)]


def counts_blocks(client):
    """Return whether an engine keeps images in containerd's store: its sizes are blocks of the disk, not of files."""
    status = dict(client.info().get("DriverStatus") or ())
    return status.get("driver-type", "").startswith("io.containerd.snapshotter")


def _history(image):
    if isinstance(image, str):
        remedy = f"take the image itself: client.images.get({image!r})"
        raise CourseError(f"reading the layers of {image!r}", "that is a name, not an image", remedy)
    return image.history()


def _instruction(entry):
    text = re.sub(r"^\|\d+ .*?(?=/bin/)", "", entry.get("CreatedBy") or "")  # build arguments that a RUN was given
    text = re.sub(r"\s*# buildkit$", "", text)
    text = re.sub(r"^/bin/(?:ba)?sh -c #\(nop\)\s+", "", text)
    text = re.sub(r"^(?:RUN )?/bin/(?:ba)?sh -c ", "RUN ", text)
    text = re.sub(r"^(COPY|ADD) (?:--\S+ )?(?:file|dir|multi):[0-9a-f]+ in ", r"\1 … ", text)  # the classic builder's
    imported = (entry.get("Comment") or "").startswith("Imported from")  # docker import, of a bootstrapped base
    return "base image" if imported else " ".join(text.split()) or entry.get("Comment") or "base image"


def compare(images: dict[str, docker.models.images.Image], compressed: bool = False) -> list[dict]:
    """
    Return one row an image: ``name``, ``bytes`` (unpacked), ``layers`` (with files in them), ``user``.

    With ``compressed``, also ``compressed_bytes``: its layers gzipped, about what a pull costs; that reads the whole
    image from the engine, once for each layer. SDK calls: ``image.history``, ``image.attrs``, ``image.save``.

    Example::

        rows = compare({"single stage": single, "two stages": multi})
    """
    rows = []
    for name, image in images.items():
        row = {
            "name": name,
            "bytes": size(image),
            "layers": len(image.attrs["RootFS"].get("Layers") or []),
            "user": image.attrs["Config"].get("User") or "root",
        }
        if compressed:
            row["compressed_bytes"] = compressed_size(image)
        rows.append(row)
    return rows


def compressed_size(image):
    """
    Return the bytes of an image's layers after gzip, about what a pull or push moves; remembered by image id.

    SDK call: ``image.save``.

    Example::

        compressed_size(image)
    """
    return state.remembered("compressed", image, lambda: _compressed_size(image))


def _compressed_size(image):
    gzip, count = zlib.compressobj(6, wbits=31), 0
    with progress(total=size(image), desc="compressing", unit="B", unit_scale=True) as bar:
        for chunk in image.save():
            count += len(gzip.compress(chunk))
            bar.update(len(chunk))
    return count + len(gzip.flush())
