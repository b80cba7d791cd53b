"""A build's files: the engine asks for those that it needs, and gets each as the docker command would send it."""

import functools
import os
import posixpath
import re
import stat
import sys
import time
import warnings
from pathlib import Path, PurePosixPath
from urllib.parse import unquote_plus

from helpers.errors import CourseError
from helpers.images import messages
from helpers.images.messages import Packet, Stat
from helpers.images.readable import unreadable
from helpers.images.session import UNKNOWN, Refused

DIFF_COPY = "/moby.filesync.v1.FileSync/DiffCopy"
PART_BYTES = 1 << 15
GO_MODES = {stat.S_IFDIR: 1 << 31, stat.S_IFLNK: 1 << 27, stat.S_IFIFO: 1 << 25, stat.S_IFBLK: 1 << 26}
GO_MODES[stat.S_IFCHR] = 1 << 26 | 1 << 21
GO_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}
WILDCARD = re.compile(r"[*?\[]")
TOKEN = re.compile(r"\*\*/?|\\.?|.", re.DOTALL)


def diff_copy(folders, texts):
    """
    Return the service by which the engine fetches a build's files.

    ``folders`` says which folder stands for ``context`` and for ``dockerfile``; ``texts`` gives bytes that are sent in
    place of those of a file, by ``(name of the folder, path)``. The engine itself reads ``.dockerignore`` first, then
    says which files it leaves out and which it needs.

    Raises, where the service is called:
        CourseError: a file cannot be read, or its name is not UTF-8; a pattern is none.
    """

    def service(headers):
        name, top = _values(headers, "dir-name")[0], None
        top = Path(folders[name])
        own = {path: text for (folder, path), text in texts.items() if folder == name}
        files = {}
        excluded, followed = _values(headers, "exclude-patterns"), _values(headers, "followpaths")
        entries = _entries(top, _checked(excluded), _followed(top, followed) + _values(headers, "include-patterns"))
        return _stats(top, entries, own, files), lambda message: _answer(Packet.loads(message), top, own, files)

    return service


def _values(headers, name):
    encoded = (f"{name}-encoded", "1") in headers
    return [unquote_plus(value) if encoded else value for key, value in headers if key == name]


def _checked(patterns):
    for pattern in patterns:
        if pattern == "!" or re.search(r"\[\^?\]|\[[^\]]*$", re.sub(r"\\.", "", pattern)):
            said = f"the pattern {pattern!r} is none"
            raise CourseError(
                "reading .dockerignore", said, r"write \[ for the character itself, or add what is missing"
            )
    return patterns


def _followed(top, paths):
    """Return paths, and what the symbolic links on their way point to; none at all where the whole folder is asked."""
    found, done, waiting = set(), set(), [posixpath.normpath(path.lstrip("/")) for path in paths]
    while waiting:
        path = waiting.pop()
        if path in done or path == ".." or path.startswith("../"):
            continue
        done.add(path)
        found.add(path)
        parts = path.split("/")
        for end in range(1, len(parts) + 1):
            for link in _links(top, "/".join(parts[:end])):
                found.add(link)
                target = Path(top, link).readlink().as_posix()
                base = PurePosixPath("" if target.startswith("/") else PurePosixPath(link).parent)
                waiting.append(posixpath.normpath(base.joinpath(target.lstrip("/"), *parts[end:]).as_posix()))
    return [] if "." in found else sorted(found)


def _links(top, path):
    """Return the symbolic links that a path, whose last part may have wildcards, names."""
    folder, _, name = path.rpartition("/")
    names = [name]
    if WILDCARD.search(name):
        try:
            names = [one.name for one in (top / folder).iterdir() if _matcher(name)(one.name)]
        except OSError:
            return []
    return [PurePosixPath(folder, one).as_posix() for one in names if _is_link(top / folder / one)]


def _is_link(path):
    try:
        return path.is_symlink()
    except PermissionError:  # told where it is sent
        return False


def _entries(top, excluded, included):
    """Yield the paths that are to be sent, each folder before what is in it, in the order of their names."""
    sent = set()

    def walk(folder):
        try:
            with os.scandir(top / folder) as found:
                entries = sorted(found, key=lambda one: os.fsencode(one.name))
        except PermissionError as error:
            raise _unsent(error, folder) if folder else unreadable(error, top, "reading the build's folder") from None
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            wanted = (not included or _matches(included, path)) and not _matches(excluded, path)
            if wanted:
                parents = _above(path)
                yield from (parent for parent in parents if parent not in sent)
                sent.update([*parents, path])
                yield path
            if entry.is_dir(follow_symlinks=False) and (wanted or _may_hold(path, excluded, included)):
                yield from walk(path)

    yield from walk("")


def _above(path):
    """Return the folders that a path lies in, the outermost first."""
    return [path[:end] for end, character in enumerate(path) if character == "/"]


def _matches(patterns, path):
    """Return whether a path or a folder above it matches the patterns, of which later ones can take it back."""
    above, matched = _above(path), False
    for pattern in patterns:
        wanted = pattern.startswith("!")
        if wanted == matched and any(map(_matcher(pattern.removeprefix("!")), (path, *above))):
            matched = not wanted
    return matched


