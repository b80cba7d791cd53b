"""A widget that shows what ENTRYPOINT, CMD and an argument run."""

import io
import json
import shlex
from functools import partial

import docker
import ipywidgets

from helpers.containers.outcome import status_and_output
from helpers.images.build import build_quietly
from helpers.lessons.widgets.parts import FULL_WIDTH, html_table, result_area, result_html, run_on_click, widget_box

TAG = "course/starts"
RUN_SECONDS = 5
OUTPUT_CHARACTERS = 1500


def explore_entrypoint(client: docker.DockerClient, base: docker.models.images.Image) -> ipywidgets.Widget:
    """
    Return a widget: type ENTRYPOINT, CMD and an argument, and see what runs, by running it.

    It calls ``build`` and ``client.containers.run``.

    Example::

        explore_entrypoint(client, base)
    """
    entrypoint = _text_field("ENTRYPOINT", '["echo", "E"]')
    cmd = _text_field("CMD", '["C"]')
    argument = _text_field("argument", "", placeholder="none")
    button = ipywidgets.Button(
        description="Run", button_style="primary", tooltip="build an image of these lines and run it"
    )
    result = result_area("Type into the fields, then run. An empty field is a line that is left out.")
    run_on_click(button, partial(_show_run, client, base, [entrypoint, cmd], argument, result), result)
    return widget_box("type ENTRYPOINT and CMD, see what runs", entrypoint, cmd, argument, button, result)


def _text_field(name, value, **options):
    style = {"description_width": "8em"}
    return ipywidgets.Text(value, description=name, style=style, layout=FULL_WIDTH, **options)


def _show_run(client, base, instructions, argument, result):
    """Build an image with the instructions that are typed, run it with the argument, and show what ran."""
    image = _build_image(client, base, instructions)
    arguments = shlex.split(argument.value)
    status, output = status_and_output(client, image, arguments or None, seconds=RUN_SECONDS, network_mode="none")
    entrypoint, cmd = (image.attrs["Config"].get(name) for name in ("Entrypoint", "Cmd"))
    rows = [
        ("ENTRYPOINT in the image", json.dumps(entrypoint) if entrypoint else "none"),
        ("CMD in the image", json.dumps(cmd) if cmd else "none"),
        ("what runs", shlex.join([*(entrypoint or []), *(arguments or cmd or [])])),
        ("it printed", output[-OUTPUT_CHARACTERS:] or "nothing"),
        ("exit status", "none: it did not end, and was stopped" if status is None else status),
    ]
    result.value = result_html(html_table(["part", "value"], rows))


def _build_image(client, base, instructions):
    typed = [f"{field.description} {field.value}" for field in instructions if field.value.strip()]
    dockerfile = "\n".join([f"FROM {base.tags[0]}", *typed])
    return build_quietly(client, fileobj=io.BytesIO(dockerfile.encode()), tag=TAG)
