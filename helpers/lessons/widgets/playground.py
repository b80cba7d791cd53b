"""A widget in which a Dockerfile is edited and built."""

import contextlib
import secrets
import time
from functools import partial
from pathlib import Path

import docker
import ipywidgets
import requests

from helpers import state
from helpers.engine import build_cache
from helpers.host.network import proxies_of
from helpers.images import buildkit, pip_secrets
from helpers.images.build import remember
from helpers.images.build_errors import build_error
from helpers.images.dockerfile import stage_rows
from helpers.images.layers import size
from helpers.images.trace import Trace
from helpers.lessons.table import human
from helpers.lessons.widgets.parts import error_html, html_table, result_area, result_html, run_on_click, widget_box

TAG = "course/playground"
BUILDING = {}  # by its id, the client of each build that is going on


def playground(client: docker.DockerClient, path: str | Path) -> ipywidgets.Widget:
    """
    Return a widget: edit a Dockerfile, build it, see which steps came from the cache, and how layers and size change.

    ``path`` is a folder with a Dockerfile; it stays as it is, the text that you edit is used in its place. The image is
    ``course/playground``. A build can be stopped; a new playground stops that of an earlier one.
    API calls: those of ``build``, ``POST /build/cancel``; SDK call: ``image.save``.

    Example::

        playground(client, "apps/first")
    """
    editor = ipywidgets.Textarea(
        (Path(path) / "Dockerfile").read_text(encoding="utf-8", errors="replace"),
        description="Dockerfile",
        layout=ipywidgets.Layout(width="98%", height="14em"),
    )
    build = ipywidgets.Button(description="Build", button_style="primary", tooltip="build this Dockerfile")
    stop = ipywidgets.Button(description="Stop", tooltip="stop this build", disabled=True)
    result = result_area("Change a line, then build.")
    _stop_builds()
    work = partial(_build, client, Path(path), editor=editor, stop=stop, result=result, builds=[])
    run_on_click(build, work, result)
    stop.on_click(_stop_builds)
    buttons = ipywidgets.HBox([build, stop])
    return widget_box("edit a Dockerfile, build it, see the steps", editor, buttons, result)


def _stop_builds(_button=None):
    """Have the engine stop what a playground builds."""
    for build_id, client in list(BUILDING.items()):
        with contextlib.suppress(docker.errors.APIError, requests.exceptions.RequestException):
            buildkit.cancel(client, build_id)


def _build(client, path, editor, stop, result, builds):
    """Build what is in the editor and show it; add its size and its number of layers to ``builds``."""
    began, trace = time.monotonic(), Trace()
    stop.disabled = False
    try:
        image = _build_image(client, path, editor.value, trace, result)
    except docker.errors.DockerException as error:
        explained = build_error(
            error, trace, client, path / "Dockerfile", f"docker build -t {TAG} {path}", editor.value
        )
        said = explained.__notes__[0].partition("answer: ")[2]
        steps = _step_table(trace, editor.value, failed=True)
        result.value = error_html("There is no new image.", said, above=steps)
        return
    finally:
        stop.disabled = True
        BUILDING.clear()
        build_cache.remember(client, trace.made(stage_rows(editor.value)))
    builds.append((size(image), len(image.attrs["RootFS"].get("Layers") or [])))
    result.value = result_html(_step_table(trace, editor.value) + _comparison(builds, time.monotonic() - began))


def _build_image(client, path, dockerfile, trace, result):
    """Build a folder with another Dockerfile and return the image; its steps are shown as they come."""
    text, given = pip_secrets.added(client, dockerfile)
    build_id = secrets.token_hex(12)
    asked = buildkit.parameters(TAG, {"buildargs": proxies_of(client), "labels": {state.LABEL: "1"}})

    def show():
        BUILDING[build_id] = client
        result.value = result_html(_step_table(trace, dockerfile), role="group")

    buildkit.solve(
        client,
        trace,
        path,
        path / "Dockerfile",
        text=text.encode(),
        given=given,
        changed=show,
        build_id=build_id,
        **asked,
    )
    remember([trace.image_id])
    return client.images.get(trace.image_id)


def _step_table(trace, dockerfile, failed=False):
    rows = trace.steps(stage_rows(dockerfile))
    return html_table(["step", "how"], [[row["step"], _how(row, failed)] for row in rows]) if rows else ""


def _how(row, failed):
    """Return what became of a step; in a build that failed, what has begun and not ended is what failed."""
    if row["error"]:
        return "failed" if "cancel" not in row["error"] else "stopped"
    if row["cached"]:
        return "from the cache"
    if row["end_seconds"] is not None:
        return "done"
    if row["start_seconds"] is None or failed:
        return "not reached" if failed else "waiting"
    return "working …"


def _comparison(builds, seconds):
    """Return HTML for the last of ``(bytes, layers)``, beside the one before it."""
    count, layers = builds[-1]
    text = f"<b>{human(count)}</b> in {layers} layer{'' if layers == 1 else 's'}, built in {seconds:.1f} s."
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
