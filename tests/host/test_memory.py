"""Free memory: that of the computer, and that of the control groups around this process."""

import os
import types
from pathlib import Path

import pytest

from helpers.host.memory import free_memory
from helpers.machines import disk

COMPUTER = 2_000_000 * 1024  # bytes available, as the files below have it
TWO, ONE = ("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")


def group(root, folder, names, *values):
    """Write what a control group says: its limit, what is used, and what of that is cached files."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    for name, value in zip((*names, "memory.stat"), values, strict=True):
        (root / folder / name).write_text(f"{value}\n")


@pytest.mark.parametrize(
    ("own", "groups", "free"),
    [
        ("0::/", [], COMPUTER),
        ("0::/", [("", TWO, "max", 5, "inactive_file 1")], COMPUTER),
        ("0::/", [("", TWO, 900, 500, "file 7\ninactive_file 100")], 500),
        ("0::/", [("", TWO, 900, 990, "inactive_file 0")], 0),
        ("0::/user/app", [("user", TWO, 900, 600, "inactive_file 0"), ("user/app", TWO, "max", 9, "")], 300),
        ("0::/user/app", [("user/app", TWO, 900, 700, "inactive_file 0"), ("other", TWO, 9, 9, "")], 200),
        ("4:memory:/\n0::/", [("memory", ONE, 700, 100, "inactive_file 0")], 600),
        ("4:cpu,memory:/a\n0::/", [("memory/a", ONE, 70, 10, "inactive_file 0")], 60),
        ("3:cpu:/a\n4:memory:/\n0::/", [("memory/a", ONE, 70, 10, "inactive_file 0")], COMPUTER),
        ("4:memory:/docker/name\n0::/", [("memory", ONE, 70, 10, "inactive_file 0")], 60),
    ],
    ids=["no limit", "max", "version 2", "over it", "one around it", "its own", "version 1", "own of version 1",
         "that of another resource", "seen from within a container"],
)  # fmt: skip
def test_free_memory(tmp_path, own, groups, free):
    """The least of what the computer has left and what the groups may take, without cached files."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable:   2000000 kB\n")
    (tmp_path / "proc/self/cgroup").write_text(own + "\n")
    for folder, *facts in groups:
        group(tmp_path, f"sys/fs/cgroup/{folder}", *facts)
    assert free_memory(tmp_path) == free


@pytest.mark.parametrize(
    ("flag", "free", "memory", "in_memory"),
    [(0, 10**10, 10**10, True), (0, 64 << 20, 10**10, False), (os.ST_NOEXEC, 10**10, 10**10, False),
     (0, 10**10, 2 * 10**9, False)],
    ids=["there is room", "too small, as in a container", "no code may run there", "2 GB for all, as on Binder"],
)  # fmt: skip
def test_where_user_mode_linux_keeps_its_memory(monkeypatch, flag, free, memory, in_memory):
    """It runs code from that file; where the file lies on the disk, building takes more of that."""
    monkeypatch.setattr(disk.os, "statvfs", lambda _: types.SimpleNamespace(f_flag=flag))
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=free))
    monkeypatch.setattr(disk, "SHARED_MEMORY", Path("/"))
    monkeypatch.setattr(disk, "free_memory", lambda: memory)
    assert disk.memory_as_files() is in_memory
    assert (disk.build_bytes() > disk.BUILD_BYTES) is not in_memory
