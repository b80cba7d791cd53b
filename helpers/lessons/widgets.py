"""
Widgets to play with. Each shows what it found in an ``HTML`` of its own, and prints nothing.

A notebook stores a sentence in a widget's place: what it shows stands as a table or a figure beside it.
"""

import contextlib
import html
import io
import json
import re
import shlex
import shutil
import tempfile
import threading
import time
from pathlib import Path

import docker
import ipywidgets
import requests

from helpers import state
from helpers.containers.outcome import status_and_output
from helpers.containers.run import run
from helpers.containers.url import not_a_container, url
from helpers.errors import CourseError
from helpers.host.network import proxies
from helpers.images.build import remember
from helpers.images.contents import files_of_layers
from helpers.images.layers import size
from helpers.lessons.table import human

WIDE = ipywidgets.Layout(width="98%", max_width="900px")
WATCHED = {}  # by container, the place where it is shown
BUILDING = {}  # the container of the step that the playground builds at the moment, and its client
PATIENCE = 600  # seconds that `watch` looks at a container


class _Shown(ipywidgets.VBox):
    """A box that leaves a sentence where a notebook is read without running it."""

    def _repr_mimebundle_(self, **options):
        data = super()._repr_mimebundle_(**options)
        data["text/plain"] = f"A widget: {self.words}. Run this cell to use it."
        return data


def _box(words, *children):
    box = _Shown(children)
    box.words = words
    return box


def _result(words):
    """Return the place for results."""
    return ipywidgets.HTML(_live(html.escape(words), role="group"), layout=WIDE)


def _live(inner, role="alert"):
    """
    Return HTML for a result. An alert is read out by a screen reader as soon as it is put in, a status is not.

    What changes by itself has the role ``group``, since nobody wants each second or each step read out.
    """
    return f'<div class="course-result" role="{role}" style="line-height:1.4">{inner}</div>'


