"""A widget in which a Dockerfile is edited and built."""

import contextlib
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path

import docker
import ipywidgets

from helpers.host.network import proxies
from helpers.images.build import remember
from helpers.images.build_log import build_events
from helpers.images.layers import size
from helpers.lessons.table import human
from helpers.lessons.widgets.parts import error_html, html_table, result_area, result_html, run_on_click, widget_box

TAG = "course/playground"
BUILDING = {}  # by id, the container of the step that is being built, and its client
ERROR_LINES = 8  # of a failing step's output


def playground(client: docker.DockerClient, path: str | Path, base: docker.models.images.Image) -> ipywidgets.Widget:
    """
    Return a widget: edit a Dockerfile, build it, see which steps came from the cache, and how layers and size change.

    ``path`` is a folder with a Dockerfile; it stays as it is, the text that you edit is used in its place. The image is
    ``course/playground``. A step can be stopped; a new playground stops that of an earlier one.
    SDK calls: ``client.api.build``, ``image.history``, ``client.api.kill``.

    Example::

        playground(client, "apps/first", base)
    """
    editor = ipywidgets.Textarea(
        (Path(path) / "Dockerfile").read_text(),
        description="Dockerfile",
        layout=ipywidgets.Layout(width="98%", height="14em"),
    )
    build = ipywidgets.Button(description="Build", button_style="primary", tooltip="build this Dockerfile")
    stop = ipywidgets.Button(description="Stop", tooltip="stop the step that is built", disabled=True)
    result = result_area("Change a line, then build.")
    _stop_step()
    work = partial(_build, client, path, base, editor=editor, stop=stop, result=result, builds=[])
    run_on_click(build, work, result)
    stop.on_click(_stop_step)
    buttons = ipywidgets.HBox([build, stop])
    return widget_box("edit a Dockerfile, build it, see the steps", editor, buttons, result)


def _stop_step(_button=None):
    """Kill the container of the step that is being built, if there is one: the engine then stops the build."""
    for container_id, client in list(BUILDING.items()):
        with contextlib.suppress(docker.errors.APIError):  # it has ended meanwhile
            client.api.kill(container_id)


def _build(client, path, base, editor, stop, result, builds):
    """Build what is in the editor and show it; add its size and its number of layers to ``builds``."""
    began, steps, log = time.monotonic(), [], []
    stop.disabled = False
    try:
        image = _build_image(client, path, base, editor.value, steps, log, result)
    except docker.errors.DockerException as error:
        result.value = _failure(steps, log, error)
        return
    finally:
        stop.disabled = True
        BUILDING.clear()
    builds.append((size(image), len(image.attrs["RootFS"]["Layers"])))
    result.value = result_html(_step_table(steps) + _comparison(builds, time.monotonic() - began))


def _build_image(client, path, base, dockerfile, steps, log, result):
    """Build a folder with another Dockerfile and return the image; ``_follow`` fills ``steps`` and ``log``."""
    with tempfile.TemporaryDirectory(prefix="docker-course-") as parent:
        folder = shutil.copytree(path, Path(parent) / "context")
        (folder / "Dockerfile").write_text(dockerfile)
        arguments = {**proxies(), "BASE": base.tags[0]}
        answers = client.api.build(path=str(folder), tag=TAG, buildargs=arguments, rm=True, forcerm=True, decode=True)
        image_id = _follow(build_events(answers), client, steps, log, result)
    return client.images.get(image_id)


def _follow(events, client, steps, log, result):
    """
    Show the steps of a build as they come; return the image's id.

    ``steps`` gets a list ``[instruction, how]`` a step, ``log`` holds the output of the last one.
    """
    made, image_id = [], None
    try:
        for kind, line in events:
            if kind == "step":
                log.clear()
                BUILDING.clear()
                instruction = line.split(" : ", 1)[1]
                result.value = result_html(_step_table([*steps, [instruction, "working …"]]), role="group")
                steps.append([instruction, "done"])
            elif kind == "cached":
                steps[-1][1] = "from the cache"
            elif kind == "running":
                BUILDING[line.split()[-1]] = client
            elif kind == "made":
                made.append(line.split()[-1])
            elif kind == "image":
                image_id = line
            elif kind in ("output", "warning"):
                log.append(line)
    finally:
        remember(made)
    return image_id


def _step_table(steps):
    return html_table(["step", "how"], steps)


def _failure(steps, log, error):
    """Return HTML for a build that stopped: its steps, the last one failed, and the end of that one's output."""
    said = getattr(error, "msg", None) or getattr(error, "explanation", None) or str(error)
    text = "\n".join([*log[-ERROR_LINES:], said])
    if steps:
        steps[-1][1] = "failed"
    return error_html("There is no new image.", text, above=_step_table(steps) if steps else "")


def _comparison(builds, seconds):
    """Return HTML for the last of ``(bytes, layers)``, beside the one before it."""
    count, layers = builds[-1]
    text = f"<b>{human(count)}</b> in {layers} layer{'s' if layers > 1 else ''}, built in {seconds:.1f} s."
    if len(builds) > 1:
        count_before, layers_before = builds[-2]
        more_layers = "more" if layers >= layers_before else "fewer"
        text += f" That is {_size_change(count - count_before)} the build before;"
        text += f" layers: {abs(layers - layers_before)} {more_layers}."
    return f"<p>{text}</p>"


def _size_change(count):
    if count == 0:
        return "as large as"
    return f"{human(abs(count))} {'more' if count > 0 else 'less'} than"
