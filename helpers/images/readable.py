"""What stands at a path, and what is in a file: a sentence in place of PermissionError."""

import stat
from pathlib import Path

from helpers.errors import CourseError


def unreadable(error, path, tried):
    """Return the error of a file or folder that this user may not read."""
    remedy = f"let yourself read it and the folders above: chmod u+rX, as their owner; whose they are: ls -la {path}"
    return CourseError(f"{tried}: {path}", error.strerror, remedy)


def kind(path, tried):
    """Return ``folder`` or ``file``, or None where there is neither; what may not be looked at is a CourseError."""
    try:
        mode = Path(path).stat().st_mode
    except PermissionError as error:
        raise unreadable(error, path, tried) from None
    except (OSError, ValueError):
        return None
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else None


def content(file, tried):
    """Return the bytes of a file; one that may not be read is a CourseError."""
    try:
        return file.read_bytes()
    except PermissionError as error:
        raise unreadable(error, file, tried) from None
