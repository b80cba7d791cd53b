"""The virtual machine: built, saved, resumed; its engine shared and kept to its user; and what may go wrong with it."""

import hashlib
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import apart
import pytest

from helpers import waiting
from helpers.engine import vm_supervisor
from helpers.machines import disk

pytestmark = [
    apart.needs_root,  # it installs what is missing, and becomes other users
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the machine is for x86-64"),
]

# An engine without the notebooks' images is ready in a minute: tests/binder/rehearse builds those, as Binder does.
WITHOUT_IMAGES = """
import sys
from helpers.machines import disk, saved
def without_images(name, make=disk.make):
    make("plain")
    disk.shutil.copy(disk.folder() / "plain.qcow2", disk.folder() / "disk.qcow2")
    disk.write_record("disk", ("disk.qcow2", "vmlinuz", "initrd"))
disk.make = without_images
from helpers import engine, run, url
from helpers.engine import vm
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a folder for XDG_STATE_HOME with a machine in it, saved with its engine up."""
    folder = Path("/tmp") / f"dc-machine-{os.getpid()}"  # short, since sockets lie in it
    folder.mkdir()
    done = python("engine.connect('vm')", folder)
    assert done.returncode == 0, done.stderr
    yield folder
    ended = over(folder)
    shutil.rmtree(folder)
    assert ended


@pytest.fixture(scope="module")
def image(home):
    """Return an archive to be imported as an image; the machine's own busybox is in it, and nothing else."""
    with (home / "docker-course" / "machine" / "initrd").open("rb") as initrd:
        busybox = subprocess.run(["cpio", "--extract", "--to-stdout", "bin/busybox"], stdin=initrd, capture_output=True)
    (home / "busybox").write_bytes(busybox.stdout)
    (home / "busybox").chmod(0o755)
    subprocess.run(["tar", "-C", home, "-cf", home / "image.tar", "busybox"], check=True)
    return home / "image.tar"


def python(code, home, **variables):
    """Return ``subprocess.CompletedProcess`` of Python code that uses the machine."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_IMAGES + textwrap.dedent(code)],
        env=apart.variables({"XDG_STATE_HOME": str(home), **variables}), capture_output=True, text=True, timeout=300,
    )  # fmt: skip


class User:
    """A process that uses the engine until ``end``."""

    def __init__(self, home):
        code = WITHOUT_IMAGES + "vm.connect(); print(vm.address(), flush=True); sys.stdin.read()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], env=apart.variables({"XDG_STATE_HOME": str(home)}),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.address = self._address()

    def _address(self):
        """Return the address that it prints, after what else there may be to say."""
        for line in self.process.stdout:
            if line.startswith("tcp://"):
                return line.strip()
        return pytest.fail("it has ended")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        """Let it end, as a notebook's kernel does."""
        self.process.stdin.close()
        self.process.wait(30)


def session(home):
    """Return the folder of the session."""
    return home / "docker-course" / "machine" / "session"


def machine_pid(home):
    """Return the process id of QEMU."""
    said = subprocess.run(["pgrep", "-f", f"^qemu.*{session(home)}"], capture_output=True, text=True).stdout
    return int(said.split()[0])


def over(home):
    """Return whether the session, its programs and its files are gone in time."""

    def gone():
        left = subprocess.run(["pgrep", "-f", str(session(home))], capture_output=True).returncode == 0
        return not left and not session(home).exists()

    return waiting.until(gone, waiting.ENGINE_START_SECONDS, pause=0.1)


def test_two_processes_share_one_engine_and_the_last_one_ends_it(home):
    """The second reuses the machine; it lives as long as one of them."""
    with User(home) as first, User(home) as second:
        assert first.address == second.address != ""
        first.end()
        time.sleep(1)
        assert machine_pid(home)
    assert over(home)


def test_a_killed_kernel_leaves_nothing(home):
    """After kill -9 of its only user, the machine ends and its files go."""
    with User(home) as user:
        user.process.kill()
    assert over(home)


def test_stop_ends_it(home):
    """``stop`` ends the machine though a process still counts as its user."""
    with User(home):
        done = python("print(vm.stop(), vm.stop())", home)
        assert done.stdout.split() == ["True", "False"]
        assert over(home)


