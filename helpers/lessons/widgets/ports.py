"""A widget that shows which addresses of a server answer."""

import contextlib
from functools import partial

import docker
import ipywidgets

from helpers.containers.outcome import status_and_output
from helpers.containers.run import run
from helpers.containers.url import url
from helpers.errors import CourseError
from helpers.lessons.widgets.parts import FULL_WIDTH, html_table, result_area, result_html, run_on_click, widget_box

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
NO_PROXY = {"no_proxy": "*"}
START_TRIES = 50  # 0.1 s from one to the next


def explore_ports(client: docker.DockerClient, image: docker.models.images.Image | str) -> ipywidgets.Widget:
    """
    Return a widget: choose where a server listens and whether its port is published, and see which address answers.

    ``image`` is one with Python in it. SDK calls: ``client.containers.run``, ``container.exec_run``.

    Example::

        explore_ports(client, "course/web")
    """
    only_itself = _checkbox("the server listens on 127.0.0.1 only, not on all addresses")
    published = _checkbox("its port is published, on this computer's 127.0.0.1")
    button = ipywidgets.Button(
        description="Run", button_style="primary", tooltip="start the server and ask each address"
    )
    result = result_area("Predict which addresses will answer. Then run.")
    run_on_click(button, partial(_show_answers, client, image, only_itself, published, result), result)
    purpose = "choose where a server listens, see which addresses answer"
    return widget_box(purpose, only_itself, published, button, result)


def _checkbox(text):
    return ipywidgets.Checkbox(description=text, indent=False, layout=FULL_WIDTH)


def _show_answers(client, image, only_itself, published, result):
    """Run a server as the boxes say, ask each address, and show the answers."""
    ports = {"8000/tcp": None} if published.value else {}
    address = "127.0.0.1" if only_itself.value else "0.0.0.0"
    server = run(client, image, ["python3", "-c", SERVE.format(address)], detach=True, ports=ports)
    try:
        rows = [  # its own answer comes first: the server listens then
            _answer_to_itself(server),
            _answer_to_a_second_container(client, image, server),
            _answer_to_this_notebook(server, published.value),
        ]
    finally:
        server.remove(force=True, v=True)
    rows = [(asker, address, "yes" if answers else "no") for asker, address, answers in rows]
    result.value = result_html(html_table(["asked from", "at", "answers"], rows))


def _answer_to_itself(server):
    address = "127.0.0.1:8000"
    answer = server.exec_run(_fetch_command(address, START_TRIES), environment=NO_PROXY)
    return "the container itself", address, answer.exit_code == 0


def _answer_to_a_second_container(client, image, server):
    server.reload()
    address = next(iter(server.attrs["NetworkSettings"]["Networks"].values()))["IPAddress"] + ":8000"
    options = {"network_mode": "bridge", "environment": NO_PROXY}
    status, _ = status_and_output(client, image, _fetch_command(address, tries=1), **options)
    return "a second container", address, status == 0


def _answer_to_this_notebook(server, published):
    if not published:
        return "this notebook", "(not published)", False
    address = f"127.0.0.1:{server.attrs['NetworkSettings']['Ports']['8000/tcp'][0]['HostPort']}"
    answers = False
    with contextlib.suppress(CourseError):
        answers = bool(url(server, 8000, timeout=1))
    return "this notebook", address, answers


def _fetch_command(address, tries):
    return ["python3", "-c", FETCH.format(tries=tries, address=address)]
