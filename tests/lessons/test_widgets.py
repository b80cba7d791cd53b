"""Each widget without a browser: its buttons are clicked from here, and what it then shows is read."""

import html
import io
import re
import secrets

import ipywidgets
import pytest

from helpers import base_image, build, explore_entrypoint, explore_layers, explore_ports, playground, run, state, watch
from helpers.errors import CourseError
from helpers.lessons.widgets.playground import BUILDING
from helpers.waiting import until

SECONDS = 60  # many times what a quiet computer needs


def inside(widget):
    """Return all widgets inside a widget."""
    found = []
    for child in getattr(widget, "children", ()):
        found += [child, *inside(child)]
    return found


def part(widget, description):
    """Return the button or field that is labelled so."""
    return next(one for one in inside(widget) if getattr(one, "description", None) == description)


def click(widget, description):
    """Click a button once it can be clicked."""
    button = part(widget, description)
    assert until(lambda: not button.disabled, SECONDS), f"{description} stays disabled"
    button.click()


def results(widget):
    """Return the places where a widget shows results."""
    return [one for one in inside(widget) if isinstance(one, ipywidgets.HTML)]


def result(widget, text):
    """Return the HTML of a result once it holds a text."""
    found = until(lambda: [one.value for one in results(widget) if text in one.value], SECONDS)
    assert found, f"no {text!r} in {[one.value for one in results(widget)]}"
    return found[0]


def cells(result_html):
    """Return the rows of the tables in a result, without their titles."""
    rows = re.findall("<tr>(.*?)</tr>", result_html, re.DOTALL)
    texts = [[html.unescape(cell) for cell in re.findall("<td[^>]*>(.*?)</td>", row, re.DOTALL)] for row in rows]
    return [row for row in texts if row]


@pytest.fixture
def image_name(client, request):
    """Return a name for the image of a test, which is removed in the end."""
    name = f"course/test-{request.node.originalname.removeprefix('test_').replace('_', '-')}"
    yield name
    if client.images.list(name):
        client.images.remove(name)


@pytest.fixture
def first_build(client, base, image_name, tmp_path, monkeypatch):
    """Return a playground that has built its Dockerfile once; in the end, stop what it still builds."""
    monkeypatch.setattr("helpers.lessons.widgets.playground.TAG", image_name)
    lines = ["FROM debian:trixie-slim", f"RUN echo {secrets.token_hex(4)} > /new"]
    (tmp_path / "Dockerfile").write_text("\n".join([*lines, ""]))
    widget = playground(client, tmp_path)
    click(widget, "Build")
    result(widget, "built in")
    yield widget
    part(widget, "Stop").click()
    assert until(lambda: not part(widget, "Build").disabled, SECONDS)


def add_line(widget, line):
    """Add a line to the Dockerfile in a playground's editor, and build it."""
    part(widget, "Dockerfile").value += line
    click(widget, "Build")


def test_playground_reads_utf8(tmp_path, monkeypatch):
    """A Dockerfile is UTF-8, also on a computer whose own texts are not, such as many with Windows."""
    monkeypatch.setattr(io, "text_encoding", lambda encoding, stacklevel=2: encoding or "cp1252")
    for written, shown in (("FROM scratch\n# größer\n".encode(), "größer"), (b"FROM scratch\n# gr\xf6\n", "gr\ufffd")):
        (tmp_path / "Dockerfile").write_bytes(written)
        assert part(playground(None, tmp_path), "Dockerfile").value == f"FROM scratch\n# {shown}\n"


def test_playground_builds(client, first_build, image_name):
    """Steps, what came from the cache, and what changed; a step that goes on interrupts no screen reader."""
    shown = []
    results(first_build)[0].observe(lambda change: shown.append(change["new"]), "value")
    first = cells(result(first_build, "built in"))[-1]
    assert first[0].startswith("[2/2] RUN echo ") and first[0].endswith("> /new") and first[1] == "done"
    add_line(first_build, "RUN head -c 2000000 /dev/zero > /two")
    said = result(first_build, "2 MB more than the build before; layers: 1 more.")
    assert cells(said) == [
        ["[1/3] FROM debian:trixie-slim", "from the cache"],
        [first[0].replace("2/2", "2/3"), "from the cache"],
        ["[3/3] RUN head -c 2000000 /dev/zero > /two", "done"],
    ]
    assert "working …" in shown[0] and 'role="alert"' in shown[0] and 'role="alert"' in said
    assert all('role="group"' in one for one in shown[1:-1])
    assert any(["[3/3] RUN head -c 2000000 /dev/zero > /two", "working …"] in cells(one) for one in shown[1:-1])
    assert client.images.get(image_name).history()[0]["CreatedBy"].startswith("RUN /bin/sh -c head")
    assert part(first_build, "Stop").disabled


def test_playground_without_layers(first_build):
    """A Dockerfile with settings only."""
    part(first_build, "Dockerfile").value = f'FROM scratch\nLABEL once={secrets.token_hex(8)}\nCMD ["/x"]\n'
    click(first_build, "Build")
    assert "layers: 2 fewer." in result(first_build, "0 B</b> in 0 layers, built in")


