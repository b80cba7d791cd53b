"""python3 -m helpers, typed as a person types it."""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from helpers import state
from helpers.engine import dockerd, supervisor

ENOUGH_SECONDS = 300  # for a command, on a busy computer
ROOT = Path(__file__).parents[2]
HELPERS = [sys.executable, "-m", "helpers"]


def typed(*arguments, **variables):
    """Run a command to its end."""
    environment = {**os.environ, **variables}
    return subprocess.run(
        [*HELPERS, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=ENOUGH_SECONDS
    )


def opened(request):
    """Open an address of this computer as soon as it answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + ENOUGH_SECONDS
    while True:
        try:
            return opener.open(request, timeout=ENOUGH_SECONDS)
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_lab_opens_at_the_first_notebook(client, own_port, tmp_path):
    """JupyterLab comes up, its address leads to 00_start_here, arguments after -- reach it, and Ctrl-C ends it."""
    port, name = own_port, f"test-{secrets.token_hex(4)}"
    lab = subprocess.Popen(
        [*HELPERS, "lab", "--", "--no-browser", f"--port={port}", "--ServerApp.port_retries=0"],
        cwd=ROOT,
        env={**os.environ, "JUPYTER_RUNTIME_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said = []
        for line in lab.stdout:
            said.append(line)
            if found := re.search(
                rf"http://127\.0\.0\.1:{port}/lab/tree/notebooks/00_start_here\.ipynb\?token=(\w+)", line
            ):
                break
        else:
            pytest.fail("".join(said))
        assert "Docker Engine" in said[0]
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/contents/notebooks/00_start_here.ipynb?content=0",
            headers={"Authorization": f"token {found[1]}"},
        )
        assert json.load(opened(request))["type"] == "notebook"
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/lab/api/workspaces/{name}",
            data=json.dumps({"data": {}, "metadata": {"id": name}}).encode(),
            headers={"Authorization": f"token {found[1]}"},
            method="PUT",
        )
        opened(request)
        kept = [path for path in (state.folder() / "workspaces").iterdir() if path.name.startswith(name)]
        assert kept, "the tabs of the course are among those of one's own work"
        kept[0].unlink()
        notification = "@jupyterlab/apputils-extension:notification"
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/lab/api/settings/{notification}",
            headers={"Authorization": f"token {found[1]}"},
        )
        properties = json.load(opened(request))["schema"]["properties"]
        assert properties["fetchNews"]["default"] == "false", "JupyterLab asks about news at its first start"
    finally:
        lab.send_signal(signal.SIGINT)
        time.sleep(0.3)
        lab.send_signal(signal.SIGINT)
        try:
            lab.communicate(timeout=ENOUGH_SECONDS)
        except subprocess.TimeoutExpired:
            lab.kill()
            raise
    assert client.ping()  # the tests still use the engine, so it is still there


def test_run_writes_copies_and_pages(client, tmp_path):
    """The first notebook is executed outside JupyterLab."""
    done = typed("run", "--output", str(tmp_path), "00_start_here")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00_start_here.html", "00_start_here.ipynb"]


@pytest.mark.slow
def test_run_of_an_unknown_notebook_names_those_that_there_are(tmp_path):
    """A misspelt name is no success."""
    done = typed("run", "--output", str(tmp_path), "no_such_notebook")
    assert done.returncode == 1
    assert "no_such_notebook" in done.stderr and "00_start_here" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--help"], ["lab", "--help"]])
def test_help(arguments):
    """Help lists the commands, before anything is set up."""
    done = typed(*arguments)
    assert "usage: python3 -m helpers" in done.stdout + done.stderr
    assert done.returncode == (0 if arguments else 2)


def test_arguments_of_jupyterlab_without_the_dashes():
    """Where --port belongs is said."""
    done = typed("lab", "--port", "8890")
    assert done.returncode == 2 and "lab -- --port 8890" in done.stderr


def test_extra_arguments_where_none_are_taken():
    """Doctor takes nothing after --."""
    done = typed("doctor", "--", "--port=1")
    assert done.returncode == 2 and "only lab and test" in done.stderr


@pytest.mark.parametrize("command", ["lab", "test", pytest.param("run", marks=pytest.mark.slow)])
def test_no_engine_is_one_message(command):
    """Without an engine, a command says what was tried, and there is no traceback."""
    done = typed(command, COURSE_ENGINE="running", DOCKER_HOST="tcp://127.0.0.1:9")
    assert done.returncode == 1
    assert "no Docker Engine could be reached" in done.stderr and "unset DOCKER_HOST" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_of_this_machine(client):
    """With an engine up, the doctor finds it and exits with 0."""
    done = typed("doctor")
    assert done.returncode == 0, done.stdout
    assert "an engine can be used" in done.stdout and "Docker Engine" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="there is no private engine on Windows")
def test_clean_remembers_what_is_on_an_engine_that_is_not_there(tmp_path):
    """Images of the course have no label: once their list is gone, nobody can tell them from a learner's."""
    variables = {"XDG_STATE_HOME": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    folder = tmp_path / "docker-course"
    folder.mkdir()
    (folder / "base-images").write_text("debian:trixie-slim sha256:1\n")
    (folder / "other").touch()
    done = typed("clean", **variables)
    assert f"kept in {folder}" in done.stdout and "clean it again" in done.stdout
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [
        ("base-images", "debian:trixie-slim sha256:1\n")
    ]
    (folder / "base-images").unlink()
    assert "kept" not in typed("clean", **variables).stdout


def test_clean_refuses_while_the_private_engine_is_in_use(monkeypatch, tmp_path):
    """A process holds the engine, as a notebook does: its data is not deleted beneath it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    data = dockerd.folder() / "data"
    data.mkdir()
    supervisor.hold(dockerd.folder())
    done = typed("clean", COURSE_ENGINE="dockerd")
    assert done.returncode == 1 and "close JupyterLab" in done.stderr
    assert data.exists()
