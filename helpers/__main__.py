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
        print("\ninterrupted: type the same command again", file=sys.stderr)
        return 130


def _parser():
    parser = argparse.ArgumentParser(prog="python3 -m helpers", description="Docker, measured: the course's commands.")
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(function, text):
        command = commands.add_parser(function.__name__, help=text, description=text)
        command.set_defaults(command=function)
        return command

    add(lab, "set up, find or start a Docker Engine, open JupyterLab; what follows -- goes to JupyterLab")
    command = add(test, "set up, then check code, helpers and notebooks; what follows -- goes to pytest instead")
    which = command.add_mutually_exclusive_group()
    which.add_argument("--quick", action="store_true", help="only what needs no engine: half a minute")
    which.add_argument("--all", action="store_true", help="the virtual machine and JupyterLab in a browser, too")
    which.add_argument("--rest", action="store_true", help="only what --all adds")
    command = add(run, "execute the notebooks in order; write executed copies and an HTML page of each")
    command.add_argument("--output", default="executed", metavar="FOLDER", help="where to write (default: executed)")
    command.add_argument("notebooks", nargs="*", help="such as 07 or 07_multi_stage (default: all)")
    add(bench, "time the helpers against the docker command")
    add(doctor, "say which Docker Engine can be used, what is wrong, and what to do")
    add(machine, "build and save the virtual machine with a Docker Engine, as Binder does beforehand")
    add(stop, "stop the course's own engine, the virtual machine too")
    add(clean, "remove all that the course made on the engine, and its state folder")
    return parser


def lab(options, extra):
    """Open JupyterLab at the first notebook."""
    from helpers.commands.lab import lab

    return lab(extra)


def test(options, extra):
    """Check the code, the helpers and the notebooks."""
    from helpers.commands.test import test

    return test(extra, quick=options.quick, rest=options.rest, everything=options.all)


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
    from helpers.engine import cleaning, dockerd, vm

    cleaned, status = True, 0
    if os.environ.get("COURSE_ENGINE") in (None, "", "running"):
        cleaned, status = _clean_existing()
    if dockerd.remove():
        print("removed: the course's private engine and all its data")
    if vm.remove():
        print("removed: the course's virtual machine")
    lists = [(path, path.read_bytes()) for path in cleaning.lists() if not cleaned]
    shutil.rmtree(state.folder())
    for path, content in lists:
        state.folder().joinpath(path.name).write_bytes(content)
    if lists:
        print(f"kept in {state.folder()}: which images are the course's. Start that engine and clean it again")
    print("removed: the course's state folder. What is left is this folder, with .venv in it: delete it by hand")
    return status


def _clean_existing():
    """Remove what the course made on an existing engine; return whether it did, and the exit status."""
    from helpers.engine import cleaning, running
    from helpers.engine.unavailable import Unavailable

    try:
        client = running.connect()
        counts = cleaning.clean(client)
    except Unavailable as error:
        if error.code in ("missing", "not running"):
            print(f"no running engine to clean: {error.reason}")
            return False, 0
        print(f"the running engine could not be cleaned: {error.reason}")
        return False, 1
    kept, records = counts.pop("kept"), counts.pop("other cache records")
    print("removed from the engine: " + ", ".join(f"{kind} {count}" for kind, count in counts.items()))
    if kept:
        print(f"kept, since containers or images of yours need them: {', '.join(kept)}")
    if records:
        print(f"kept: {records} records of the build cache, of other builds: docker builder prune removes them")
    return True, 0


if __name__ == "__main__":
    sys.exit(main())
