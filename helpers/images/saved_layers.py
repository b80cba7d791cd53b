"""The layers of an image as the engine saves them: which files each holds."""

import contextlib
import json
import posixpath
import tarfile

from helpers import state
from helpers.errors import CourseError
from helpers.progress import progress


def saved_layers(image):
    """
    Return what each instruction of an image added, oldest first: rows with ``bytes``, ``files``, ``largest``.

    ``files`` counts files, ``bytes`` sums them up, ``largest`` lists up to 15 of them as ``[path, bytes]``; a file that
    a layer hides is listed as ``path (removed)``. Remembered by image id. SDK call: ``image.save``.

    Example::

        sum(row["bytes"] for row in saved_layers(image))
    """
    with progress(total=image.attrs["Size"], desc="reading layers", unit="B", unit_scale=True) as bar:
        return state.remembered("layers", image, lambda: _saved_layers(image, bar))


def _saved_layers(image, bar):
    files, history = _read(image, bar)
    files = iter(files)
    rows = []
    for entry in history:
        found = [] if entry.get("empty_layer") else next(files)
        largest = sorted(found, key=lambda one: -one[1])[:15]
        rows.append({"bytes": sum(count for _, count in found), "files": len(found), "largest": largest})
    return rows


def _read(image, bar):
    """Return the files of each layer, as ``[path, bytes]``, and the history, from what the engine saves."""
    held, aliases, texts = {}, {}, {}
    with tarfile.open(fileobj=Reader(image.save()), mode="r|") as saved:
        for member in saved:
            bar.update(member.size)
            if member.issym():  # a layer that is there twice
                there = posixpath.join(posixpath.dirname(member.name), member.linkname)
                aliases[member.name] = posixpath.normpath(there)
            elif member.isfile():
                file = saved.extractfile(member)
                first = file.read(1 << 20)
                if first.startswith((b"{", b"[")):
                    texts[member.name] = first
                else:
                    with contextlib.suppress(tarfile.ReadError):  # not every file in it is a layer
                        held[member.name] = _files(_chunks(first, file))
    manifest = json.loads(texts["manifest.json"])[0]
    names = [aliases.get(name, name) for name in manifest["Layers"]]
    if unread := [name for name in names if name not in held]:
        remedy = "it may be compressed with zstd, which Python 3.14 and newer can read"
        raise CourseError(f"reading the layers of {image.short_id}", f"{unread[0]} is no tar archive", remedy)
    return [held[name] for name in names], json.loads(texts[manifest["Config"]])["history"]


def _chunks(first, file):
    yield first
    while chunk := file.read(1 << 20):
        yield chunk


def _files(chunks):
    with tarfile.open(fileobj=Reader(chunks), mode="r|*") as tar:
        return [[_shown(one.name), one.size] for one in tar if one.isfile() or one.islnk()]


def _shown(name):
    folder, _, last = name.removeprefix("./").rpartition("/")
    hidden = last.startswith(".wh.")
    path = "/" + "/".join(part for part in (folder, last.removeprefix(".wh.")) if part)
    return f"{path} (removed)" if hidden else path


class Reader:
    """A file to read from, over an iterator of bytes."""

    def __init__(self, chunks):
        self.chunks, self.rest = iter(chunks), b""

    def read(self, count):
        parts, have = [self.rest], len(self.rest)
        while have < count:
            chunk = next(self.chunks, b"")
            if not chunk:
                break
            parts.append(chunk)
            have += len(chunk)
        data = b"".join(parts)
        self.rest = data[count:]
        return data[:count]