def test_a_killed_machine_is_resumed_at_the_same_address(home):
    """QEMU is killed: the client of the notebook goes on with the resumed engine; what was in it is gone."""
    code = """
        import os, signal, subprocess, time
        client = vm.connect()
        client.volumes.create("course-lost")
        os.kill(int(subprocess.run(["pgrep", "-f", f"^qemu.*{vm.folder()}"], capture_output=True, text=True).stdout), 9)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                print(client.ping(), client.volumes.list())
                break
            except OSError:
                time.sleep(0.2)
        print((disk.folder() / "supervisor.log").read_text())
    """
    done = python(code, home)
    assert "True []" in done.stdout and "crashed" in done.stdout, done.stderr
    assert over(home)


def test_a_machine_that_is_busy_is_waited_for(home):
    """A new user waits while it does not answer, and ends nothing of another notebook's."""
    with User(home) as user:
        pid = machine_pid(home)
        os.kill(pid, signal.SIGSTOP)
        goes_on = threading.Timer(12, os.kill, (pid, signal.SIGCONT))
        goes_on.start()
        done = python("print(vm.connect().ping(), vm.address())", home)
        goes_on.join()
        assert done.stdout.split() == ["True", user.address], done.stderr
        assert machine_pid(home) == pid
    assert over(home)