@functools.cache
def _matcher(pattern):
    """Return a function that says whether a path matches a pattern, as github.com/moby/patternmatcher does."""
    if not re.search(r"[*?\\\[\]]", pattern):
        return pattern.__eq__
    if pattern.startswith("**") and not re.search(r"[*?\\\[\]]", pattern[2:]):
        text = f"(.*/)?{re.escape(pattern[3:])}" if pattern[2:3] == "/" else f".*{re.escape(pattern[2:])}"
    else:
        meanings = {"*": "[^/]*", "?": "[^/]", **{one: f"\\{one}" for one in ".+()|{}$"}}
        tokens = TOKEN.findall(pattern)
        texts = [meanings.get(one, "(.*/)?" if one.startswith("**") else one) for one in tokens]
        text = "".join([*texts[:-1], ".*"] if tokens[-1].startswith("**") else texts)
    try:
        with warnings.catch_warnings(action="ignore"):  # sets in sets, which both Python and Go take as they are
            return re.compile(text).fullmatch
    except re.error as error:
        remedy = r"write \[ for the character itself; a range goes upwards, as in [a-z]"
        raise CourseError("reading .dockerignore", f"the pattern {pattern!r} is none: {error}", remedy) from None


def _may_hold(path, excluded, included):
    """Return whether something in a folder can be wanted though the folder itself is not."""
    if included and not _matches(included, path):
        return any(WILDCARD.search(one) or one.startswith(f"{path}/") for one in included)
    return any(one.startswith("!") and (WILDCARD.search(one) or one[1:].startswith(f"{path}/")) for one in excluded)


def _stats(top, entries, own, files):
    """Yield a packet for each entry, and an empty one in the end; fill ``files`` with the paths by number."""
    seen = {}
    number = 0
    for path in entries:
        entry = _stat(top, path, own, seen)
        if entry is None:
            continue
        if not any(entry.mode & bits for bits in GO_MODES.values()):
            files[number] = path
        number += 1
        yield bytes(Packet(stat=entry))
    yield bytes(Packet())


def _stat(top, path, own, seen):
    """Return what the engine is told of a file, or None for one that is gone; owners are root, as always."""
    try:
        found = os.lstat(top / path)
        path.encode()
    except UnicodeEncodeError:
        remedy = "rename it, or name it in .dockerignore"
        raise CourseError(f"sending {os.fsencode(path)!r} to the engine", "its name is not UTF-8", remedy) from None
    except FileNotFoundError:
        return None  # gone since its folder was listed
    except PermissionError as error:  # its folder may be listed, and not entered
        raise _unsent(error, path) from None
    if path in own:  # the time has the engine fetch it, though it fetched a text of this length before
        return Stat(path=path, mode=_go_mode(stat.S_IFREG | 0o644), mtime_ns=time.time_ns(), size=len(own[path]))
    entry = Stat(path=path, mode=_go_mode(found.st_mode), mtime_ns=found.st_mtime_ns)
    if stat.S_ISLNK(found.st_mode):
        entry.linkname = (top / path).readlink().as_posix()
        entry.size = found.st_size
    elif stat.S_ISREG(found.st_mode):
        entry.size = found.st_size
        if found.st_nlink > 1:
            first = seen.setdefault((found.st_dev, found.st_ino), path)
            if first != path:
                entry.linkname, entry.size = first, 0
    elif stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
        entry.devmajor, entry.devminor = os.major(found.st_rdev), os.minor(found.st_rdev)
    entry.xattrs = _xattrs(top / path)
    return entry


def _go_mode(mode):
    permissions = stat.S_IMODE(mode)
    if sys.platform == "win32":  # which knows no executable bit
        permissions = permissions & 0o755 | 0o111
    extra = sum(go for bit, go in GO_BITS.items() if permissions & bit)
    return permissions & 0o777 | extra | GO_MODES.get(stat.S_IFMT(mode), 0)


def _xattrs(path):
    if not hasattr(os, "listxattr"):
        return []
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return [messages.Xattr(name, os.getxattr(path, name, follow_symlinks=False)) for name in names]
    except OSError:  # a file system without them
        return []


def _answer(packet, top, own, files):
    """Yield what the engine asks for: the parts of one file and an empty one, or the end of the call."""
    if packet.type == messages.END:
        yield bytes(Packet(type=messages.END))
        yield None
    elif packet.type == messages.ERROR:
        raise Refused(UNKNOWN, packet.data.decode(errors="replace"))  # its own error: it tells the build, too
    elif packet.type == messages.REQUEST:
        for part in _parts(top, files[packet.id], own):
            yield bytes(Packet(type=messages.DATA, id=packet.id, data=part))
        yield bytes(Packet(type=messages.DATA, id=packet.id))


def _parts(top, path, own):
    if path in own:
        for start in range(0, len(own[path]), PART_BYTES):
            yield own[path][start : start + PART_BYTES]
        return
    try:
        if stat.S_ISSOCK((top / path).lstat().st_mode):
            return  # an empty file in the image, as by the docker command
        with (top / path).open("rb") as file:
            while part := file.read(PART_BYTES):
                yield part
    except OSError as error:
        raise _unsent(error, path) from None


def _unsent(error, path):
    remedy = f"let yourself read it (chmod u+rX {path}), or name it in .dockerignore"
    return CourseError(f"sending {path} to the engine", error.strerror, remedy)
