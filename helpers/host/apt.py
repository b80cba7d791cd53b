"""Debian packages: install them as root, or name the command that does. Standard library only."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

from helpers import state
from helpers.errors import CourseError
from helpers.host import network

LOCK = Path("/run/docker-course-apt.lock")  # only root installs, and only root writes there
SYSTEM_PROGRAMS = "/usr/local/sbin:/usr/sbin:/sbin"  # often not in the PATH of an ordinary user


def available():
    """Return whether this machine installs its packages with apt (Debian, Ubuntu and their children)."""
    return shutil.which("apt-get") is not None


def command(packages):
    """Return the line that a person types to install the packages."""
    return f"sudo apt-get update && sudo apt-get install --yes {' '.join(packages)}"


def install(*packages, why):
    """
    Install Debian packages, saying so; as an ordinary user, name the command that does it.

    Raises:
        CourseError: not root, no apt here, or apt failed; with the command to run, or the tail of its log.

    Example::

        install("docker.io", why="no Docker Engine is installed")
    """
    tried = f"{why}; wanted to install {', '.join(packages)}"
    if not available():
        remedy = "install them with this system's own package manager, then try again"
        raise CourseError(tried, "this machine has no apt-get", remedy)
    if os.geteuid() != 0:
        raise CourseError(tried, "only root may install packages", command(packages))
    print(f"{why}: installing {', '.join(packages)} with apt-get", flush=True)
    with state.Lock(LOCK):  # apt-get itself waits for another installation, but not for another update
        if not any(Path("/var/lib/apt/lists").glob("*_Packages*")):
            _apt_get("update", packages=packages)
        try:
            _apt_get("install", "--yes", "--no-install-recommends", *packages, packages=packages)
        except CourseError:
            # the package lists may be older than the archive: fetch them and try once more
            _apt_get("update", packages=packages)
            _apt_get("install", "--yes", "--no-install-recommends", *packages, packages=packages)


def known(*packages):
    """Return those of some packages that this release of Debian or Ubuntu has."""
    done = subprocess.run(["apt-cache", "pkgnames"], capture_output=True, text=True)
    return sorted(set(packages) & set(done.stdout.split()))


def _apt_get(*arguments, packages):
    with _progress(f"apt-get {arguments[0]}"):
        done = subprocess.run(
            ["apt-get", "--quiet", "--quiet", "-o", "DPkg::Lock::Timeout=120", *arguments],
            env={**os.environ, **network.variables(), "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-8:])
        raise CourseError(f"apt-get {' '.join(arguments)}", tail, f"try it by hand: {command(packages)}")


def _progress(title):
    """Return a bar, or none where tqdm is still to be installed."""
    try:
        from helpers.progress import progress
    except ImportError:
        return contextlib.nullcontext()
    return progress(total=None, desc=title)
