"""Base images and build caches of all notebooks, put on the machine's engine before it is saved."""

import ast
import contextlib
import functools
import io
import json
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import helpers
from helpers.errors import CourseError
from helpers.images.bases import base_image, debian_archive, load_archive
from helpers.images.build import build
from helpers.lessons import servers
from helpers.progress import progress

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
# All other public names are left out. What reads an image remembers what would take minutes under emulation.
REAL = (
    "connect", "server", "base_image", "build", "proxies", "size", "layers", "labels", "compare", "contents",
    "explore_layers", "lint", "stages", "build_steps",
)  # fmt: skip

BASES = ("debian:trixie-slim", "debian:bookworm-slim")  # made first, at the same time
REGISTRY = "https://registry-1.docker.io/v2/"


class BuildsOnly:
    """A client that builds images, and only that: what is asked of containers, networks, volumes does nothing."""

    def __init__(self, client, failures):
        self.images, self.api = client.images, client.api
        self.images.build = _recorded(self.images.build, failures)  # of this one collection: the SDK makes one a look

    def __getattr__(self, name):
        return mock.MagicMock(name=name)


def archives(folder, pool):
    """Begin to make the base images of Debian packages, where no registry answers; return futures of tar archives."""
    try:
        urllib.request.urlopen(REGISTRY, timeout=5)
    except urllib.error.HTTPError:  # it answers, and asks who is there
        return {}
    except OSError:
        return {name: pool.submit(debian_archive, name, folder / f"{name}.tar") for name in BASES}
    return {}


def bases(client, made):
    """Put base images on an engine: ``made`` are those of ``archives``, the others come from a registry."""
    for name, tar in made.items():
        load_archive(client, name, tar.result())
    with ThreadPoolExecutor() as pool:
        list(pool.map(functools.partial(base_image, client), BASES))


def names():
    """Return the names of all notebooks, in their order."""
    return sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


def fill(client, names, folder=NOTEBOOKS):
    """
    Have an engine make every image that some notebooks build, by their own cells, with running and showing left out.

    It prints how long each notebook took.
    SDK calls: those of ``base_image`` and ``build``.

    Raises:
        CourseError: a build failed that is not meant to (its cell has no tag ``raises-exception``); with its words.
    """
    failures = []
    stand_ins = {name: mock.MagicMock(name=name) for name in helpers.__all__ if name not in REAL}
    stand_ins |= {
        "connect": lambda: BuildsOnly(client, failures),
        "server": _recorded(lambda _: _server(client), failures),
        "build": _recorded(lambda _, *arguments, **options: build(client, *arguments, **options), failures),
        "base_image": _recorded(lambda _, *arguments, **options: base_image(client, *arguments, **options), failures),
    }
    cells = {name: _cells(folder / f"{name}.ipynb") for name in names}
    bar = progress(total=sum(map(len, cells.values())), desc="images", unit="cell")
    with contextlib.chdir(folder), mock.patch.multiple(helpers, create=True, **stand_ins), bar:
        for name in names:
            began = time.monotonic()
            bar.set_postfix_str(name)
            _run_cells(name, cells[name], failures, bar)
            with bar.external_write_mode():
                print(f"  {name}: {time.monotonic() - began:.0f} s", flush=True)


def _recorded(function, failures):
    """Return a function that does the same, and keeps the exception where it fails."""

    def recording(*arguments, **options):
        try:
            return function(*arguments, **options)
        except Exception as error:
            failures.append(error)
            raise

    return recording


def _server(client):
    servers.images(client)
    return mock.MagicMock(name="server")


def _cells(path):
    """Return ``(text, fails)`` of a notebook's code cells, without those that wait for something in a loop."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    found = [
        ("".join(cell["source"]), "raises-exception" in cell["metadata"].get("tags", ()))
        for cell in cells
        if cell["cell_type"] == "code"
    ]
    return [(text, fails) for text, fails in found if not _has_loop(text)]


def _has_loop(text):
    return any(isinstance(part, ast.While) for part in ast.parse(text).body)


def _run_cells(name, cells, failures, bar):
    """
    Run cells; raise CourseError at the first one with a build that failed and is not meant to.

    What else fails in a cell does so for want of what was left out, and is passed over.
    """
    names = {"__name__": "__main__"}
    for number, (text, fails) in enumerate(cells, start=1):
        failures.clear()
        quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
        try:
            with quiet[0], quiet[1]:
                exec(compile(text, f"{name}, cell {number}", "exec"), names)
        except Exception as error:
            if not fails and any(error is one for one in failures):
                said = "\n".join([str(error), *getattr(error, "__notes__", ())])
                tried = f"making the images of {name}, in the cell that begins with {text.splitlines()[0]!r}"
                raise CourseError(tried, said, "fix the problem above, then try again") from error
        bar.update(1)
