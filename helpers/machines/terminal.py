"""The docker command for terminals of a computer that has none: packed beside the machine; ``bin/docker`` starts it."""

import shutil
from pathlib import Path

from helpers.machines import disk

BIN = Path(__file__).with_name("bin")
ARCHIVE = "docker.tar.zst"  # in the machine's folder; unpacked at first use, since it is four times as large then


def wanted():
    """Return whether this computer has no docker command but the course's."""
    found = shutil.which("docker")
    return not found or Path(found).resolve() == BIN / "docker"


def folder():
    """Return the folder with the course's docker command, for PATH; None where there is another or none is made."""
    return BIN if wanted() and (disk.folder() / ARCHIVE).exists() else None
