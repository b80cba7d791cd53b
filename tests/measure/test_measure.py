"""Measuring: rows of numbers that could come out otherwise, and nothing left behind."""

import contextlib
import json
import os
import re
import secrets
import sys
import time
from pathlib import Path

import pytest

from helpers import build, measure_container, measure_vm, run, waiting
from helpers.errors import CourseError
from helpers.host import apt
from helpers.machines import disk
from helpers.measure import containers, machines
from helpers.measure.rows import ACCELERATORS, _slope, first_answer

ANSWER = Path(__file__).parents[2] / "notebooks" / "apps" / "answer"
RECORD = json.loads(machines.RECORDED.read_text())
ROW = {
    "name",
    "how",
    "page",
    "seconds",
    "least_seconds",
    "most_seconds",
    "memory_bytes",
    "overhead_bytes",
    "image_bytes",
}
ROW |= {"instance_bytes", "kernel", "own_kernel"}
OF_MACHINES = ROW | {"disk", "hypervisors", "snapshot_bytes", "resume_seconds", "secret_in_snapshot"}
OF_NUMBERS = {"name", "how", "overhead", "instances", "bytes", "overhead_bytes", "each_bytes", "overhead_each_bytes"}
LISTENS = (  # as QEMU's monitor does, for one connection
    f"""{sys.executable} -c 'import socket; s = socket.socket(socket.AF_UNIX); s.bind("%s/monitor"); s.listen()
c = s.accept()[0]; c.send(b"hello\\n"); c.recv(99); c.send(b"{{\\"return\\": 1}}\\n")'"""
)
CANNOT_RUN = sys.platform != "linux" or (
    bool(disk.missing_packages(build=True)) and not (os.geteuid() == 0 and apt.available())
)  # measure_vm installs what is missing
ENOUGH_SECONDS = 60  # for what does not wait for FIRST_PAGE_SECONDS, on a busy computer


def needs_a_machine(test):
    """Mark a test that starts a virtual machine."""
    return pytest.mark.engine(pytest.mark.skipif(CANNOT_RUN, reason="starts virtual machines: QEMU is missing")(test))


@pytest.fixture(scope="module")
def answer(client, base):
    """Return the image that serves one page, under a name of these tests."""
    tag = f"course/test-answer-{secrets.token_hex(4)}"
    yield build(client, ANSWER, tag=tag)
    client.images.remove(tag)


@pytest.fixture
def no_machine(monkeypatch):
    """Have no virtual machine run here."""
    monkeypatch.setattr(machines, "_hindrance", lambda memory: "no room")


@pytest.fixture
def left_behind(monkeypatch):
    """Return a function that gives what the measurements of this test left: folders, and processes that name one."""
    folders, made = [], machines._folder

    def remembered(stack):
        folders.append(made(stack))
        return folders[-1]

    def left():
        commands = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                commands.append(path.read_text(errors="replace"))
        assert folders, "nothing was measured"
        named = [words for words in commands if any(str(folder) in words for folder in folders)]
        return [*(folder for folder in folders if folder.exists()), *named]

    monkeypatch.setattr(machines, "_folder", remembered)
    return left


def test_one_container(client, answer, own):
    """Every key, in plausible ranges: less memory than its machine would take, the engine's kernel, no file written."""
    [row] = measure_container(client, answer, repeats=2)
    assert row.keys() == ROW and row["page"] == "Here I am."
    assert 0 < row["least_seconds"] <= row["seconds"] <= row["most_seconds"] < waiting.FIRST_PAGE_SECONDS
    assert 0 < row["overhead_bytes"] < row["memory_bytes"] < 50e6
    assert row["image_bytes"] > 1e6 and row["instance_bytes"] == 0
    assert row["kernel"] == client.info()["KernelVersion"] and row["own_kernel"] is False
    assert client.containers.list(all=True, filters=own) == []


def test_several_containers(client, answer):
    """More take more, and the fitted cost of one more lies between the steps."""
    rows = measure_container(client, answer, instances=(1, 2, 4))
    assert [row["instances"] for row in rows] == [1, 2, 4] and all(row.keys() == OF_NUMBERS for row in rows)
    one, two, four = (row["bytes"] for row in rows)
    assert one < two < four
    steps = [two - one, (four - two) / 2]
    assert min(steps) <= rows[0]["each_bytes"] <= max(steps)


