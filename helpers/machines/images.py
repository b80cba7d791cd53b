"""Base images and build caches of all notebooks, put on the machine's engine before it is saved."""

import ast
import contextlib
import json
import os
import sys
from pathlib import Path
from unittest import mock

import helpers
from helpers import servers
from helpers.progress import progress

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
LEFT_OUT = ("run", "url", "claim", "cleanup", "contents", "compare", "security_fixes", "measure_container", "measure_vm",
            "table", "plot_bars", "plot_layers", "plot_lines", "plot_timeline", "plot_density")  # fmt: skip


class Builder:
    """A client that builds images, and only that: what a notebook asks of containers, networks, volumes does nothing."""

    def __init__(self, client):
        self.images, self.api = client.images, client.api

    def __getattr__(self, name):
        return mock.MagicMock(name=name)


def fill(client):
    """
    Have an engine make every image that the notebooks build, by their own cells, with running and showing left out.

    A cell that fails is passed over, since it may need what was left out, or is a mistake to learn from. Returns the
    names of the images. SDK calls: those of ``base_image`` and ``build``.
    """
    stand_ins = {name: mock.MagicMock(name=name) for name in LEFT_OUT}
    stand_ins |= {"connect": lambda: Builder(client), "server": lambda _: _server(client)}
    paths = sorted(NOTEBOOKS.glob("*.ipynb"))
    before = Path.cwd()
    os.chdir(NOTEBOOKS)
    try:
        with (
            mock.patch.multiple(helpers, create=True, **stand_ins),
            progress(len(paths), "images of the notebooks") as bar,
        ):
            for path in paths:
                bar.set_postfix_str(path.stem)
                _run_cells(path)
                bar.update(1)
    finally:
        os.chdir(before)
    return sorted(tag for image in client.images.list() for tag in image.tags)


def _server(client):
    servers.images(client)
    return mock.MagicMock(name="server")


def _run_cells(path):
    names = {"__name__": "__main__"}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code" or any(isinstance(part, ast.While) for part in ast.parse(source).body):
            continue
        with contextlib.suppress(Exception), contextlib.redirect_stdout(sys.stderr):
            exec(compile(source, f"{path.name}: {cell['id']}", "exec"), names)