def _rows(titles, rows):
    """Return an HTML table; its cells are text."""
    head = "".join(
        f'<th scope="col" style="text-align:left;padding:0 1em 0 0">{html.escape(one)}</th>' for one in titles
    )
    cell = '<td style="padding:0 1em 0 0;vertical-align:top;font-family:monospace;white-space:pre-wrap">{}</td>'
    body = "".join("<tr>" + "".join(cell.format(html.escape(str(one))) for one in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _does(button, work, result, again=True):
    """
    Have a button do its work; say at once that it began, and what went wrong; it can be pressed ``again`` then.

    It works in a thread of its own: cells, and other buttons, need not wait for it.
    """

    def clicked(_):
        button.disabled = True
        result.value = _live("working …")
        threading.Thread(target=working, daemon=True).start()

    def working():
        try:
            work()
        except Exception as error:  # a thread has nobody else to tell
            said = getattr(error, "explanation", None) or str(error)
            result.value = _live(f"<b>It did not work.</b><pre>{html.escape(str(said)[-1500:])}</pre>")
        finally:
            button.disabled = not again

    button.on_click(clicked)


def playground(client, path, base):
    """
    Return a widget: edit a Dockerfile, build it, see which steps came from the cache, and how layers and size change.

    ``path`` is a folder with a Dockerfile; it stays as it is, the text that you edit is used in its place. The image is
    ``course/playground``. A step can be stopped; a new playground stops that of an earlier one.
    SDK calls: ``client.api.build``, ``image.history``, ``client.api.kill``.

    Example::

        playground(client, "apps/first", base)
    """
    text = ipywidgets.Textarea(
        (Path(path) / "Dockerfile").read_text(),
        description="Dockerfile",
        layout=ipywidgets.Layout(width="98%", height="14em"),
    )
    button = ipywidgets.Button(description="Build", button_style="primary", tooltip="build this Dockerfile")
    stop = ipywidgets.Button(description="Stop", tooltip="stop the step that is built", disabled=True)
    result = _result("Change a line, then build.")
    builds = []
    _stop_building()

    def build():
        began, steps, log = time.monotonic(), [], []
        stop.disabled = False
        try:
            image = _built(client, path, text.value, base, steps, log, result)
        except docker.errors.DockerException as error:
            said = getattr(error, "msg", None) or getattr(error, "explanation", None) or str(error)
            said = "\n".join([*log[-8:], said])
            if steps:
                steps[-1][1] = "failed"
            table = _rows(["step", "how"], steps) if steps else ""
            result.value = _live(f"{table}<b>There is no new image.</b><pre>{html.escape(said[-1500:])}</pre>")
            return
        finally:
            stop.disabled = True
            BUILDING.clear()
        builds.append((size(image), len(image.attrs["RootFS"]["Layers"])))
        result.value = _live(_rows(["step", "how"], steps) + _change(builds, time.monotonic() - began))

    _does(button, build, result)
    stop.on_click(lambda _: _stop_building())
    buttons = ipywidgets.HBox([button, stop])
    return _box("edit a Dockerfile, build it, see the steps", text, buttons, result)


def _stop_building():
    """End the step that is built, if there is one: the engine then gives the build up."""
    for container, client in list(BUILDING.items()):
        with contextlib.suppress(docker.errors.APIError):  # it has ended meanwhile
            client.api.kill(container)


def _built(client, path, text, base, steps, log, result):
    """Build a folder with another Dockerfile; fill ``steps`` with ``[instruction, how]``, ``log`` with its words."""
    with tempfile.TemporaryDirectory(prefix="docker-course-") as room:
        folder = shutil.copytree(path, Path(room) / "context")
        (folder / "Dockerfile").write_text(text)
        arguments = {**proxies(), "BASE": base.tags[0]}
        events = client.api.build(
            path=str(folder), tag="course/playground", buildargs=arguments, rm=True, forcerm=True, decode=True,
        )  # fmt: skip
        made, image_id = [], None
        try:
            for event in events:
                if "error" in event:
                    raise docker.errors.BuildError(event["error"], [])
                image_id = (event.get("aux") or {}).get("ID", image_id)
                for line in event.get("stream", "").splitlines():
                    if line.startswith("Step "):
                        log.clear()
                        BUILDING.clear()
                        steps.append([line.split(" : ", 1)[1], "done"])
                        now = _rows(["step", "how"], [*steps[:-1], [steps[-1][0], "working …"]])
                        result.value = _live(now, role="group")
                    elif line.startswith(" ---> Using cache"):
                        steps[-1][1] = "from the cache"
                    elif running := re.match(" ---> Running in ([0-9a-f]{12})$", line):
                        BUILDING[running[1]] = client
                    elif re.match(" ---> [0-9a-f]{12}$", line) and steps[-1][1] == "done":
                        made += [] if steps[-1][0].upper().startswith("FROM") else [line[6:]]
                    elif line.strip():
                        log.append(line)
        finally:
            remember(made)
    return client.images.get(image_id)


def _change(builds, seconds):
    now, count = builds[-1]
    words = f"<b>{human(now)}</b> in {count} layer{'s' if count > 1 else ''}, built in {seconds:.1f} s."
    if len(builds) > 1:
        before, layers_before = builds[-2]
        more = now - before
        change = "as large as" if not more else f"{human(abs(more))} {'more' if more > 0 else 'less'} than"
        layers = f"{abs(count - layers_before)} {'more' if count >= layers_before else 'fewer'}"
        words += f" That is {change} the build before; layers: {layers}."
    return f"<p>{words}</p>"


def explore_layers(image):
    """
    Return a widget: go through an image's instructions, see how much each added and which files.

    SDK calls: ``image.history``, ``image.save``.

    Example::

        explore_layers(two)
    """
    rows = files_of_layers(image)
    largest = max(range(len(rows)), key=lambda n: (n > 0, rows[n]["bytes"]))  # of those after the base
    # a field for a number: JupyterLab keeps the arrow keys of a list to itself, and a slider has no name for axe
    choice = ipywidgets.BoundedIntText(largest + 1, min=1, max=len(rows), description="instruction")
    result = _result("")

    def show(_):
        row = rows[choice.value - 1]
        listed = [
            (_whole("chosen →") if one is row else "", n, _whole(human(one["bytes"])), one["instruction"][:90])
            for n, one in enumerate(rows, start=1)
        ]
        files = "1 file" if row["files"] == 1 else f"{row['files']} files"
        words = f"Instruction {choice.value} added <b>{human(row['bytes'])}</b> in {files}."
        if row["files"] > len(row["largest"]):
            words += f" The {len(row['largest'])} largest:"
        largest = [(_whole(human(count)), path) for path, count in row["largest"]]
        result.value = _live(
            _rows(["", "", "size", "instruction"], listed)
            + f"<p>{words}</p>"
            + (_rows(["size", "file"], largest) if largest else "")
        )

    choice.observe(show, "value")
    show(None)
    return _box("go through the instructions, see the files that each added", choice, result)


def _whole(text):
    """Return a text that is not broken into lines."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def watch(container):
    """
    Return a widget: a container's state, processor, memory and log, once a second; and buttons to start, stop, remove.

    It looks for ten minutes, or until the container is removed. SDK calls: ``container.stats``, ``container.logs``,
    ``container.start``, ``container.stop``, ``container.remove``.

    Example::

        watch(run(client, base, ["sleep", "300"], detach=True))
    """
    if isinstance(container, str):
        raise not_a_container(container)
    result = _result("looking …")
    said = _result("")
    buttons = {
        word: ipywidgets.Button(description=word.capitalize(), tooltip=f"{word} it")
        for word in ("start", "stop", "remove")
    }

    def show():
        try:
            container.reload()
            counts = _counts(container) if container.status == "running" else None
            log = "\n".join(line[:200] for line in container.logs(tail=5).decode(errors="replace").splitlines())
            result.value = _live(_state(container, counts, log), role="group")
        except docker.errors.NotFound:
            result.value = _live("<p>state: <b>removed</b></p>", role="group")
            for button in buttons.values():
                button.disabled = True
            return False
        except (docker.errors.DockerException, requests.exceptions.RequestException):
            return True  # it was stopped or removed at this moment, or the engine was: look again
        buttons["start"].disabled = container.status not in ("created", "exited")
        buttons["stop"].disabled = container.status not in ("running", "restarting")
        buttons["remove"].disabled = False
        return True

    def act(word):
        def work():
            options = {"stop": {"timeout": 2}, "remove": {"force": True, "v": True}}.get(word, {})
            getattr(container, word)(**options)
            said.value = _live(f"docker {'rm -f' if word == 'remove' else word} {container.name}")

        return work

    def look():
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and WATCHED.get(container.id) is result and show():
            time.sleep(0.2 if container.status == "running" else 1)

    for word, button in buttons.items():
        _does(button, act(word), said, again=False)
    WATCHED[container.id] = result  # one that was shown earlier ends
    threading.Thread(target=look, daemon=True).start()
    return _box(
        "a container's state, memory and log, and buttons", ipywidgets.HBox(list(buttons.values())), said, result
    )


def _state(container, counts, log):
    rows = [("state", container.status), ("command", " ".join(container.attrs["Config"]["Cmd"] or []))]
    if container.status == "exited":
        rows.append(("exit status", container.attrs["State"]["ExitCode"]))
    if counts:
        rows += [("processor", f"{counts['share']:.1%} of one"), ("memory", human(counts["memory"]))]
        with contextlib.suppress(docker.errors.APIError):  # it ends at this moment
            rows.append(("processes", len(container.top()["Processes"])))
    return f"{_rows(['container', container.name], rows)}<p>the log ends:</p><pre>{html.escape(log) or '(empty)'}</pre>"


def _counts(container):
    """Return ``memory`` in bytes and ``share`` of a processor, over a second; None where nobody tells."""
    began = _inside(container)
    stats = container.stats(stream=False)  # this takes the second
    now, before = stats["cpu_stats"], stats["precpu_stats"]
    whole = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    if stats["memory_stats"] and whole > 0:
        used = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
        return {"memory": stats["memory_stats"]["usage"], "share": used / whole * now.get("online_cpus", 1)}
    ended = _inside(container)
    if began and ended:
        return {"memory": ended["memory"], "share": (ended["used"] - began["used"]) / (ended["time"] - began["time"])}
    return None


def _inside(container):
    """Return the kernel's own counts, for engines that do not tell them: some do not with both versions of cgroups."""
    files = ("memory/memory.usage_in_bytes", "cpuacct/cpuacct.usage")
    answer = container.exec_run(["cat", *(f"/sys/fs/cgroup/{file}" for file in files)])
    if answer.exit_code:
        return None
    memory, used = map(int, answer.output.split())
    return {"memory": memory, "used": used / 1e9, "time": time.monotonic()}


def explore_entrypoint(client, base):
    """
    Return a widget: type ENTRYPOINT, CMD and an argument, and see what runs, by running it.

    SDK calls: ``client.images.build``, ``client.containers.run``.

    Example::

        explore_entrypoint(client, base)
    """
    style = {"description_width": "8em"}
    fields = {
        "ENTRYPOINT": ipywidgets.Text('["echo", "E"]', description="ENTRYPOINT", style=style, layout=WIDE),
        "CMD": ipywidgets.Text('["C"]', description="CMD", style=style, layout=WIDE),
    }
    argument = ipywidgets.Text("", description="argument", placeholder="none", style=style, layout=WIDE)
    button = ipywidgets.Button(
        description="Run", button_style="primary", tooltip="build an image of these lines and run it"
    )
    result = _result("Type into the fields, then run. An empty field is a line that is left out.")

    def work():
        lines = [f"{name} {field.value}" for name, field in fields.items() if field.value.strip()]
        text = "\n".join([f"FROM {base.tags[0]}", f"LABEL {state.LABEL}=1", *lines])
        image, _ = client.images.build(fileobj=io.BytesIO(text.encode()), tag="course/starts", rm=True, forcerm=True)
        config = image.attrs["Config"]
        arguments = shlex.split(argument.value)
        status, said = status_and_output(client, image, arguments or None, seconds=5, network_mode="none")
        rows = [
            ("ENTRYPOINT in the image", json.dumps(config.get("Entrypoint")) if config.get("Entrypoint") else "none"),
            ("CMD in the image", json.dumps(config.get("Cmd")) if config.get("Cmd") else "none"),
            ("what runs", shlex.join([*(config.get("Entrypoint") or []), *(arguments or config.get("Cmd") or [])])),
            ("it printed", said[-1500:] or "nothing"),
            ("exit status", "none: it did not end, and was stopped" if status is None else status),
        ]
        result.value = _live(_rows(["part", "value"], rows))

    _does(button, work, result)
    return _box("type ENTRYPOINT and CMD, see what runs", *fields.values(), argument, button, result)


SERVE = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8000, bind='{}')"
FETCH = """
import sys, time, urllib.request
for attempt in range({tries}):
    try:
        sys.exit(urllib.request.urlopen("http://{address}", timeout=2).status != 200)
    except OSError:
        time.sleep(0.1)
sys.exit(1)
"""


def explore_ports(client, image):
    """
    Return a widget: choose where a server listens and whether its port is published, and see which address answers.

    ``image`` is one with Python in it. SDK calls: ``client.containers.run``, ``container.exec_run``.

    Example::

        explore_ports(client, "course/web")
    """
    options = {"indent": False, "layout": WIDE}
    lonely = ipywidgets.Checkbox(description="the server listens on 127.0.0.1 only, not on all addresses", **options)
    published = ipywidgets.Checkbox(description="its port is published, on this computer's 127.0.0.1", **options)
    button = ipywidgets.Button(
        description="Run", button_style="primary", tooltip="start the server and ask each address"
    )
    result = _result("Predict which addresses will answer. Then run.")

    def work():
        ports = {"8000/tcp": None} if published.value else {}
        address = "127.0.0.1" if lonely.value else "0.0.0.0"
        web = run(client, image, ["python3", "-c", SERVE.format(address)], detach=True, ports=ports)
        try:
            result.value = _live(_rows(["asked from", "at", "answers"], _answers(client, image, web, ports)))
        finally:
            web.remove(force=True, v=True)

    _does(button, work, result)
    words = "choose where a server listens, see which addresses answer"
    return _box(words, lonely, published, button, result)


def _answers(client, image, web, ports):
    """Return ``(from where, address, answer)`` of three tries to reach a server."""
    ask = ["python3", "-c", FETCH.format(tries=50, address="127.0.0.1:8000")]
    inside = web.exec_run(ask, environment={"no_proxy": "*"}).exit_code == 0  # now it listens
    web.reload()
    address = next(iter(web.attrs["NetworkSettings"]["Networks"].values()))["IPAddress"] + ":8000"
    options = {"network_mode": "bridge", "environment": {"no_proxy": "*"}}
    status, _ = status_and_output(client, image, ["python3", "-c", FETCH.format(tries=1, address=address)], **options)
    mine, answers = "(not published)", False
    if ports:
        mine = f"127.0.0.1:{web.attrs['NetworkSettings']['Ports']['8000/tcp'][0]['HostPort']}"
        with contextlib.suppress(CourseError):
            answers = bool(url(web, 8000, timeout=1))
    words = {True: "yes", False: "no"}
    return [
        ("the container itself", "127.0.0.1:8000", words[inside]),
        ("a second container", address, words[status == 0]),
        ("this notebook", mine, words[answers]),
    ]
