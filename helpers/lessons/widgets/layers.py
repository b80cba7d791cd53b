"""A widget that goes through an image's instructions."""

from functools import partial

import docker
import ipywidgets

from helpers.images.layers import files_of_layers
from helpers.lessons.table import human
from helpers.lessons.widgets.parts import html_table, result_area, result_html, unbroken, widget_box

INSTRUCTION_CHARACTERS = 90


def explore_layers(image: docker.models.images.Image) -> ipywidgets.Widget:
    """
    Return a widget: go through an image's instructions, see how much each added and which files.

    SDK call: ``image.save``.

    Example::

        explore_layers(two)
    """
    rows = files_of_layers(image)
    # a field for a number: JupyterLab keeps the arrow keys of a list to itself, and a slider has no name for axe
    choice = ipywidgets.BoundedIntText(_largest_addition(rows), min=1, max=len(rows), description="instruction")
    result = result_area("")
    result.value = _instruction_html(rows, choice.value)
    choice.observe(partial(_show_choice, rows, result), "value")
    return widget_box("go through the instructions, see the files that each added", choice, result)


def _largest_addition(rows):
    """Return the number of the instruction that added most, without the base where there is more than that."""
    numbers = range(2, len(rows) + 1) if len(rows) > 1 else [1]
    return max(numbers, key=lambda number: rows[number - 1]["bytes"])


def _show_choice(rows, result, change):
    result.value = _instruction_html(rows, change["new"])


def _instruction_html(rows, number):
    """Return HTML for all instructions, one of them marked, and for what that one added."""
    row = rows[number - 1]
    listed = [_instruction_cells(n, one, chosen=n == number) for n, one in enumerate(rows, start=1)]
    files = "1 file" if row["files"] == 1 else f"{row['files']} files"
    text = f"Instruction {number} added <b>{human(row['bytes'])}</b> in {files}."
    if row["files"] > len(row["largest"]):
        text += f" The {len(row['largest'])} largest:"
    largest = [(unbroken(human(count)), path) for path, count in row["largest"]]
    file_table = html_table(["size", "file"], largest) if largest else ""
    return result_html(f"{html_table(['', '', 'size', 'instruction'], listed)}<p>{text}</p>{file_table}")


def _instruction_cells(number, row, chosen):
    mark = unbroken("chosen →") if chosen else ""
    return mark, number, unbroken(human(row["bytes"])), row["instruction"][:INSTRUCTION_CHARACTERS]