def test_memory_of_a_container_that_takes_some(client, base):
    """What a program takes is counted, in its children too, and not as overhead."""
    code = '$x = "a" x 4e7; unless (fork) { $x .= "b" x 4e7 } sleep 600'
    container = run(client, base, ["perl", "-e", code], detach=True)

    def large():
        taken = containers._memory_of_containers(client, [container])
        return taken[0] > 120e6 and taken

    taken, overhead = waiting.until(large, ENOUGH_SECONDS)
    assert taken < 300e6 and 0 < overhead < 30e6


def test_memory_of_a_container_that_has_ended(client, base):
    """It is no zero, but an error that says what was tried."""
    container = run(client, base, ["true"], detach=True)
    container.wait()
    with pytest.raises(CourseError, match=r"reading the memory of containers(.|\n)*sees no process"):
        containers._memory_of_containers(client, [container])


def test_a_container_that_ends_before_it_answers(client, base):
    """Its log is shown; nothing waits for two minutes."""
    broken = run(client, base, ["false"], detach=True, ports={"8000/tcp": None})
    broken.wait()
    began = time.monotonic()
    with pytest.raises(CourseError, match="it has ended; its log says"):
        first_answer("", lambda: containers._over(broken))
    assert time.monotonic() - began < ENOUGH_SECONDS < waiting.FIRST_PAGE_SECONDS


def test_an_image_without_a_port(client, base):
    """It is not started."""
    with pytest.raises(CourseError, match="exposes no port"):
        measure_container(client, base)


@needs_a_machine
def test_one_machine(capsys, left_behind):
    """Every key; more of everything than a container; its snapshot answers, and shows what its memory had."""
    [row] = measure_vm(repeats=1)
    assert "measured here" in capsys.readouterr().out
    assert row.keys() == OF_MACHINES and row["page"] == "Here I am." and row["how"] in ACCELERATORS.values()
    assert 0 < row["resume_seconds"] < row["seconds"]
    assert (
        0 < row["overhead_bytes"] < row["memory_bytes"] and row["memory_bytes"] - row["overhead_bytes"] <= 128 * 2**20
    )
    assert 30e6 < row["snapshot_bytes"] < 200e6 and 50e6 < row["image_bytes"] < 500e6
    assert row["own_kernel"] and row["secret_in_snapshot"] and row["disk"] == "qcow2"
    assert not {"hvf", "whpx"} & {*row["hypervisors"]} and row["hypervisors"]
    assert left_behind() == []


@needs_a_machine
def test_a_machine_that_ends_before_it_answers(monkeypatch, capsys, left_behind):
    """QEMU's last words stand beside the recorded rows; nothing waits for two minutes, and nothing is left."""
    monkeypatch.setattr(
        machines.qemu, "command", lambda folder, *_, **__: ["sh", "-c", f"{LISTENS % folder}; echo burnt >&2"]
    )
    assert "recorded" in measure_vm()[0]["how"]
    assert "QEMU has ended: burnt" in capsys.readouterr().out and left_behind() == []


