"""
What a helper costs: ``build`` and ``run`` against ``docker build`` and ``docker run``, interleaved.

Then the two builders, on the five stages of notebook 07 after one line of the app has changed. With COURSE_ENGINE=vm,
what the virtual machine costs: its resume, a container, an exec, a build from the cache, and where their time goes.
"""

import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from helpers import base_image, build, connect, run, table
from helpers.errors import CourseError, refusal
from helpers.host.network import proxies_of
from helpers.images.build import build_quietly, remember
from helpers.images.pip_secrets import TARGETS, files

REPEATS = 15
BASE = "debian:trixie-slim"
APPS = Path(__file__).parents[2] / "notebooks" / "apps"
FIRST = APPS / "first"
STAGES = "Dockerfile.stages"


def main():
    """Print the medians; return 0 where build and run take at most 1.0 and 1.05 of the command's time, else 1."""
    if os.environ.get("COURSE_ENGINE") == "vm":
        return machine()
    rows = measure()
    table(rows)
    print(f"medians of {REPEATS}, interleaved; the build is cached, the container prints one line and is removed")
    builders = measure_builders()
    table(builders)
    print(f"medians of {REPEATS}, interleaved; {STAGES} of the web app, target final, one line of the app changed")
    most = {"build": 1.0, "run": 1.05}
    fast = all(row["ratio"] <= most[row["name"]] for row in rows) and builders[0]["ratio"] <= 0.5
    return 0 if fast else 1


def measure():
    """Return one row a helper: ``name``, ``helper_seconds``, ``command_seconds``, ``ratio``."""
    if not shutil.which("docker"):
        said = "there is no docker command to compare with"
        raise CourseError("timing the helpers", said, "install it (Debian: docker.io)")
    client = connect()
    base_image(client, BASE)
    image = build(client, FIRST, tag="course/first")
    pairs = {
        "build": (
            lambda: build_quietly(client, FIRST, tag="course/first"),
            ["docker", "build", "--tag", "course/first", str(FIRST)],
        ),
        "run": (
            lambda: run(client, image, remove=True),
            ["docker", "run", "--rm", "--label", "org.docker-course=1", "course/first"],
        ),
    }
    environment = {**os.environ, "DOCKER_HOST": _address(client), "DOCKER_BUILDKIT": "1"}
    return [_row(name, helper, command, environment) for name, (helper, command) in pairs.items()]


def measure_builders():
    """
    Return one row: ``name``, ``buildkit_seconds``, ``older_seconds``, ``ratio``.

    The older builder takes no secrets, so that its stages begin from a base with this computer's certificates in it.
    """
    client = connect()
    base_image(client, BASE)
    times = {"buildkit": [], "older": []}
    with tempfile.TemporaryDirectory() as work:
        app = shutil.copytree(APPS / "web", Path(work, "web"))
        base = _base_for_the_older_builder(client, Path(work, "base"))
        text = (app / STAGES).read_text()
        (app / "Dockerfile.older").write_text(text.replace(f"FROM {BASE} AS build", f"FROM {base} AS build"))
        for _ in range(REPEATS + 1):
            with (app / "devops" / "demo" / "views.py").open("a") as file:
                file.write(f"# {secrets.token_hex(8)}\n")  # that no earlier run has left in a cache
            newer = _seconds(lambda: build_quietly(client, app, tag="course/bench", dockerfile=STAGES, target="final"))
            times["buildkit"].append(newer)
            times["older"].append(_seconds(lambda: _older_build(client, app)))
    medians = {name: statistics.median(seconds[1:]) for name, seconds in times.items()}  # the first ones fill the cache
    row = {f"{name}_seconds": seconds for name, seconds in medians.items()}
    return [{"name": "one line changed", **row, "ratio": medians["buildkit"] / medians["older"]}]


def _base_for_the_older_builder(client, folder):
    folder.mkdir()
    lines = [f"FROM {BASE}"]
    for name, content in files().items():
        (folder / name).write_bytes(content)
        lines.append(f"COPY {name} {TARGETS[name]}")
    (folder / "Dockerfile").write_text("\n".join(lines))
    return build_quietly(client, folder, tag="course/bench-base").tags[0]


def _older_build(client, app):
    """Build by the older builder, and remember the stages that it leaves as images without a name."""
    options = {"dockerfile": "Dockerfile.older", "target": "final", "rm": True, "decode": True}
    options |= {"buildargs": proxies_of(client), "use_config_proxy": False}
    made = []
    for answer in client.api.build(path=str(app), tag="course/bench-older", **options):
        if said := refusal(answer):
            raise CourseError("building by the older builder", said, "see the Dockerfile")
        made += [word for word in answer.get("stream", "").split() if len(word) == 12]
    remember(made)


def machine():
    """Print what the virtual machine costs; return 0 where resume, run, exec and build take at most 2, 5, 1 and 1 s."""
    from helpers.measure.phases import phases

    connect()  # builds it where need be
    resumes = [_seconds_of_resume() for _ in range(5)]
    client = connect()
    base = base_image(client, BASE)
    run(client, base, "true", remove=True)
    runs = [_seconds(lambda: run(client, base, "true", remove=True)) for _ in range(5)]
    waiting = run(client, base, ["sleep", "60"], detach=True)
    execs = [_seconds(lambda: waiting.exec_run("true")) for _ in range(5)]
    waiting.remove(force=True)
    build_quietly(client, FIRST, tag="course/first")
    builds = [_seconds(lambda: build_quietly(client, FIRST, tag="course/first")) for _ in range(5)]
    times = {"resume, to the first answer": resumes, "docker run": runs, "docker exec": execs, "cached build": builds}
    table([_spread(name, seconds) for name, seconds in times.items()])
    print("\nwhere the time of one docker run goes:")
    table(phases(client, base))
    medians = [statistics.median(seconds) for seconds in times.values()]
    return 0 if all(median <= most for median, most in zip(medians, (2, 5, 1, 1), strict=True)) else 1


def _spread(name, seconds):
    median = statistics.median(seconds)
    return {"name": name, "median_seconds": median, "min_seconds": min(seconds), "max_seconds": max(seconds)}


def _seconds_of_resume():
    """Return how long a new process waits for the first answer of an engine that has to be resumed."""
    from helpers.engine import vm

    vm.stop()
    code = "import time; began = time.monotonic(); from helpers.engine import vm; vm.connect().version(); "
    code += "print(time.monotonic() - began)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _row(name, helper, command, environment):
    times = {"helper": [], "command": []}
    for _ in range(REPEATS):
        times["helper"].append(_seconds(helper))
        times["command"].append(_seconds(lambda: _typed(command, environment)))
    helper_median, command_median = (statistics.median(times[who]) for who in ("helper", "command"))
    return {
        "name": name,
        "helper_seconds": helper_median,
        "command_seconds": command_median,
        "ratio": helper_median / command_median,
    }


def _typed(command, environment):
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        remedy = "from version 23 on, docker build needs the plug-in buildx (Debian: docker-buildx)"
        raise CourseError(f"timing {' '.join(command)}", done.stderr.strip(), remedy)


def _seconds(call):
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _address(client):
    from helpers.engine import dockerd, running

    return dockerd.socket_url() if dockerd.is_ours(client) else running.address()[1]
