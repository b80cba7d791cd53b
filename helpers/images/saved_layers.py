"""The layers of an image as the engine saves them: which files each holds, and what gzip makes of it."""

import gzip
import json
import posixpath
import tarfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import docker

from helpers import state
from helpers.engine.gone import GONE
from helpers.errors import CourseError, engine_gone
from helpers.progress import progress

REMOVED = " (removed)"
FILES = "files-of-layers"
PIECE, AHEAD = 1 << 20, 8
WINDOW = 1 << zlib.MAX_WBITS  # how far back gzip looks
GZIP_FRAME = 18  # bytes before and after what is compressed


def require_image(image, tried):
    """
    Raise where a name was given in place of an image.

    Raises:
        CourseError: it is a name, or something else that is no image.

    Example::

        require_image(image, "reading the layers of")
    """
    if not isinstance(image, docker.models.images.Image):
        said = "that is a name, not an image" if isinstance(image, str) else "that is no image"
        name = repr(image) if isinstance(image, str) else "name"
        raise CourseError(f"{tried} {image!r}", said, f"take the image itself: client.images.get({name})")


def saved_layers(image):
    """
    Return an image's history, oldest first: rows with ``created_by``, ``comment``, ``bytes``, ``files``, ``largest``.

    ``files`` counts the files of the instruction's layer, ``bytes`` sums them up, ``largest`` lists up to 15 of them as
    ``[path, bytes]``; a file that a layer hides is listed as ``path (removed)``. An image that has no history gives a
    row a layer. Remembered by image id. SDK call: ``image.save``, or ``image.history`` where there are no layers.

    Raises:
        CourseError: the engine has not all of the image's layers, or they cannot be read.

    Example::

        sum(row["bytes"] for row in saved_layers(image))
    """
    return state.remembered(FILES, image, lambda: _rows(*_read(image, "reading layers", _files)))


def compressed_size(image):
    """
    Return the bytes of an image's layers after gzip, about what a pull moves; remembered by image id.

    It is the same on every engine, whether it keeps layers packed or not. SDK call: ``image.save``; what
    ``saved_layers`` returns is remembered on the way.

    Raises:
        CourseError: as for ``saved_layers``.

    Example::

        compressed_size(image)
    """
    require_image(image, "compressing the layers of")
    return state.remembered("compressed", image, lambda: _compressed_size(image))


def _compressed_size(image):
    held, names, history = _read(image, "compressing", _files_and_gzipped)
    files = {name: files for name, (files, _) in held.items()}
    state.remembered(FILES, image, lambda: _rows(files, names, history))
    return sum(count for _, count in held.values())


def _rows(layers, names, history):
    if sum(not entry.get("empty_layer") for entry in history) != len(names):  # some builders leave it out
        history = [{} for _ in names]
    names, rows = iter(names), []
    for entry in history:
        found = [] if entry.get("empty_layer") else layers[next(names)]
        row = {"created_by": entry.get("created_by", ""), "comment": entry.get("comment", "")}
        row |= {
            "bytes": sum(count for _, count in found),
            "files": sum(not path.endswith(REMOVED) for path, _ in found),
        }
        rows.append({**row, "largest": sorted(found, key=lambda one: -one[1])[:15]})
    return rows


def _read(image, title, take):
    """Return what ``take(chunks)`` gave for each layer, by name; the names in order; and the image's history."""
    if not image.attrs["RootFS"].get("Layers"):  # no engine saves an image without layers
        told = [{"created_by": one["CreatedBy"], "comment": one["Comment"]} for one in reversed(image.history())]
        return {}, [], [{**entry, "empty_layer": True} for entry in told]
    try:
        held, aliases, texts = _archive(image, title, take)
    except GONE as error:
        raise engine_gone(error, f"docker save {_name(image)}") from None
    except (docker.errors.APIError, tarfile.ReadError) as error:
        raise _not_there(image, getattr(error, "explanation", None) or error) from error
    if "manifest.json" not in texts:
        raise _not_there(image, "what it sent has no manifest.json")
    names, history = _described(image, texts)
    names = [aliases.get(name, name) for name in names]
    if missing := [name for name in names if name not in held]:
        raise _not_there(image, f"what it sent has not the layer {missing[0]}")
    if unread := [name for name in names if held[name] is None]:
        remedy = "it may be compressed with zstd: build the image again with docker build, which takes gzip"
        raise CourseError(f"docker save {_name(image)}", f"{unread[0]} is no tar archive", remedy)
    return {name: held[name] for name in names}, names, history


