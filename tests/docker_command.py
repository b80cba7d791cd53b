"""The docker command of this computer, where it can build by BuildKit: what ours is held against."""

import functools
import os
import shutil
import subprocess

ENOUGH_SECONDS = 300


@functools.cache
def can_build():
    """Return whether there is a docker command with BuildKit: up to 22 it has that itself, later ones need buildx."""
    if not shutil.which("docker"):
        return False
    version = _output("docker", "version", "--format", "{{.Client.Version}}").partition(".")[0]
    return (version.isdigit() and int(version) < 23) or "buildx" in _output("docker", "buildx", "version")


def build(client, folder, tag, *arguments):
    """Have it build a folder on a client's engine; return ``subprocess.CompletedProcess``."""
    command = ["docker", "build", "--tag", tag, *arguments, str(folder)]
    variables = {"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1", **_address(client)}
    environment = {**os.environ, **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=ENOUGH_SECONDS)


def _address(client):
    """Return the variables that name a client's engine; one over TCP is named in the environment already."""
    path = getattr(client.api._custom_adapter, "socket_path", None)
    return {"DOCKER_HOST": f"unix://{path}"} if path else {}


def _output(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=ENOUGH_SECONDS)
    return done.stdout.strip()
