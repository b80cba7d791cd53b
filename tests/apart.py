"""Run Python apart from this machine's engines: a mount and a network namespace of its own, with an empty /run."""

import contextlib
import json
import os
import secrets
import subprocess
import sys
import textwrap
from pathlib import Path

import docker
import pytest

from helpers import waiting

ENOUGH_SECONDS = 300  # for a program that works or ends, on a busy computer: reached only where something hangs
WITHOUT_FIREWALL = {"iptables": False, "ip-forward": False, "ip-masq": False}
PREPARE = """
import os, subprocess, sys
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
import docker, docker.context, tqdm  # before an ordinary user can no longer read them
from helpers import engine, state
from helpers.engine import doctor, dockerd, running

def become_nobody():
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
    os.environ["HOME"] = "/nonexistent"
"""

needs_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="makes namespaces and engines of its own: Linux, as root"
)


def python(code, network=False, **environment):
    """Return ``subprocess.CompletedProcess`` of Python code run apart; with ``network``, in this machine's network."""
    return subprocess.run(
        command(code, network), env=variables(environment), capture_output=True, text=True, timeout=ENOUGH_SECONDS
    )


def command(code, network=False):
    """Return the command line that runs Python code apart."""
    unshare = ["unshare", "--mount"] if network else ["unshare", "--mount", "--net"]
    return [*unshare, sys.executable, "-c", PREPARE + textwrap.dedent(code)]


def variables(changes):
    """Return this environment without what names an engine or a proxy, and with changes."""
    left_out = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "COURSE_ENGINE", "XDG_STATE_HOME")
    kept = {k: v for k, v in os.environ.items() if k not in left_out and not k.lower().endswith("_proxy")}
    return {**kept, **changes}


def alive(pid):
    """Return whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def ended(pid):
    """Return whether a process ends in time."""
    return waiting.until(lambda: not alive(pid), ENOUGH_SECONDS)


def engine_ended(folder):
    """Return whether all programs of an engine with its state in a folder end in time."""
    return all([ended(pid) for pid in _named(folder)]) and not _named(folder)


def _named(folder):
    """Return the processes whose command line names a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder) in (path / "cmdline").read_text(errors="replace"):
                found.append(int(path.name))
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has ended meanwhile
    return found


@contextlib.contextmanager
def empty_engine(folder, settings, **variables):
    """
    Give a client on an engine without images, for the time of a with block.

    It has a bridge of its own: one that is told to have none deletes docker0, which may be another engine's.
    """
    bridge, socket = f"empty-{secrets.token_hex(3)}", Path(folder) / "docker.sock"
    config = Path(folder) / "daemon.json"
    config.write_text(json.dumps({**_folders(Path(folder)), "bridge": bridge, **WITHOUT_FIREWALL, **settings}))
    subprocess.run(["ip", "link", "add", "name", bridge, "type", "bridge"], check=True)
    with (Path(folder) / "log").open("w") as log:
        dockerd = subprocess.Popen(
            ["dockerd", "--config-file", config], env={**os.environ, **variables}, stdout=log, stderr=log
        )
    try:
        waiting.until(lambda: socket.exists() or dockerd.poll() is not None, waiting.ENGINE_START_SECONDS)
        assert dockerd.poll() is None, (Path(folder) / "log").read_text()
        with contextlib.closing(docker.DockerClient(base_url=f"unix://{socket}", timeout=600)) as client:
            yield client
    finally:
        dockerd.terminate()
        dockerd.wait(ENOUGH_SECONDS)
        subprocess.run(["ip", "link", "delete", bridge], check=True)


def _folders(folder):
    """Return what an engine's daemon.json says of its files, all of them in one folder."""
    return {
        "data-root": str(folder / "data"),
        "exec-root": str(folder / "exec"),
        "pidfile": str(folder / "pid"),
        "hosts": [f"unix://{folder}/docker.sock"],
    }