@needs_a_machine
def test_an_interrupt_leaves_no_machine(monkeypatch, left_behind):
    """Ctrl-C while a machine boots: it ends, and its folder goes."""

    def interrupted(*_):
        assert len(left_behind()) >= 2
        raise KeyboardInterrupt

    monkeypatch.setattr(machines, "first_answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure_vm(instances=(2,))
    assert left_behind() == []


@needs_a_machine
def test_as_many_machines_as_memory_is_free_for(monkeypatch):
    """Numbers that do not fit are left out; one row's cost is its quotient. Nobody waits for the machine's page."""
    monkeypatch.setattr(machines, "free_memory", lambda: 500 * 2**20)
    monkeypatch.setattr(machines, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(machines, "first_answer", lambda *_: "")
    [row] = measure_vm(instances=(1, 2, 4))
    assert row.keys() == OF_NUMBERS and row["instances"] == 1 and row["each_bytes"] == row["bytes"]


@pytest.mark.parametrize(
    ("ways", "keys"),
    [
        ({}, OF_MACHINES),
        ({"memory": 512}, OF_MACHINES),
        ({"disk": "vmdk"}, OF_MACHINES - {"snapshot_bytes", "resume_seconds", "secret_in_snapshot"}),
        ({"instances": (1, 2)}, OF_NUMBERS),
    ],
    ids=["128 MB", "512 MB", "vmdk", "several"],
)
def test_rows_from_elsewhere(no_machine, capsys, ways, keys):
    """Where no machine runs, recorded rows have the same keys, and machine and date on each of them."""
    rows = measure_vm(**ways)
    said = capsys.readouterr().out
    assert [row.get("instances") for row in rows] == list(ways.get("instances", [None]))
    for row in rows:
        assert row.keys() == keys
        assert re.search(r"recorded \d{4}-\d\d-\d\d on \d+ cores, \w+", row["how"])
    assert "not measured here" in said and "no room" in said and RECORD["date"] in said and RECORD["machine"] in said


def test_what_was_not_recorded(no_machine):
    """There is no row to show, and why no machine runs."""
    with pytest.raises(CourseError, match=r"no room\n(.|\n)*memory=128"):
        measure_vm(memory=333)


def test_a_machine_that_fails(monkeypatch, capsys):
    """QEMU's words stand beside the recorded rows."""

    def failing(*_):
        raise CourseError("starting", "QEMU says no", "try again")

    monkeypatch.setattr(machines, "_hindrance", lambda memory: None)
    monkeypatch.setattr(machines, "_machines", failing)
    assert "recorded" in measure_vm()[0]["how"] and "QEMU says no" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("module", "name", "value", "said"),
    [
        (sys, "platform", "darwin", "needs Linux on x86-64, and this is darwin"),
        (machines.platform, "machine", lambda: "aarch64", "this is linux on aarch64"),
        (machines, "free_memory", lambda: 200e6, "200 MB of memory are free, and a machine takes 302"),
    ],
)
def test_hindrances(monkeypatch, module, name, value, said):
    """Another system, another processor, no room."""
    monkeypatch.setattr(disk, "missing_packages", lambda build: [])
    monkeypatch.setattr(module, name, value)
    assert said in machines._hindrance(128)


def test_missing_packages_of_an_ordinary_user(monkeypatch):
    """They are told the command to type."""
    monkeypatch.setattr(disk, "missing_packages", lambda build: ["qemu-utils"])
    monkeypatch.setattr(machines.apt, "available", lambda: True)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "sudo apt-get update && sudo apt-get install --yes qemu-utils" in machines._hindrance(128)


def test_the_parts_of_a_memory():
    """The guest's memory is the mapping that is as large; the sum is what the kernel itself sums up."""
    smaps = (
        "7f00-7f80 rw-p 0 00:00 0\nSize:   131072 kB\nRss: 900 kB\nPss:   800 kB\nPss_Dirty: 5 kB\n"
        "5500-5600 r-xp 0 fe:00 7  /usr/bin/qemu\nSize:   8000 kB\nRss: 50 kB\nPss:   25 kB\nPss_Dirty: 0 kB\n"
    )
    assert machines._parts_of_memory(smaps, 128) == (825 * 1024, 800 * 1024)
    assert machines._parts_of_memory(smaps, 64)[1] == 800 * 1024 and machines._parts_of_memory(smaps, 256)[1] == 0


def test_the_sum_is_the_kernels():
    """Of this very process."""
    total, guest = machines._memory_of_machine(os.getpid(), 10**6)
    whole = int(re.search(r"^Pss:\s+(\d+)", Path("/proc/self/smaps_rollup").read_text(), re.MULTILINE)[1]) * 1024
    assert guest == 0 and abs(total - whole) < 0.05 * whole


def test_the_cost_of_one_more():
    """The slope of the line of least squares; a quotient where there is but one row."""
    rows = [{"instances": n, "bytes": 50 + 10 * n} for n in (1, 2, 4)]
    assert _slope(rows, "bytes") == pytest.approx(10)
    assert _slope([{"instances": 2, "bytes": 30}], "bytes") == 15
