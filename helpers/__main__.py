"""python3 -m helpers: the course's commands. Standard library only until the environment exists."""

import sys

if sys.version_info < (3, 11):
    sys.exit(
        "The course needs Python 3.11 or newer; this is Python %d.%d (%s).\n"
        "  next: install a newer one (Debian 12, Ubuntu 24.04 have it; others: https://www.python.org/downloads/)"
        % (sys.version_info[0], sys.version_info[1], sys.executable)
    )

import argparse
import os

from helpers.commands import environment
from helpers.errors import CourseError

START = "notebooks/00_start_here.ipynb"


def main(arguments=None):
    """Run one command; return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    words, extra = arguments, []
    if "--" in arguments:
        cut = arguments.index("--")
        words, extra = arguments[:cut], arguments[cut + 1 :]
    parser = _parser()
    if not words:
        parser.print_help(sys.stderr)
        return 2
    options, unknown = parser.parse_known_args(words)
    if unknown:
        hint = "; what is for JupyterLab or pytest follows --, such as: lab -- --port 8890"
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint if options.command in (lab, test) else ''}")
    if extra and options.command not in (lab, test):
        parser.error("only lab and test take further arguments after --")
    try:
        environment.enter(arguments)
        return options.command(options, extra)
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on from here", file=sys.stderr)
        return 130


def _parser():
    parser = argparse.ArgumentParser(prog="python3 -m helpers", description="Docker, measured: the course's commands.")
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(function, text):
        command = commands.add_parser(function.__name__, help=text, description=text)
        command.set_defaults(command=function)
        return command

    add(lab, "set up, find or start a Docker Engine, open JupyterLab; what follows -- goes to JupyterLab")
    add(test, "set up, then check code, helpers and notebooks: ruff, pytest --nbval; what follows -- goes to pytest")
    command = add(run, "execute the notebooks in order; write executed copies and an HTML page of each")
    command.add_argument("--output", default="executed", metavar="FOLDER", help="where to write (default: executed)")
    command.add_argument("notebooks", nargs="*", help="such as 07 or 07_multi_stage (default: all)")
    add(bench, "time the helpers against the docker command")
    add(doctor, "say which Docker Engine can be used, what is wrong, and what to do")
    add(machine, "build and save the virtual machine with a Docker Engine, as Binder does beforehand")
    add(stop, "stop the course's private engine")
    add(clean, "remove all that the course made on the engine, and its state folder")
    return parser


def lab(options, extra):
    """Open JupyterLab at the first notebook."""
    from helpers import engine, state

    client, kind = engine.find()
    print(engine.describe(client, kind), flush=True)
    os.environ.update(engine.variables(kind))  # JupyterLab's terminals, too, speak to it
    from jupyterlab.labapp import LabApp

    os.chdir(environment.ROOT)
    arguments = [
        f"--ServerApp.root_dir={environment.ROOT}",
        f"--LabApp.default_url=/lab/tree/{START}",
        f"--LabApp.workspaces_dir={state.folder() / 'workspaces'}",  # the tabs that one had open elsewhere stay there
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--allow-root")
    LabApp.launch_instance([*arguments, *extra])
    return 0


def test(options, extra):
    """Check the code with ruff, then everything else with pytest."""
    import subprocess

    from helpers import engine

    os.chdir(environment.ROOT)
    environment.add_browser_tests()
    print(engine.describe(*engine.find()), flush=True)  # held until this process ends
    pytest, ruff = [sys.executable, "-m", "pytest", "--nbval"], [sys.executable, "-m", "ruff"]
    statuses = [
        subprocess.run([*ruff, "check", "--quiet", "."]).returncode,
        subprocess.run([*ruff, "format", "--check", "--quiet", "."]).returncode,
        _status([*pytest, *(extra or _two_at_once())]),
    ]
    if any(statuses[:2]):
        print("ruff found something: ruff check . ; ruff format .", file=sys.stderr)
    return max(statuses)


def _two_at_once():
    """Return pytest-xdist's arguments: tests that share an engine follow one another (tests/conftest.py has more)."""
    from helpers.host.memory import free_memory

    enough = (os.cpu_count() or 1) > 1 and free_memory() > 4e9
    return ["-n", "2", "--dist", "loadscope"] if enough else []


def _status(command):
    """Run a command and return its exit status; at Ctrl-C, wait while it puts its own things away."""
    import subprocess

    process = subprocess.Popen(command)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise


def run(options, extra):
    """Execute the notebooks."""
    from helpers import engine
    from helpers.commands import execute

    paths = execute.prepare(options.notebooks, options.output)
    print(engine.describe(*engine.find()), flush=True)
    print(f"executing {', '.join(path.stem for path in paths)}", flush=True)
    failures = execute.execute(options.notebooks, options.output)
    for failure in failures:
        print(failure, file=sys.stderr)
    if not failures:
        print(f"all executed; read them in {options.output}")
    return 1 if failures else 0


def bench(options, extra):
    """Time the helpers."""
    from helpers.commands import bench

    return bench.main()


def doctor(options, extra):
    """Examine this machine."""
    from helpers.engine import doctor

    return doctor.main()


def machine(options, extra):
    """Build the virtual machine, and see that its engine answers."""
    from helpers import engine

    print(engine.describe(*engine.find("vm")))
    return 0


def stop(options, extra):
    """Stop the private engine."""
    from helpers.engine import dockerd, vm

    ended = [dockerd.stop(), vm.stop()]
    stopped = "the course's private engine is stopped; connect() in a notebook that is still open starts it again"
    print(stopped if any(ended) else "no private engine of the course is running")
    return 0


def clean(options, extra):
    """Remove what the course made."""
    import shutil

    from helpers import state
    from helpers.engine import cleaning, dockerd, running, vm
    from helpers.engine.unavailable import Unavailable

    status = 0
    if os.environ.get("COURSE_ENGINE") in (None, "", "running"):
        try:
            counts = cleaning.clean(running.connect())
            kept = counts.pop("kept")
            print("removed from the engine: " + ", ".join(f"{kind} {count}" for kind, count in counts.items()))
            if kept:
                print(f"left, since containers or images of yours need them: {', '.join(kept)}")
        except Unavailable as error:
            status = 0 if error.code in ("missing", "not running") else 1
            found = "could not be cleaned" if status else "was not there to clean"
            print(f"an engine that runs already {found}: {error.reason}")
    if dockerd.remove():
        print("removed: the course's private engine and all its data")
    if vm.remove():
        print("removed: the course's virtual machine")
    shutil.rmtree(state.folder())
    print("removed: the course's state folder. What is left is this folder, with .venv in it: delete it by hand")
    return status


if __name__ == "__main__":
    sys.exit(main())
