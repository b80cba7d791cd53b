"""
The life of an engine that the course starts: it runs as long as a process uses it.

A supervisor, a process of its own, runs the engine and ends with it. A file lock tells who uses the engine: it ends
with its process, however that ends.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from helpers import waiting
from helpers.errors import CourseError

ROOT = Path(__file__).parents[2]
_held = {}


def hold(folder):
    """Count this process among the users of the engine that a folder belongs to, until it ends."""
    import fcntl

    if folder not in _held:
        file = (folder / "users.lock").open("w")
        fcntl.flock(file, fcntl.LOCK_SH)
        _held[folder] = file


def in_use(users):
    """Return whether a process holds the lock file ``users`` (open); where none does, none can until it is closed."""
    import fcntl

    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


@contextlib.contextmanager
def unused(folder, what):
    """
    Keep new users away while an engine is removed.

    Raises:
        CourseError: JupyterLab, a test or another process of the course still uses it.
    """
    import fcntl

    with (folder / "users.lock").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)  # waits while the engine is being stopped after its last user
        if in_use(users):
            said = "it is in use by a process of the course"
            raise CourseError(f"removing {what}", said, "close JupyterLab, then try again")
        yield


def start(code, log_file):
    """Start a supervisor, which runs a line of Python and lives on when this process ends; return its ``Popen``."""
    with log_file.open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip


def alive(pid_file, argument):
    """Return the number in a pid file if that process still is ours: its command line holds ``argument``."""
    try:
        number = int(pid_file.read_text())
        arguments = Path(f"/proc/{number}/cmdline").read_text()  # empty when it is a zombie
    except (OSError, ValueError):
        return None
    return number if argument in arguments else None


def end(number):
    """Ask a process to end, wait for it, and kill it where it does not."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGTERM)
        if not waiting.until(lambda: _ended(number), waiting.ENGINE_STOP_SECONDS):
            os.kill(number, signal.SIGKILL)
            waiting.until(lambda: _ended(number), waiting.ENGINE_STOP_SECONDS)


def _ended(number):
    try:
        return not Path(f"/proc/{number}/cmdline").read_text()  # that of a zombie is empty
    except OSError:
        return True


def still_used(process, users, meanwhile=lambda: None):
    """Return whether an engine is used until its process ends; call ``meanwhile`` from time to time."""
    while process.poll() is None:
        if not in_use(users):
            return False  # a new user waits in ``hold`` until ``users`` is closed
        meanwhile()
        time.sleep(0.2)
    return True