def test_playground_shows_why_a_step_failed(first_build):
    """The step's own output and the engine's words; a Dockerfile that cannot be read has no steps."""
    add_line(first_build, "RUN echo it begins && exit 3")
    said = result(first_build, "There is no new image")
    assert cells(said)[-1] == ["[3/3] RUN echo it begins && exit 3", "failed"]
    assert "\nit begins\n" in said.replace("<pre>", "\n") and "exit code: 3" in said
    assert 'role="alert"' in said
    add_line(first_build, "\nRUM true")
    said = result(first_build, "unknown instruction: RUM")
    assert "There is no new image" in said and cells(said) == []


def test_playground_stops_a_step(first_build, runs_there):
    """The process of the step is killed, and the build ends."""
    seconds = f"{600 + secrets.randbelow(10**6)}"
    add_line(first_build, f"RUN echo it waits && sleep {seconds}")
    assert until(lambda: runs_there(f"sleep {seconds}"), SECONDS)
    click(first_build, "Stop")
    said = result(first_build, "There is no new image")
    assert cells(said)[-1][1] == "stopped"
    assert part(first_build, "Stop").disabled and not BUILDING
    assert until(lambda: not runs_there(f"sleep {seconds}"), SECONDS)


def test_explore_layers(client, image_name, tmp_path):
    """The largest instruction is chosen first; another number shows the files of another one."""
    (tmp_path / "large").write_bytes(bytes(2_000_000))
    (tmp_path / "little").write_bytes(bytes(10))
    (tmp_path / "Dockerfile").write_text('FROM scratch\nCOPY little /\nCOPY large /\nCMD ["/large"]\n')
    image = build(client, tmp_path, tag=image_name)
    widget = explore_layers(image)
    choice = part(widget, "instruction")
    said = result(widget, f"Instruction {choice.value} added <b>2 MB</b> in 1 file.")
    assert cells(said)[-1] == ["2\N{NO-BREAK SPACE}MB", "/large"]
    choice.value -= 1
    said = result(widget, f"Instruction {choice.value} added <b>10 B</b> in 1 file.")
    assert cells(said)[-1] == ["10\N{NO-BREAK SPACE}B", "/little"]
    assert [row[1] for row in cells(said) if row[0]] == [str(choice.value), "/little"]


def test_explore_entrypoint(client, base, image_name, monkeypatch):
    """What is typed is built and run; the argument takes the place of CMD; what went wrong is told."""
    monkeypatch.setattr("helpers.lessons.widgets.entrypoint.TAG", image_name)
    widget = explore_entrypoint(client, base)
    click(widget, "Run")
    rows = dict(cells(result(widget, "it printed")))
    assert rows["ENTRYPOINT in the image"] == '["echo", "E"]' and rows["CMD in the image"] == '["C"]'
    assert (rows["what runs"], rows["it printed"], rows["exit status"]) == ("echo E C", "E C", "0")
    part(widget, "argument").value = "X"
    click(widget, "Run")
    assert dict(cells(result(widget, "echo E X")))["it printed"] == "E X"
    part(widget, "ENTRYPOINT").value = '["nonsense"]'
    click(widget, "Run")
    assert "it could not start: " in result(widget, "executable file not found")
    part(widget, "argument").value = '"'
    click(widget, "Run")
    assert "No closing quotation" in result(widget, "It did not work.")


@pytest.mark.parametrize(
    ("only_itself", "published", "answers"),
    [(False, False, "yes yes no"), (False, True, "yes yes yes"), (True, True, "yes no no")],
)
def test_explore_ports(only_itself, published, answers, client):
    """Which address answers depends on where the server listens, and on the published port; nothing is left."""
    widget = explore_ports(client, base_image(client, "python:3.13-slim-trixie"))
    part(widget, "the server listens on 127.0.0.1 only, not on all addresses").value = only_itself
    part(widget, "its port is published, on this computer's 127.0.0.1").value = published
    click(widget, "Run")
    rows = cells(result(widget, "this notebook"))
    assert [row[0] for row in rows] == ["the container itself", "a second container", "this notebook"]
    assert [row[2] for row in rows] == answers.split()
    assert client.containers.list(all=True, filters={"label": f"{state.NOTEBOOK_LABEL}={state.notebook()}"}) == []


def test_watch(client, base):
    """State, memory and log; stopped, started and removed by its buttons, as the engine sees it."""
    container = run(client, base, ["sh", "-c", "trap exit TERM; while date; do sleep 0.2; done"], detach=True)
    widget = watch(container)
    rows = dict(cells(result(widget, "processes")))
    assert rows["state"] == "running" and rows["processor"].endswith("% of one") and rows["memory"].endswith("B")
    click(widget, "Stop")
    assert "exit status" in dict(cells(result(widget, "exited")))
    assert client.containers.get(container.id).status == "exited"
    assert f"docker stop {container.name}" in result(widget, "docker stop")
    click(widget, "Start")
    result(widget, "running")
    click(widget, "Remove")
    result(widget, "removed")
    assert client.containers.list(all=True, filters={"name": container.name}) == []
    assert all(part(widget, name).disabled for name in ("Start", "Stop", "Remove"))


def test_watch_with_a_name():
    """It needs the container itself, and says how to get it."""
    with pytest.raises(CourseError, match=r"client\.containers\.get\('web'\)"):
        watch("web")


def test_what_a_stored_notebook_says(client, base):
    """A sentence in the widget's place."""
    data = explore_entrypoint(client, base)._repr_mimebundle_()
    assert data["text/plain"] == "A widget: type ENTRYPOINT and CMD, see what runs. Run this cell to use it."
