"""Images compared: their sizes, their layers, what a pull of them costs."""

import re
import zlib

import docker

from helpers import state
from helpers.errors import CourseError
from helpers.progress import progress


def size(image: docker.models.images.Image) -> int:
    """
    Return the bytes of an image on disk: the sum of its layers, unpacked.

    The engine's own ``Size`` means different things with different image stores. SDK call: ``image.history``.

    Example::

        size(image)
    """
    return sum(entry["Size"] for entry in _history(image))


def layers(image: docker.models.images.Image) -> list[dict]:
    """
    Return what each instruction added, oldest first: rows with ``instruction`` and ``bytes``.

    SDK call: ``image.history``.

    Example::

        table(layers(image))
    """
    return [
        {"instruction": _instruction(entry), "bytes": entry["Size"]}
        for entry in reversed(_history(image))
    ]  # fmt: skip


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
