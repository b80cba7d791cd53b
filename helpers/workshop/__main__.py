"""python3 -m helpers.workshop plain | disk: make the virtual machine, in a process of its own that others start."""

import os
import signal
import sys

from helpers.errors import CourseError
from helpers.machines import disk
from helpers.state import Lock
from helpers.workshop.make import make_disk, make_plain

MAKERS = {"plain": make_plain, "disk": make_disk}


def main(name):
    """Make a disk where it has to be made; return 0, or 1 after saying why that failed."""
    signal.signal(signal.SIGTERM, _interrupt_all)
    try:
        with Lock(disk.folder() / "build.lock"):
            if why := disk.problem(name):
                MAKERS[name](why)
        return 0
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _interrupt_all(*_):
    """Have this process and those that it started put their things away: whoever started this one has ended."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) if sys.argv[1:] in (["plain"], ["disk"]) else __doc__)
