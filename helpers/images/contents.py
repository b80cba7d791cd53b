"""What is left inside an image: read from its own file system."""

import contextlib
import json
import posixpath
import re
import tarfile

import docker

from helpers import state
from helpers.containers.run import labels
from helpers.errors import CourseError
from helpers.images.layers import layers, size
from helpers.progress import progress

# empty, in any export
PUT_IN_BY_THE_ENGINE = {".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/resolv.conf"}
SHELLS = {"sh", "bash", "dash", "ash", "zsh", "ksh", "csh", "tcsh", "fish", "busybox"}
FIELD = re.compile(r"^(Package|Version|Source|Status): (.+)$", re.MULTILINE)
INSTALLED = "install ok installed"


def contents(image: docker.models.images.Image) -> dict:
    """
    Return what lies in an image's file system, as one row of counts.

    Keys:
        files, bytes: of regular files.
        executables, setuid: how many programs, and how many of them run as their owner, often root.
        shells: their names.
        packages: how many Debian packages.

    The image is never started: a container of it is created, exported as a
    tar archive and removed. Remembered by image id. SDK calls: ``client.api.create_container``, ``client.api.export``.

    Example::

        contents(image)["packages"]
    """
    with progress(total=size(image), desc="reading", unit="B", unit_scale=True) as bar:
        return state.remembered("contents", image, lambda: _contents(image, bar))


def _contents(image, bar):
    row = {"files": 0, "bytes": 0, "executables": 0, "setuid": 0, "shells": set(), "packages": 0}
    for member, read in _members(image):
        bar.update(member.size)
        _count(row, member, read)
    return {**row, "shells": sorted(row["shells"])}


def _count(row, member, read):
    folder, _, name = member.name.rpartition("/")
    if name in SHELLS and (member.isfile() or member.issym() or member.islnk()) and folder.endswith("bin"):
        row["shells"].add(name)
    if not member.isfile() or (member.name in PUT_IN_BY_THE_ENGINE and not member.size):
        return
    row["files"] += 1
    row["bytes"] += member.size
    row["executables"] += bool(member.mode & 0o111)
    row["setuid"] += bool(member.mode & 0o4000)
    if member.name == "var/lib/dpkg/status":
        row["packages"] += read().count(b"\nStatus: install ok installed")
    elif folder == "var/lib/dpkg/status.d" and not name.endswith(".md5sums"):  # distroless keeps one file a package
        row["packages"] += 1


def installed_packages(image):
    """
    Return the Debian packages of an image, as rows with ``package``, ``version`` and ``source`` (what it is made from).

    They are read from what dpkg keeps, or from the one file a package that distroless images keep; an image without
    either gives no rows. The image is not started. SDK calls: ``client.api.create_container``,
    ``client.api.get_archive``.

    Example::

        [row["package"] for row in installed_packages(image)]
    """
    entries = []
    with _created(image) as container:
        for path in ("/var/lib/dpkg/status", "/var/lib/dpkg/status.d"):
            with contextlib.suppress(docker.errors.NotFound):
                chunks, _ = image.client.api.get_archive(container, path)
                with tarfile.open(fileobj=_Reader(chunks), mode="r|") as tar:
                    texts = [tar.extractfile(member).read().decode() for member in tar if _describes_packages(member)]
                entries += [dict(FIELD.findall(entry)) for text in texts for entry in text.split("\n\n")]
    here = [entry for entry in entries if "Package" in entry and entry.get("Status", INSTALLED) == INSTALLED]
    return [
        {
            "package": entry["Package"],
            "version": entry["Version"],
            "source": entry.get("Source", entry["Package"]).split()[0],
        }
        for entry in sorted(here, key=lambda entry: entry["Package"])
    ]


def read_file(image, path):
    """
    Return the bytes of one file of an image, of a link none, or None where it is not; the image is not started.

    SDK calls: ``client.api.create_container``, ``client.api.get_archive``.

    Example::

        read_file(image, "/etc/os-release").decode()
    """
    with _created(image) as container:
        try:
            chunks, _ = image.client.api.get_archive(container, path)
        except docker.errors.NotFound:
            return None
        with tarfile.open(fileobj=_Reader(chunks), mode="r|") as tar:
            member = tar.next()
            return tar.extractfile(member).read() if member.isfile() else b""


def files_of_layers(image):
    """
    Return what each instruction added, oldest first: rows with ``instruction``, ``bytes``, ``files``, ``largest``.

    ``files`` counts files, ``largest`` lists up to 15 of them as ``[path, bytes]``; a file that a layer hides is listed
    as ``path (removed)``. Remembered by image id. SDK calls: ``image.history``, ``image.save``.

    Example::

        table(files_of_layers(image), ["instruction", "bytes", "files"])
    """
    with progress(total=size(image), desc="reading layers", unit="B", unit_scale=True) as bar:
        return state.remembered("layers", image, lambda: _files_of_layers(image, bar))


def _files_of_layers(image, bar):
    files, history = _saved_layers(image, bar)
    rows, files = layers(image), iter(files)
    for row, entry in zip(rows, history, strict=True):
        found = [] if entry.get("empty_layer") else next(files)
        row |= {"files": len(found), "largest": sorted(found, key=lambda one: -one[1])[:15]}
    return rows


def _saved_layers(image, bar):
    """Return the files of each layer, as ``[path, bytes]``, and the history, from what the engine saves."""
    held, aliases, texts = {}, {}, {}
    with tarfile.open(fileobj=_Reader(image.save()), mode="r|") as saved:
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
    with tarfile.open(fileobj=_Reader(chunks), mode="r|*") as tar:
        return [[_shown(one.name), one.size] for one in tar if one.isfile() or one.islnk()]


def _shown(name):
    folder, _, last = name.removeprefix("./").rpartition("/")
    hidden = last.startswith(".wh.")
    path = "/" + "/".join(part for part in (folder, last.removeprefix(".wh.")) if part)
    return f"{path} (removed)" if hidden else path


def _describes_packages(member):
    return member.isfile() and not member.name.endswith(".md5sums")


def _members(image):
    """Yield ``(member, read)`` for each entry of an image's file system; ``read()`` gives a file's bytes."""
    with _created(image) as container:
        export = image.client.api.export(container, chunk_size=1 << 20)
        with tarfile.open(fileobj=_Reader(export), mode="r|") as tar:
            for member in tar:
                yield member, lambda member=member: tar.extractfile(member).read()


@contextlib.contextmanager
def _created(image):
    """Give the id of a container that is never started, and remove it."""
    api = image.client.api
    container = api.create_container(image.id, command=["-"], labels=labels())["Id"]
    try:
        yield container
    finally:
        with contextlib.suppress(docker.errors.NotFound):
            api.remove_container(container, force=True, v=True)


class _Reader:
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