def test_a_truncated_state_is_told_and_saved_again(home):
    """Booted instead of resumed, in words; the next start resumes again."""
    state = next((home / "docker-course" / "machine").glob("saved-*/state.zst"))
    os.truncate(state, state.stat().st_size // 2)
    done = python("print(vm.connect().ping())", home)
    assert "True" in done.stdout and "saved state" in done.stdout, done.stderr
    assert over(home)
    done = python("print(vm.connect().ping())", home)
    assert "True" in done.stdout and "could not be resumed" not in done.stdout
    assert over(home)


@pytest.fixture
def zstd(home, tmp_path):
    """Return a function that gives a PATH with a zstd that breaks off some times before it works."""

    def failing(times):
        program = tmp_path / "zstd"
        real, failed = shutil.which("zstd"), tmp_path / "failed"
        failed.touch()
        script = f"""
            [ $(wc -l < {failed}) -ge {times} ] && exec {real} "$@"
            echo >> {failed}
            {real} "$@" | head -c 1000000
            exit 1
        """
        program.write_text("#!/bin/sh\n" + textwrap.dedent(script))
        program.chmod(0o755)
        return f"{tmp_path}:{os.environ['PATH']}"

    return failing


@pytest.mark.parametrize(("times", "words"), [(1, ""), (2, "booting instead")], ids=["once", "twice"])
def test_a_state_that_is_not_proved_bad_is_kept(home, zstd, times, words):
    """What fails once is tried again with the same state; where it fails again, the machine is booted, and it stays."""
    python("vm.connect()", home)
    assert over(home)
    state = next((home / "docker-course" / "machine").glob("saved-*/state.zst"))
    before = state.stat()
    done = python("print(vm.connect().ping())", home, PATH=zstd(times))
    assert "True" in done.stdout and words in done.stdout, done.stderr
    assert over(home)
    assert state.stat() == before
    done = python("print(vm.connect().ping())", home)
    assert done.stdout == "True\n", done.stdout + done.stderr
    assert over(home)


class Silent:
    """A QEMU whose monitor says that all is well, and whose engine never answers."""

    returncode, ended = None, False

    def poll(self):
        """Return None while it runs."""
        return self.ended or None

    def kill(self):
        """End it."""
        self.ended = True

    def wait(self):
        """Do nothing: it has ended."""


@pytest.mark.parametrize(
    ("answers", "booted", "refusals", "forgotten", "ends"),
    [
        (None, False, [], False, True),
        ("1.41", True, ["its engine did not answer; console: "] * 2, True, False),
        ("1.41", True, ["QEMU ended", "its engine did not answer; console: "], False, False),
        ("1.41", False, ["its engine did not answer; console: "], False, False),
    ],
    ids=["silent", "silent twice, then booted", "ended once, silent once, then booted", "silent once, then resumed"],
)
def test_a_silent_engine(monkeypatch, tmp_path, answers, booted, refusals, forgotten, ends):
    """It counts as a state refused; the state is deleted where it was silent twice and a booted machine answers."""
    calls, machine, clock = [], Silent(), iter(range(0, 10**6, 30))
    (tmp_path / "session").mkdir()
    monkeypatch.setattr(disk, "folder", lambda: tmp_path)
    monkeypatch.setattr(vm_supervisor.keys, "answers", lambda *_: answers)
    monkeypatch.setattr(vm_supervisor.saved, "forget", lambda: calls.append("forgotten"))
    monkeypatch.setattr(vm_supervisor.time, "monotonic", lambda: next(clock))
    watch = vm_supervisor._watch(machine, lambda _: {"status": "running"}, 1, booted, refusals)
    said = len(refusals)
    for _ in range(5):
        next(watch)
    assert (calls == ["forgotten"]) is forgotten
    assert machine.ended is ends and (len(refusals) > said) is ends


def test_a_damaged_disk_is_built_again(home):
    """A file that is not what was built is never used."""
    disk = home / "docker-course" / "machine" / "disk.qcow2"
    with disk.open("r+b") as file:
        file.seek(disk.stat().st_size // 2)
        file.write(b"damaged")
    done = python("print(disk.problem()); print(vm.connect().ping())", home)
    assert "disk.qcow2 is damaged" in done.stdout and "True" in done.stdout, done.stderr
    assert over(home)


def test_another_qemu_saves_its_own_state(home):
    """A state is tied to its QEMU: an upgraded one boots and saves again, the disk stays."""
    code = """
        from helpers.machines import qemu
        real = qemu.identity
        qemu.identity = lambda: "upgraded"
        vm.connect()
        qemu.identity = real
        print(vm.stop(), list(disk.folder().glob("saved-*")) != [saved.folder()])
    """
    before = (home / "docker-course" / "machine" / "disk.json").read_text()
    done = python(code, home)
    # the supervisor is a process of its own, and sees the real QEMU: it finds no state of it, and boots
    assert "saving the virtual machine" in done.stdout, done.stderr
    assert (home / "docker-course" / "machine" / "disk.json").read_text() == before
    assert over(home)


def test_stale_files_of_a_dead_session_are_no_obstacle(home):
    """Sockets, a pid file and an address that nobody is behind: removed, and a new session starts."""
    left = session(home)
    left.mkdir()
    for name in ("monitor", "control"):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(left / name))
    (left.parent / "supervisor.pid").write_text(str(os.getpid()))
    (left / "ready.json").write_text(json.dumps({"address": "tcp://127.0.0.1:9"}))
    done = python("print(vm.connect().ping())", home)
    assert done.stdout.strip().endswith("True"), done.stderr
    assert over(home)


def test_two_starts_at_once(home):
    """Two processes that start at the same moment end up with one machine."""
    code = WITHOUT_IMAGES + "vm.connect(); print(vm.address()); import time; time.sleep(3)"
    environment = apart.variables({"XDG_STATE_HOME": str(home)})
    both = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    addresses = {process.communicate(timeout=120)[0].split()[-1] for process in both}  # one may save a state first
    assert len(addresses) == 1 and addresses != {""}
    assert over(home)


def test_published_ports_come_and_go_with_the_container(home, image):
    """A port that a container publishes answers on this computer's 127.0.0.1, and no longer when it has ended."""
    code = """
        import contextlib, socket, time
        client = vm.connect()
        client.api.import_image(src=IMAGE, repository="course/test")
        web = run(client, "course/test", ["/busybox", "httpd", "-f", "-p", "8000", "-h", "/"], detach=True,
                  ports={"8000/tcp": None})
        address = url(web, 8000)
        print("open", address.startswith("http://127.0.0.1:"))
        web.remove(force=True)
        port, deadline = int(address.rpartition(":")[2]), time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)):
                    print("closed")
                    break
            time.sleep(0.1)
        with socket.socket() as foreign:
            with contextlib.suppress(OSError):  # somebody has it already
                foreign.bind(("127.0.0.1", port))  # the one that the engine would choose now
                foreign.listen()
            web = run(client, "course/test", ["/busybox", "sleep", "60"], detach=True, ports={"8000/tcp": None})
            web.reload()
            print("another:", int(web.ports["8000/tcp"][0]["HostPort"]) != port)
            web.remove(force=True)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            try:
                run(client, "course/test", ["/busybox", "sleep", "60"], detach=True,
                    ports={"8000/tcp": taken.getsockname()[1]})
            except Exception as error:
                print(error)
        print("left:", client.containers.list(all=True))
    """
    done = python(code.replace("IMAGE", repr(str(image))), home)
    assert "open True\nclosed\nanother: True\n" in done.stdout, done.stderr
    assert "another program of this computer has it" in done.stdout and "left: []" in done.stdout
    assert over(home)


def test_buildkit_runs_its_steps_by_crun(home, image):
    """BuildKit's steps work in the guest, and have a network; what it calls runc is crun, which is twice as fast."""
    code = """
        import io, json, tarfile
        client = vm.connect()
        client.api.import_image(src=IMAGE, repository="course/test")
        text = b'FROM course/test\\nRUN ["/busybox", "ip", "address", "show", "eth0"]\\n'
        context, member = io.BytesIO(), tarfile.TarInfo("Dockerfile")
        member.size = len(text)
        with tarfile.open(fileobj=context, mode="w") as tar:
            tar.addfile(member, io.BytesIO(text))
        said = client.api._post(client.api._url("/build"), params={"version": "2", "t": "course/test-step"},
                                data=context.getvalue(), headers={"Content-Type": "application/x-tar"}).text
        print("error" in said, client.images.get("course/test-step").history()[0]["CreatedBy"])
        from helpers.machines import qemu
        print(qemu.control(vm.folder(), None)("runc --version"))
    """
    done = python(code.replace("IMAGE", repr(str(image))), home)
    assert "False RUN /busybox ip address show eth0" in done.stdout, done
    assert "crun version" in done.stdout, done
    assert over(home)


def test_a_docker_command_for_a_computer_that_has_none(home, image):
    """It reaches the engine without a word about it, builds with BuildKit, and keeps the user's own settings."""
    code = """
        import pathlib
        from helpers.machines import terminal
        from helpers.workshop import tree
        home = pathlib.Path(HOME)
        vm.connect().api.import_image(src=IMAGE, repository="course/test")
        tools, theirs, app = (home / name for name in ("tools", "theirs", "app"))
        for folder in (tools, theirs / ".docker", app):
            folder.mkdir(parents=True)
        for name in "sh zstd tar sed readlink mktemp mv rm ln mkdir".split():
            (tools / name).symlink_to(disk.shutil.which(name))
        os.environ |= {"PATH": str(tools), "HOME": str(theirs)}
        print("before:", terminal.folder())
        os.environ["PATH"] = OWN_PATH
        tree.docker_command(disk.folder())
        os.environ["PATH"] = str(tools)
        os.environ["PATH"] = f"{terminal.folder()}:{tools}"
        print("found:", disk.shutil.which("docker") == str(terminal.folder() / "docker"))
        (theirs / ".docker" / "config.json").write_text('{"imagesFormat": "mine: {{.Repository}}"}')
        (app / "Dockerfile").write_text("FROM course/test\\nCOPY Dockerfile /\\n")
        def typed(line):
            done = disk.subprocess.run(["sh", "-c", line], capture_output=True, text=True)
            print(done.stdout, done.stderr)
        typed(f"docker build --progress plain -t course/test-typed {app}")
        typed("docker images")
        print("theirs:", *(path.name for path in (theirs / ".docker").iterdir()))
    """
    code = "import os\n" + textwrap.dedent(code).replace("HOME)", f"{str(home / 'user')!r})")
    done = python(code.replace("IMAGE", repr(str(image))).replace("OWN_PATH", repr(os.environ["PATH"])), home)
    assert "before: None" in done.stdout and "found: True" in done.stdout, done
    assert "[2/2] COPY Dockerfile /" in done.stdout and "mine: course/test-typed" in done.stdout, done
    assert "theirs: config.json\n" in done.stdout, done
    assert over(home)


def test_another_user_cannot_use_the_engine(home):
    """Neither without a certificate, nor with one of another authority, nor by reading this session's key."""
    code = """
        import encodings.idna, os, pathlib, ssl, socket, sys, trustme
        port, key = sys.argv[1:]
        plain, foreign = ssl._create_unverified_context(), ssl._create_unverified_context()
        trustme.CA().issue_cert("client@docker-course").configure_cert(foreign)
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        def ask(context):
            try:
                with context.wrap_socket(socket.create_connection(("127.0.0.1", int(port)), timeout=20)) as connection:
                    connection.sendall(b"GET /_ping HTTP/1.0\\r\\n\\r\\n")
                    return connection.recv(400)
            except OSError as error:
                return type(error).__name__.encode()
        print("without:", b"OK" in ask(plain), "foreign:", b"OK" in ask(foreign))
        try:
            pathlib.Path(key).read_text()
        except PermissionError:
            print("key: PermissionError")
    """
    with User(home) as user:
        command = [
            sys.executable,
            "-c",
            textwrap.dedent(code),
            user.address.rpartition(":")[2],
            session(home) / "key.pem",
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.stdout == "without: False foreign: False\nkey: PermissionError\n", done.stderr
    assert over(home)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("vm.shutil.disk_usage = lambda _: vm.shutil._ntuple_diskusage(9, 9, 10**6)", "free some disk space"),
        ("disk.shutil.which = lambda *a, **k: None; vm.os.geteuid = lambda: 1000; vm.apt.available = lambda: True",
         "apt-get install --yes qemu-system-x86 qemu-utils zstd"),
        ("vm.platform.machine = lambda: 'aarch64'", "needs Linux on x86-64; this is linux on aarch64"),
        ("vm.free_memory = lambda: 10**8", "close other programs"),
    ],
    ids=["disk full", "package missing", "another architecture", "no memory"],
)  # fmt: skip
def test_what_is_missing_is_told(home, broken, words):
    """One sentence says what lacks, and what to do; nothing is started."""
    done = python(f"{broken}\nengine.connect('vm')", home)
    assert done.returncode == 1 and words in done.stderr
    assert not session(home).exists()


