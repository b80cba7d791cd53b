"""Execute the notebooks in order, outside JupyterLab."""

import asyncio
import contextlib
import os
import re
import signal
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

from helpers.errors import CourseError
from helpers.lessons.quizzes import without_scripts
from helpers.progress import is_closed_bar, progress

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
OFFLINE = {"mathjax_url": "", "require_js_url": "", "jquery_url": ""}  # nothing on a page is fetched from elsewhere


def execute(names=(), output=None):
    """
    Execute notebooks and write the executed copies and an HTML page of each to a folder; return what failed.

    ``names`` picks notebooks (``07``, ``07_multi_stage`` or its path), all of them by default. Without ``output``, they
    are stored back in place, as the repository keeps them. Returns one text a failed notebook, naming its cell.

    Example::

        failures = execute(output="/tmp/course")
    """
    paths, failures = prepare(names, output), []
    with progress(total=len(paths), desc="notebooks", unit="notebook") as bar:
        for path in paths:
            began = time.monotonic()
            bar.set_postfix_str(path.stem)
            failure = _execute_one(path, output)
            failures += [failure] if failure else []
            bar.update(1)
            with bar.external_write_mode():
                how = "failed" if failure else "executed"
                print(f"  {path.stem}: {how}, {time.monotonic() - began:.0f} s", flush=True)
    return failures


def _execute_one(path, output):
    """Execute a notebook and write what came of it; return what failed, or None."""
    try:
        notebook = nbformat.read(path, as_version=4)
    except nbformat.reader.NotJSONError as error:
        return f"{path.name}: it cannot be read: {error}; next: git checkout notebooks/{path.name}"
    failure = _run(notebook, path)
    page = _page(notebook, path.stem) if output else ""  # with the quiz, which a stored notebook leaves out
    _tidy(notebook)
    if output:
        nbformat.write(notebook, Path(output) / path.name)
        (Path(output) / f"{path.stem}.html").write_text(page, encoding="utf-8")
    elif not failure:
        nbformat.write(notebook, path)
    return failure


def _page(notebook, name):
    """Return a notebook as an HTML page, whose links lead to the pages beside it."""
    # plots are in it; embed_images would tear <details> apart, and no text here has pictures
    page, _ = HTMLExporter(**OFFLINE).from_notebook_node(notebook, {"metadata": {"name": name}})
    return re.sub(r'href="(\d\d_\w+)\.ipynb', r'href="\1.html', page)


def prepare(names=(), output=None):
    """
    Return the paths of the notebooks that names, beginnings of names or paths mean; make the folder for the output.

    Raises:
        CourseError: a name means no notebook, or the folder cannot be made.
    """
    there = sorted(NOTEBOOKS.glob("*.ipynb"))
    wanted = {name: [path for path in there if path.stem.startswith(Path(name).stem)] for name in names}
    if unknown := [name for name, found in wanted.items() if not found]:
        remedy = f"choose from {', '.join(path.stem for path in there)}"
        raise CourseError(f"looking for the notebook {', '.join(unknown)}", "there is none of that name", remedy)
    if output:
        try:
            Path(output).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            remedy = "name a folder that you may write to: --output FOLDER"
            raise CourseError(f"making the folder {output}", error, remedy) from None
    return [path for path in there if not names or any(path in found for found in wanted.values())]


def _run(notebook, path):
    os.environ["JPY_SESSION_NAME"] = path.name
    cell, interrupted = 0, None

    def starts(cell_index, **_):
        nonlocal cell
        cell = cell_index
        with contextlib.suppress(NotImplementedError):  # on Windows
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, interrupt)

    def interrupt():  # as JupyterLab's stop button: the cell ends, the kernel puts its things away
        nonlocal interrupted
        interrupted = asyncio.ensure_future(client.km.interrupt_kernel())

    client = NotebookClient(
        notebook,
        timeout=1200,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--log-level=ERROR"],
        coalesce_streams=True,  # what a cell prints is one output, however it came in
        on_cell_start=starts,
    )
    try:
        client.execute()
    except CellExecutionError as error:
        if interrupted:
            raise KeyboardInterrupt from None
        return f"{path.name}: {_place(notebook, cell)} failed: {error.ename}: {error.evalue}"
    except Exception as error:
        return f"{path.name}: {_place(notebook, cell)}: {type(error).__name__}: {error}"
    return None


def _place(notebook, cell):
    """Return a cell's number as JupyterLab shows it, and its first line."""
    number = sum(one.cell_type == "code" for one in notebook.cells[: cell + 1])
    first = notebook.cells[cell].source.partition("\n")[0] if notebook.cells else ""
    return f"cell [{number}] ({first})"


def _tidy(notebook):
    """Leave out what differs from machine to machine and that no reader sees."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        cell.outputs = without_scripts([output for output in cell.outputs if not is_closed_bar(output)])
        for output in cell.outputs:  # a widget whose kernel is gone; its sentence in text/plain stays
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
