"""How much memory new programs may take. Standard library only."""

import contextlib
import re
from pathlib import Path

LIMITS = {  # where a control group's files are, by its version: the limit, and what is used
    1: ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    2: ("sys/fs/cgroup", "memory.max", "memory.current"),
}


def free_memory(root=Path("/")):
    """
    Return bytes of memory that new programs may take on this computer, and in the control groups around this process.

    A container or a service is such a group. No SDK call.

    Example::

        free_memory() / 1e9
    """
    meminfo = (root / "proc/meminfo").read_text()
    free = [int(re.search(r"MemAvailable:\s+(\d+)", meminfo)[1]) * 1024]
    for group, limit, used in _groups(root):
        with contextlib.suppress(OSError, ValueError):  # ValueError: "max", which is none
            left = int((group / limit).read_text()) - int((group / used).read_text())
            stat = (group / "memory.stat").read_text()
            free.append(left + int(re.search(r"^inactive_file (\d+)", stat, re.MULTILINE)[1]))
    return max(min(free), 0)


def _groups(root):
    """Yield the folder of each control group around this process, and the names of its files."""
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, limit, used = LIMITS[1 if controllers else 2]
        own = root / top / path.strip("/")
        for group in [own, *own.parents]:
            yield group, limit, used
            if group == root / top:
                break
