"""Where the course keeps what must outlive a notebook. Standard library only."""

import contextlib
import json
import os
from pathlib import Path

LABEL = "org.docker-course"
BASE_LABEL = "org.docker-course.base"
NOTEBOOK_LABEL = "org.docker-course.notebook"
ENDS_LABEL = "org.docker-course.ends"
NO_NOTEBOOK = "notebook"  # where JupyterLab does not tell which


def folder():
    """Return the course's state folder, ``$XDG_STATE_HOME/docker-course``, made if need be."""
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not base.is_absolute():  # as its specification says: a relative one would be another folder in each notebook
        base = Path.home() / ".local" / "state"
    path = base / "docker-course"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def remembered(kind, image, compute):
    """Return what ``compute()`` tells of an image, from a file the next time: what has an image's id never changes."""
    record = folder() / kind / image.id.removeprefix("sha256:")
    if not record.exists():
        record.parent.mkdir(exist_ok=True)
        unfinished = record.with_suffix(f".{os.getpid()}")  # another process may ask the same, and reads all or nothing
        unfinished.write_text(json.dumps(compute()))
        unfinished.rename(record)
    return json.loads(record.read_text())


def notebook():
    """
    Return the name of the notebook that this kernel serves, such as ``07_multi_stage``.

    JupyterLab tells it in JPY_SESSION_NAME; ``python3 -m helpers run`` and the tests set the same variable.
    """
    return Path(os.environ.get("JPY_SESSION_NAME", NO_NOTEBOOK)).name.removesuffix(".ipynb")


class Lock:
    """A file lock that ends with its process, and what to print where it is waited for; on Windows, none."""

    def __init__(self, path, waiting=""):
        self.path, self.waiting = path, waiting

    def __enter__(self):
        self.file = self.path.open("w")
        with contextlib.suppress(ImportError):
            import fcntl

            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if self.waiting:
                    print(self.waiting, flush=True)
                fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_):
        self.file.close()
