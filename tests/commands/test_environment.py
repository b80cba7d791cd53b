"""The environment is made once, survives interruption, and never empties what somebody else made."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import apart
import backend
import pytest

from helpers import waiting
from helpers.commands import environment
from helpers.errors import CourseError

ROOT = Path(__file__).parents[2]
ENOUGH_SECONDS = 300  # for making an environment, on a busy computer
OUTSIDE = ("VIRTUAL_ENV", "CONDA_PREFIX", "COURSE_ENGINE", "PYTHONPATH")


@pytest.fixture
def clone(tmp_path):
    """Return a copy of the course that needs one package only, of this folder: it has what these tests run with."""
    copy, packages = tmp_path / "course", tmp_path / "packages"
    shutil.copytree(ROOT / "helpers", copy / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(backend.__file__, copy)
    backend.write_pyproject(copy, "course_needs>=1.0")
    packages.mkdir()
    backend.write_wheel(packages, "course_needs", "1.0", {"course_needs.pth": sysconfig.get_path("purelib")})
    backend.write_wheel(packages, "course_wants", "2.0", {"course_wants.py": ""})
    return copy


def variables(clone, **changes):
    """Return an environment outside any virtual one, with packages from a folder and a state folder of its own."""
    kept = {k: v for k, v in os.environ.items() if k not in OUTSIDE}
    packages = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(clone.with_name("packages"))}
    return {**kept, **packages, "XDG_STATE_HOME": str(clone / "state"), **changes}


def helpers(clone, *arguments, **changes):
    """Run ``python3 -m helpers`` in a clone."""
    return subprocess.run(
        [sys._base_executable, "-m", "helpers", *arguments],
        cwd=clone,
        env=variables(clone, **changes),
        capture_output=True,
        text=True,
        timeout=ENOUGH_SECONDS,
    )


@pytest.mark.slow
def test_interrupted_then_made_then_quick_then_offline_then_moved(clone):
    """Each command goes on from what the one before left, and says what it does; files of others in .venv stay."""
    process = subprocess.Popen(
        [sys._base_executable, "-m", "helpers", "stop"],
        cwd=clone,
        env=variables(clone),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert waiting.until((clone / ".venv" / "bin" / "python").exists, ENOUGH_SECONDS, pause=0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=ENOUGH_SECONDS)
    assert process.returncode == 130 and "interrupted" in said and "Traceback" not in said

    made = helpers(clone, "stop")
    assert made.returncode == 0, made.stderr
    assert "left unfinished" in made.stdout and "Setting up .venv" in made.stdout
    quick = helpers(clone, "stop")
    assert quick.stdout.strip() == "no private engine of the course is running"

    moved = clone.rename(clone.with_name("moved"))
    own = moved / ".venv" / "thesis.txt"
    own.write_text("years of work")
    backend.write_pyproject(moved, "course_needs>=1.0", "course_wants>=2.0")
    dead = {"PIP_INDEX_URL": "https://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0"}
    offline = helpers(moved, "stop", **dead, PIP_NO_INDEX="0", PIP_FIND_LINKS="")
    assert offline.returncode == 1 and "Traceback" not in offline.stderr
    assert "pip install" in offline.stderr and "HTTPS_PROXY" in offline.stderr and "PIP_CERT" in offline.stderr

    there = helpers(moved, "stop")
    assert there.returncode == 0 and "Setting up .venv" in there.stdout, there.stderr
    look = [moved / ".venv" / "bin" / "python", "-c", "import helpers, course_wants; print(helpers.__file__)"]
    shown = subprocess.run(look, cwd=moved.parent, env=variables(moved), capture_output=True, text=True)
    assert shown.stdout.strip() == str(moved / "helpers" / "__init__.py"), shown.stderr
    assert own.read_text() == "years of work"


@pytest.mark.slow
def test_two_commands_at_once_set_up_one_environment(clone):
    """The second one says that it waits, and then uses what the first has made."""
    both = [
        subprocess.Popen(
            [sys._base_executable, "-m", "helpers", "stop"], cwd=clone, env=variables(clone),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("Setting up .venv" in text for text in said) == 1
    assert sum("waiting for it" in text for text in said) == 1


def test_the_active_environment_is_used_when_it_has_everything():
    """In the environment that runs these tests, a command needs no other one."""
    code = "from helpers.commands import environment; print(environment.missing())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr


def test_an_old_python_is_told_so():
    """Python 3.10 and older get one sentence, not a syntax error."""
    code = "import sys, runpy; sys.version_info = (3, 9, 2); runpy.run_module('helpers', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.startswith("The course needs Python 3.11 or newer; this is Python 3.9")


@pytest.mark.parametrize("name", ["__main__.py", "__init__.py"])
def test_an_old_python_can_read_the_first_lines(name):
    """What runs before the version is looked at has to be in the grammar of old Pythons."""
    import ast

    ast.parse((ROOT / "helpers" / name).read_text(), feature_version=(3, 7))


def test_standard_library_only_until_the_environment_exists():
    """The command line, set-up and diagnosis of it load nothing that has to be installed."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import helpers, helpers.__main__, helpers.host.apt"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_loads_nothing():
    """docker-py and matplotlib load when a name is first used."""
    code = "import sys, helpers; print([m for m in ('docker', 'matplotlib', 'tqdm', 'requests') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@apart.needs_root
def test_an_ordinary_user_is_told_the_command(tmp_path):
    """Only root installs packages; anybody else gets the line to type."""
    code = """
        from helpers.host import apt
        become_nobody()
        try:
            apt.install("docker.io", why="no Docker Engine is installed")
        except Exception as error:
            print(type(error).__name__, error)
    """
    done = apart.python(code)
    assert done.stdout.startswith("CourseError no Docker Engine is installed")
    assert "sudo apt-get update && sudo apt-get install --yes docker.io" in done.stdout


@apart.needs_root
def test_an_apt_that_fails_is_quoted(tmp_path):
    """A package that no archive has: apt's own words and the command to try by hand."""
    code = """
        from helpers.host import apt
        try:
            apt.install("no-such-package-of-the-course", why="a test")
        except Exception as error:
            print(type(error).__name__, error)
    """
    done = apart.python(code, network=True)
    assert "CourseError" in done.stdout and "Unable to locate package no-such-package-of-the-course" in done.stdout
    assert "try it by hand" in done.stdout


def test_an_active_conda_environment_is_taken(tmp_path, monkeypatch):
    """Also where nothing in the environment's variables tells of it, as when Binder builds."""
    (tmp_path / "conda-meta").mkdir()
    for name in ("prefix", "base_prefix"):
        monkeypatch.setattr(environment.sys, name, str(tmp_path))
    monkeypatch.setattr(environment, "missing", lambda: [])
    monkeypatch.setattr(environment, "_made_environment", lambda: pytest.fail("another environment was made"))
    assert environment.enter(["machine"]) is None


def test_a_folder_of_somebody_else(monkeypatch):
    """It is named, and what to do."""
    monkeypatch.setattr(environment, "_finished", lambda python: False)
    monkeypatch.setattr(environment.os, "access", lambda path, mode: False)
    with pytest.raises(CourseError, match=r"(?s)may not write to that folder.*a folder that is yours"):
        environment._made_environment()
