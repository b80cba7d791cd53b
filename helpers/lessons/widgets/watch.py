"""A widget that watches a container."""

import contextlib
import html
import threading
import time
from functools import partial

import docker
import ipywidgets
import requests

from helpers.containers.url import not_a_container
from helpers.lessons.table import human
from helpers.lessons.widgets.parts import html_table, result_area, result_html, run_on_click, widget_box

WATCH_SECONDS = 600
RUNNING_PAUSE_SECONDS = 0.2  # besides the second that the engine takes to count
PAUSE_SECONDS = 1
LOG_LINES = 5
LINE_CHARACTERS = 200
ACTIONS = {"start": {}, "stop": {"timeout": 2}, "remove": {"force": True, "v": True}}  # with the SDK's arguments
WATCHED = {}  # by a container's id, where it is shown: only the newest widget of a container goes on


def watch(container: docker.models.containers.Container) -> ipywidgets.Widget:
    """
    Return a widget: a container's state, processor, memory and log, once a second; and buttons to start, stop, remove.

    It looks for ten minutes, or until the container is removed. SDK calls: ``container.stats``, ``container.logs``,
    ``container.start``, ``container.stop``, ``container.remove``.

    Example::

        watch(run(client, base, ["sleep", "300"], detach=True))
    """
    if isinstance(container, str):
        raise not_a_container(container)
    result, done = result_area("looking …"), result_area("")
    buttons = {}
    for action in ACTIONS:
        buttons[action] = ipywidgets.Button(description=action.capitalize(), tooltip=f"{action} it")
        run_on_click(buttons[action], partial(_act, container, action, done), done, enable_again=False)
    WATCHED[container.id] = result
    threading.Thread(target=_watch, args=(container, buttons, result), daemon=True).start()
    row = ipywidgets.HBox(list(buttons.values()))
    return widget_box("a container's state, memory and log, and buttons", row, done, result)


def _act(container, action, done):
    getattr(container, action)(**ACTIONS[action])
    done.value = result_html(f"docker {'rm -f' if action == 'remove' else action} {container.name}")


def _watch(container, buttons, result):
    """Show the container's state again and again, until it is removed or another widget shows it."""
    deadline = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < deadline and WATCHED.get(container.id) is result:
        if not _show_state(container, buttons, result):
            return
        time.sleep(RUNNING_PAUSE_SECONDS if container.status == "running" else PAUSE_SECONDS)


def _show_state(container, buttons, result):
    """Show a container's state, and enable the buttons that go with it; return whether the container is there."""
    try:
        container.reload()
        result.value = result_html(_state_html(container), role="group")
    except docker.errors.NotFound:
        result.value = result_html("<p>state: <b>removed</b></p>", role="group")
        for button in buttons.values():
            button.disabled = True
        return False
    except (docker.errors.DockerException, requests.exceptions.RequestException):
        return True  # it was stopped or removed at this moment, or the engine was: look again
    buttons["start"].disabled = container.status not in ("created", "exited")
    buttons["stop"].disabled = container.status not in ("running", "restarting")
    buttons["remove"].disabled = False
    return True


def _state_html(container):
    rows = [("state", container.status), ("command", " ".join(container.attrs["Config"]["Cmd"] or []))]
    if container.status == "exited":
        rows.append(("exit status", container.attrs["State"]["ExitCode"]))
    if container.status == "running":
        rows += _use_rows(container)
    lines = container.logs(tail=LOG_LINES).decode(errors="replace").splitlines()
    log = "\n".join(line[:LINE_CHARACTERS] for line in lines) or "(empty)"
    return f"{html_table(['container', container.name], rows)}<p>the log ends:</p><pre>{html.escape(log)}</pre>"


def _use_rows(container):
    """Return rows for what a running container uses, none where nobody tells."""
    use = _use(container)
    if use is None:
        return []
    rows = [("processor", f"{use['share']:.1%} of one"), ("memory", human(use["memory_bytes"]))]
    with contextlib.suppress(docker.errors.APIError):  # it ends at this moment
        rows.append(("processes", len(container.top()["Processes"])))
    return rows


def _use(container):
    """Return ``memory_bytes`` and the ``share`` of a processor over a second; None where nobody tells."""
    began = _kernel_counts(container)
    stats = container.stats(stream=False)  # this takes the second
    now, before = stats["cpu_stats"], stats["precpu_stats"]
    system = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    if stats["memory_stats"] and system > 0:
        used = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
        return {"memory_bytes": stats["memory_stats"]["usage"], "share": used / system * now.get("online_cpus", 1)}
    ended = _kernel_counts(container)
    if began and ended:
        share = (ended["processor_seconds"] - began["processor_seconds"]) / (ended["time"] - began["time"])
        return {"memory_bytes": ended["memory_bytes"], "share": share}
    return None


def _kernel_counts(container):
    """Return the kernel's own counts, for engines that do not tell them: some do not with both versions of cgroups."""
    files = ("memory/memory.usage_in_bytes", "cpuacct/cpuacct.usage")
    answer = container.exec_run(["cat", *(f"/sys/fs/cgroup/{file}" for file in files)])
    if answer.exit_code:
        return None
    memory_bytes, nanoseconds = map(int, answer.output.split())
    return {"memory_bytes": memory_bytes, "processor_seconds": nanoseconds / 1e9, "time": time.monotonic()}
