"""What is left inside an image: read from its own file system."""

import contextlib
import re
import tarfile

import docker

from helpers import state
from helpers.containers.run import labels
from helpers.engine.gone import GONE
from helpers.errors import engine_gone
from helpers.images.saved_layers import Reader, require_image
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

    Raises:
        CourseError: that is a name, not an image.

    Example::

        contents(image)["packages"]
    """
    require_image(image, "reading the files of")
    with progress(total=image.attrs["Size"], desc="reading", unit="B", unit_scale=True) as bar:
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
                with tarfile.open(fileobj=Reader(chunks), mode="r|") as tar:
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
        with tarfile.open(fileobj=Reader(chunks), mode="r|") as tar:
            member = tar.next()
            return tar.extractfile(member).read() if member.isfile() else b""


def _describes_packages(member):
    return member.isfile() and not member.name.endswith(".md5sums")


def _members(image):
    """Yield ``(member, read)`` for each entry of an image's file system; ``read()`` gives a file's bytes."""
    with _created(image) as container:
        export = image.client.api.export(container, chunk_size=1 << 20)
        with tarfile.open(fileobj=Reader(export), mode="r|") as tar:
            for member in tar:
                yield member, lambda member=member: tar.extractfile(member).read()


@contextlib.contextmanager
def _created(image):
    """Give the id of a container that is never started, and remove it."""
    api = image.client.api
    try:
        container = api.create_container(image.id, command=["-"], labels=labels())["Id"]
        try:
            yield container
        finally:
            with contextlib.suppress(docker.errors.NotFound):
                api.remove_container(container, force=True, v=True)
    except GONE as error:
        raise engine_gone(error, f"reading the files of {image.tags[0] if image.tags else image.short_id}") from None
