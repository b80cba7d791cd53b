"""python3 -m helpers test: ruff, then pytest in parts, and how long each took."""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from helpers import engine
from helpers.commands import environment
from helpers.host import apt
from helpers.host.memory import free_memory

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PYTEST = (sys.executable, "-m", "pytest")
RUFF = (sys.executable, "-m", "ruff")
WITHOUT_ENGINE = "not engine and not slow and not machine and not browser and not terminal"
MAIN = "not machine and not browser and not terminal"
TWO_PROCESSES_BYTES = 4e9  # of memory: two kernels, and what notebook 01 starts


def test(arguments=(), quick=False, rest=False, everything=False):
    """
    Check the code, the helpers and the notebooks; print which part took how long, and return an exit status.

    ``quick`` is what needs no engine; ``rest`` is the virtual machine and JupyterLab in a browser, ``everything`` both
    that and the usual. ``arguments`` are pytest's own, in place of all that.
    """
    os.chdir(environment.ROOT)
    if arguments:
        return _run([*PYTEST, "--nbval", *arguments])
    parts = []
    if not rest:
        parts += [("ruff: rules", [*RUFF, "check", "--quiet", "."])]
        parts += [("ruff: format", [*RUFF, "format", "--check", "--quiet", "."])]
    if quick:
        print("Checking what needs no engine: about half a minute", flush=True)
        parts += [("without an engine", [*PYTEST, "-q", "tests", "-m", WITHOUT_ENGINE, *_two_processes()])]
    elif not rest:
        _say_what_will_be_done()
        parts += [("helpers and notebooks", [*PYTEST, "--nbval", "notebooks", "tests", "-m", MAIN, *_two_processes()])]
    if rest or everything:
        _add_browser()
        print("Checking the virtual machine, and JupyterLab in a browser: about ten minutes", flush=True)
        parts += [("machine and browser", [*PYTEST, "tests/machines", "tests/browser", *_two_processes()])]
    return _run_parts(parts)


def _say_what_will_be_done():
    client, kind = engine.find()  # held until this process ends
    print(engine.describe(client, kind))
    there = any(tag.startswith("course/calculator") for image in client.images.list() for tag in image.tags)
    minutes = "about 5 minutes" if there else "about 12 minutes, since images have to be made first"
    print(f"Checking code, helpers and notebooks: {minutes}. (test --all adds machine and browser.)", flush=True)


def _two_processes():
    """Return pytest-xdist's arguments: two processes, to each a file at a time, in the order of the folders."""
    enough = (os.cpu_count() or 1) > 1 and free_memory() > TWO_PROCESSES_BYTES
    return ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"] if enough else []


def _add_browser():
    """Install what tests in a browser need: the browser, as root on Debian; Python packages, in the course's .venv."""
    os.environ["COURSE_BROWSER"] = "required"  # nothing is left out in silence
    if not any(map(shutil.which, BROWSERS)):
        apt.install("chromium", why="JupyterLab is tested in a browser")
    own = Path(sys.prefix) == environment.VENV
    if own and importlib.util.find_spec("axe_playwright_python") is None:
        print("Adding the Python packages that the tests in a browser need", flush=True)
        environment.pip_install(Path(sys.executable), "[browser]")


def _run_parts(parts):
    """Run each part; print a line for each of them at the end, and return the largest exit status."""
    rows = []
    for name, command in parts:
        began = time.monotonic()
        status = _run(command)
        rows.append((name, time.monotonic() - began, status))
    for name, seconds, status in rows:
        result = f"failed ({status})" if status else "passed"
        print(f"{name:<22} {seconds // 60:3.0f} min {seconds % 60:02.0f} s  {result}")
    if any(status for name, _, status in rows if name.startswith("ruff")):
        print("what ruff found: ruff check . ; ruff format .", file=sys.stderr)
    return max(status for _, _, status in rows)


def _run(command):
    """Run a command and return its exit status; at Ctrl-C, wait while it puts its own things away."""
    process = subprocess.Popen(command)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise
