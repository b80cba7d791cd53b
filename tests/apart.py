"""Run Python apart from this machine's engines: a mount and a network namespace of its own, with an empty /run."""

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import docker
import pytest

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
        command(code, network), env=variables(environment), capture_output=True, text=True, timeout=120
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


def ended(pid, seconds=30):
    """Return whether a process ends in time."""
    return becomes(lambda: not alive(pid), seconds)


def becomes(condition, seconds=30):
    """Return whether a condition comes true in time."""
    deadline = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return true


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


class empty_engine:
    """
    An engine without images, for the time of a with block.

    It has a bridge of its own: one that is told to have none deletes docker0, which may be another engine's.
    """

    def __init__(self, folder, settings, **variables):
        self.folder, self.settings, self.variables = Path(folder), settings, variables
        self.bridge = f"empty-{os.getpid()}"

    def __enter__(self):
        """Start it."""
        address = f"unix://{self.folder}/docker.sock"
        subprocess.run(["ip", "link", "add", "name", self.bridge, "type", "bridge"], check=True)
        config = {
            "data-root": str(self.folder / "data"),
            "exec-root": str(self.folder / "exec"),
            "pidfile": str(self.folder / "pid"),
            "hosts": [address],
            "bridge": self.bridge,
            "iptables": False,
            "ip-forward": False,
            "ip-masq": False,
            **self.settings,
        }
        (self.folder / "daemon.json").write_text(json.dumps(config))
        self.log = (self.folder / "log").open("w")
        self.dockerd = subprocess.Popen(
            ["dockerd", "--config-file", str(self.folder / "daemon.json")],
            env={**os.environ, **self.variables},
            stdout=self.log,
            stderr=self.log,
        )
        deadline = time.monotonic() + 30
        while not (self.folder / "docker.sock").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.client = docker.DockerClient(base_url=address, timeout=60)
        return self.client

    def __exit__(self, *_):
        """Stop it."""
        self.client.close()
        self.dockerd.terminate()
        self.dockerd.wait(30)
        self.log.close()
        subprocess.run(["ip", "link", "delete", self.bridge], check=True)
