"""
What a helper costs: ``build`` and ``run`` against ``docker build`` and ``docker run``, interleaved.

With COURSE_ENGINE=vm, what the virtual machine costs: its resume, a container, an exec, and where their time goes.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from helpers import base_image, build, connect, run, table
from helpers.errors import CourseError
from helpers.images.build import course_tag

REPEATS = 15
APP = Path(__file__).parents[2] / "notebooks" / "apps" / "first"


def main():
    """Print the medians; return 0 where each helper takes at most 1.05 of the command, else 1."""
    if os.environ.get("COURSE_ENGINE") == "vm":
        return machine()
    rows = measure()
    table(rows)
    print(f"medians of {REPEATS}, interleaved; the build is cached, the container prints one line and is removed")
    return 0 if all(row["ratio"] <= 1.05 for row in rows) else 1


def measure():
    """Return one row a helper: ``name``, ``helper_seconds``, ``command_seconds``, ``ratio``."""
    if not shutil.which("docker"):
        said = "there is no docker command to compare with"
        raise CourseError("timing the helpers", said, "install it (Debian: docker.io)")
    client = connect()
    base = base_image(client, "debian:bookworm-slim")
    image = build(client, APP, tag="course/first", base=base)
    argument = f"BASE={course_tag(base)}"
    pairs = {
        "build": (
            lambda: build(client, APP, tag="course/first", base=base),
            ["docker", "build", "--tag", "course/first", "--build-arg", argument, str(APP)],
        ),
        "run": (
            lambda: run(client, image, remove=True),
            ["docker", "run", "--rm", "--label", "org.docker-course=1", "course/first"],
        ),
    }
    environment = {**os.environ, "DOCKER_HOST": _address(client), "DOCKER_BUILDKIT": "0"}
    return [_row(name, helper, command, environment) for name, (helper, command) in pairs.items()]


def machine():
    """Print what the virtual machine costs; return 0 where resume, run and exec take at most 2, 5 and 1 seconds."""
    from helpers.measure.phases import phases

    connect()  # builds it where need be
    resumes = [_seconds_of_resume() for _ in range(5)]
    client = connect()
    base = base_image(client, "debian:bookworm-slim")
    run(client, base, "true", remove=True)
    runs = [_seconds(lambda: run(client, base, "true", remove=True)) for _ in range(5)]
    waiting = run(client, base, ["sleep", "60"], detach=True)
    execs = [_seconds(lambda: waiting.exec_run("true")) for _ in range(5)]
    waiting.remove(force=True)
    times = {"resume, to the first answer": resumes, "docker run": runs, "docker exec": execs}
    table([_spread(name, seconds) for name, seconds in times.items()])
    print("\nwhere the time of one docker run goes:")
    table(phases(client, base))
    medians = [statistics.median(seconds) for seconds in times.values()]
    return 0 if all(median <= most for median, most in zip(medians, (2, 5, 1), strict=True)) else 1


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
        times["command"].append(
            _seconds(lambda: subprocess.run(command, env=environment, check=True, capture_output=True))
        )
    helper_median, command_median = (statistics.median(times[who]) for who in ("helper", "command"))
    return {
        "name": name,
        "helper_seconds": helper_median,
        "command_seconds": command_median,
        "ratio": helper_median / command_median,
    }


def _seconds(call):
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _address(client):
    from helpers.engine import dockerd, running

    return dockerd.socket_url() if dockerd.is_ours(client) else running.address()[1]
