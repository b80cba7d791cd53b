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
from helpers import bootstrap, servers
from helpers.images import base_image, build
from helpers.progress import progress

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
# All other public names are left out. The last three remember what would take minutes under emulation.
MADE = (
    "connect", "server", "base_image", "build", "proxies", "size", "layers", "labels", "compare", "contents",
    "explore_layers",
)  # fmt: skip


# What the web app is built on, and what the calculator is: two engines make them at the same time.
PARTS = (
    ("05_django_app", "06_second_practical", "07_multi_stage"),
    ("00_start_here", "01_containers_and_vms", "02_inside_a_container", "03_docker_architecture", "04_first_practical",
     "09_third_practical", "08_distroless"),
)  # fmt: skip
ELSEWHERE = {"08_distroless": ("course/web",)}  # images of a notebook of the second part that the first one makes
BASES = ("debian:bookworm-slim", "debian:trixie-slim")  # made first, at the same time
REGISTRY = "https://registry-1.docker.io/v2/"


class Builder:
    """A client that builds images, and only that: what is asked of containers, networks, volumes does nothing."""

    def __init__(self, client):
        self.images, self.api = client.images, client.api

    def __getattr__(self, name):
        return mock.MagicMock(name=name)


def archives(folder, pool):
    """Begin to make the base images of Debian packages, where no registry answers; return futures of tar archives."""
    try:
        urllib.request.urlopen(REGISTRY, timeout=5)
    except urllib.error.HTTPError:  # it answers, and asks who is there
        return {}
    except OSError:
        return {name: pool.submit(bootstrap.archive, name, folder / f"{name}.tar") for name in BASES}
    return {}


def bases(client, made):
    """
    Put base images on an engine, the first of them also with this computer's settings for the network.

    ``made`` are those of ``archives``; the others come from a registry.
    """
    for name, tar in made.items():
        bootstrap.load(client, f"course/{name}", tar.result())
    with ThreadPoolExecutor() as pool:
        list(pool.map(functools.partial(base_image, client), BASES))
    base_image(client, BASES[0], with_host_settings=True)


def rest():
    """Return the notebooks that build on both parts, or are of none."""
    complete = {name for part in PARTS for name in part} - ELSEWHERE.keys()
    return sorted({path.stem for path in NOTEBOOKS.glob("*.ipynb")} - complete)


def fill(client, names, elsewhere=(), position=0):
    """
    Have an engine make every image that some notebooks build, by their own cells, with running and showing left out.

    A cell that fails is passed over, since it may need what was left out, or is a mistake to learn from. ``elsewhere``
    has, by notebook, names of images that are not to be made. It prints how long each notebook took; ``position`` is
    the line of the bar, where several processes have one.
    SDK calls: those of ``base_image`` and ``build``.
    """
    stand_ins = {name: mock.MagicMock(name=name) for name in helpers.__all__ if name not in MADE}
    stand_ins |= {"connect": lambda: Builder(client), "server": lambda _: _server(client)}
    cells = {name: _cells(NOTEBOOKS / f"{name}.ipynb") for name in names}
    bar = progress(total=sum(map(len, cells.values())), desc="images", unit="cell", position=position)
    with contextlib.chdir(NOTEBOOKS), mock.patch.multiple(helpers, create=True, **stand_ins), bar:
        for name in names:
            began = time.monotonic()
            bar.set_postfix_str(name)
            with mock.patch.object(helpers, "build", _build_without(dict(elsewhere).get(name, ()))):
                _run_cells(name, cells[name], bar)
            with bar.external_write_mode():
                print(f"  {name}: {time.monotonic() - began:.0f} s", flush=True)


def _build_without(tags):
    def chosen(client, path, tag, **options):
        return mock.MagicMock(name=tag) if tag in tags else build(client, path, tag, **options)

    return chosen


def _server(client):
    servers.images(client)
    return mock.MagicMock(name="server")


def _cells(path):
    """Return the text of a notebook's code cells, without those that wait for something in a loop."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return [text for text in sources if not any(isinstance(part, ast.While) for part in ast.parse(text).body)]


def _run_cells(name, cells, bar):
    names = {"__name__": "__main__"}
    for number, text in enumerate(cells):
        quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
        with contextlib.suppress(Exception), quiet[0], quiet[1]:
            exec(compile(text, f"{name}, cell {number}", "exec"), names)
        bar.update(1)