@pytest.fixture
def small_disk(home):
    """Return a folder for XDG_STATE_HOME with the same machine, on a disk of a few hundred MB."""
    folder = Path(f"{home}-small")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600m", "tmpfs", folder], check=True)
    subprocess.run(["cp", "-a", home / "docker-course", folder], check=True)
    yield folder
    over(folder)
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


def test_a_full_disk_halts_the_machine_and_loses_nothing(small_disk, image):
    """While no space is left, that is told; once there is some, what was being written is written to its end."""
    code = """
        import threading, time
        saved.SESSION_DISK_BYTES = 0
        client = vm.connect()
        client.api.import_image(src=IMAGE, repository="course/test")
        filler = disk.folder() / "filler"
        with filler.open("wb") as file:
            while disk.shutil.disk_usage(disk.folder()).free > 30e6:
                file.write(bytes(10**6))
        def write():
            command = "/busybox yes course | /busybox head -c 80000000 > /big; /busybox sync; /busybox md5sum /big"
            print(run(client, "course/test", ["/busybox", "sh", "-c", command], remove=True))
        writer = threading.Thread(target=write)
        writer.start()
        deadline = time.monotonic() + 120
        while writer.is_alive() and time.monotonic() < deadline:
            try:
                vm.look()
            except vm.Unavailable as error:
                print(error.reason, "next:", error.remedy, "still writing:", writer.is_alive())
                break
            time.sleep(0.2)
        filler.unlink()
        writer.join(120)
        print("answers:", client.ping())
    """
    done = python(code.replace("IMAGE", repr(str(image))), small_disk)
    assert "is full" in done.stdout and "still writing: True" in done.stdout, done
    assert hashlib.md5((b"course\n" * 12_000_000)[:80_000_000]).hexdigest() in done.stdout, done
    assert "answers: True" in done.stdout, done


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=["Ctrl-C", "kill", "kill -9"])
def test_a_making_that_is_interrupted_leaves_nothing(tmp_path, number):
    """However the process that waits for it ends: the workshop and what it started end, and their folder goes."""
    work = tmp_path / "docker-course" / "machine" / "plain-unfinished"
    making = subprocess.Popen(
        [sys.executable, "-c", "from helpers.machines import disk; disk.make('plain')"],
        env=apart.variables({"XDG_STATE_HOME": str(tmp_path)}), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert waiting.until((work / "root").exists, waiting.ENGINE_START_SECONDS)
    making.send_signal(number)
    assert making.wait(waiting.ENGINE_START_SECONDS) != 0

    def gone():
        return subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True).returncode and not work.exists()

    assert waiting.until(gone, waiting.ENGINE_STOP_SECONDS)


def test_a_guest_that_hangs_in_boot_is_booted_again(home):
    """A first boot that never gets ready is given up, and the next one is saved."""
    code = """
        from helpers.machines import qemu
        real, tries = qemu.wait_for_engine, []
        def hangs_once(control, process):
            tries.append(1)
            if len(tries) == 1:
                raise qemu.Refused("booting", "it hangs", "try again")
            return real(control, process)
        qemu.wait_for_engine = hangs_once
        saved.save(disk.folder() / "saved-test")
        print(len(tries), (disk.folder() / "saved-test" / "state.zst").exists())
    """
    done = python(code, home)
    assert done.stdout.split() == ["2", "True"], done.stderr
    shutil.rmtree(home / "docker-course" / "machine" / "saved-test")