def _archive(image, title, take):
    """Return what the engine saves: layers by name, the names that stand for others, and texts by name."""
    held, aliases, texts = {}, {}, {}
    with (
        progress(total=image.attrs["Size"], desc=title, unit="B", unit_scale=True) as bar,
        tarfile.open(fileobj=Reader(image.save()), mode="r|") as saved,
    ):
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
                    held[member.name] = _taken(take, _unpacked(first, file))
    return held, aliases, texts


def _taken(take, chunks):
    """Return what ``take`` gives for a layer, or None: not every file of the archive is one."""
    try:
        return take(chunks)
    except (tarfile.ReadError, gzip.BadGzipFile, EOFError, zlib.error):
        return None


def _described(image, texts):
    """Return the names of the layers and the history, of the platform that the image is of."""
    found = [(one["Layers"] or [], json.loads(texts[one["Config"]])) for one in json.loads(texts["manifest.json"])]
    own = [one for one in found if one[1]["rootfs"].get("diff_ids") == image.attrs["RootFS"].get("Layers")]
    names, config = (own or found)[0]
    return names, config.get("history") or []


def _not_there(image, said):
    remedy = "its layers may have gone since it was pulled: docker pull brings them back, a build makes them again"
    return CourseError(f"docker save {_name(image)}", said, remedy)


def _name(image):
    return image.tags[0] if image.tags else image.short_id


def _unpacked(first, file):
    """Yield a file in chunks; what is gzipped, without the gzip."""
    if not first.startswith(b"\x1f\x8b"):
        yield from _chunks(first, file)
        return
    with gzip.open(Reader(_chunks(first, file))) as unpacked:
        yield from _chunks(b"", unpacked)


def _chunks(first, file):
    yield first
    while chunk := file.read(1 << 20):
        yield chunk


def _files(chunks):
    with tarfile.open(fileobj=Reader(chunks), mode="r|") as tar:
        return [[_shown(one.name), one.size * one.isfile()] for one in tar if one.isfile() or one.islnk()]


def _files_and_gzipped(chunks):
    """Return the files of a layer, and the bytes of its archive after gzip."""
    reader, sizes = Reader(chunks), []
    with ThreadPoolExecutor() as pool:
        passing = _deflating(iter(lambda: reader.read(PIECE), b""), pool, sizes)
        files = _files(passing)
        for _ in passing:  # what stands behind the archive's end
            pass
    return files, GZIP_FRAME + sum(size.result() for size in sizes)


def _deflating(pieces, pool, sizes):
    """Yield pieces, and have a pool compress each, as pigz does it; ``sizes`` gets a future for each."""
    before = b""
    for piece in pieces:
        sizes.append(pool.submit(_deflated, piece, before))
        before = piece[-WINDOW:]
        if len(sizes) > AHEAD:
            sizes[-AHEAD].result()  # no more than that many wait in memory
        yield piece


def _deflated(piece, before):
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS, zdict=before)
    return len(packer.compress(piece)) + len(packer.flush())


def _shown(name):
    folder, _, last = name.removeprefix("./").rpartition("/")
    hidden = last.startswith(".wh.")
    last = "*" if last == ".wh..wh..opq" else last  # all that the folder had before
    path = "/" + "/".join(part for part in (folder, last.removeprefix(".wh.")) if part)
    return f"{path}{REMOVED}" if hidden else path


class Reader:
    """A file to read from, over an iterator of bytes."""

    def __init__(self, chunks):
        self.chunks, self.rest = iter(chunks), b""

    def read(self, count):
        parts, have = [self.rest], len(self.rest)
        while have < count:
            chunk = next(self.chunks, None)
            if chunk is None:
                break
            parts.append(chunk)
            have += len(chunk)
        data = b"".join(parts)
        self.rest = data[count:]
        return data[:count]
