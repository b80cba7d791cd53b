"""Each widget, used as a person uses it: with the mouse and with the keyboard, and its effect seen on the engine."""

import json
import re
import time

import pytest
from accessibility import serious

SETUP = """from helpers import *
client = connect()
base = base_image(client, "debian:trixie-slim")
"""


@pytest.fixture
def shown(notebook, lab, request):
    """Return a function that shows a widget in a notebook of its own, and returns the page."""

    def opened(code):
        name = f"test-{request.node.name}"
        cells = [
            {
                "cell_type": "code",
                "execution_count": None,
                "id": f"c{n}",
                "metadata": {},
                "outputs": [],
                "source": source,
            }
            for n, source in enumerate((SETUP, code))
        ]
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
        (lab[1] / f"{name}.ipynb").write_text(json.dumps(content))
        page = notebook(name)
        page.wait_for_selector(".jupyter-widgets")
        page.wait_for_timeout(500)
        return page

    return opened


def result(page, text, seconds=30):
    """Wait until a result of a widget says something, and return all that it says."""
    region = page.locator(".course-result").filter(has_text=re.compile(text)).first
    region.wait_for(timeout=seconds * 1000)
    return region.inner_text()


def prompt_answer(page, act):
    """Return the seconds from a click until the widget says that it works."""
    page.evaluate("""() => {
        window.heard = null;
        const look = () => { if (document.body.innerText.includes('working …')) window.heard ??= performance.now() };
        new MutationObserver(look).observe(document.querySelector('.jp-Notebook'), {subtree: true, childList: true});
    }""")
    began = page.evaluate("() => performance.now()")
    act()
    page.wait_for_function("() => window.heard", polling=20)
    return (page.evaluate("() => window.heard") - began) / 1000


def test_playground(shown, client, picture):
    """A Dockerfile is edited and built twice: steps, cache, and what changed; a mistake is told."""
    page = shown('build(client, "apps/first", tag="course/first")\nplayground(client, "apps/first")')
    picture("playground-before")
    button = page.get_by_role("button", name="Build", exact=True)
    assert prompt_answer(page, button.click) < 1  # 0.1 s on a quiet computer
    said = result(page, "built in")
    assert "from the cache" in said
    field = page.get_by_label("Dockerfile")
    text = field.input_value()
    field.fill(text.replace('CMD ["python3", "app.py"]', 'RUN head -c 2000000 /dev/zero > /two\nCMD ["cat", "/two"]'))
    field.press("Tab")
    page.keyboard.press("Enter")  # the next thing that Tab reaches is the button
    said = result(page, "2 MB more than")
    assert "layers: 1 more" in said
    picture("playground-after")
    image = client.images.get("course/playground")
    assert image.attrs["Config"]["Cmd"] == ["cat", "/two"]
    field.fill(text.replace("RUN apt-get", "RUM apt-get"))
    button.click()
    assert "unknown instruction: RUM" in result(page, "There is no new image")
    picture("playground-mistake")
    field.fill(text.replace("RUN apt-get", "RUN echo I wait && sleep 600 && apt-get"))
    button.click()
    result(page, "sleep 600")
    stop = page.get_by_role("button", name="Stop", exact=True)
    page.wait_for_timeout(1500)  # it is at the step now
    stop.click()
    assert "I wait" in result(page, "There is no new image")
    assert serious(page) == []
    client.images.remove("course/playground")


def test_explore_layers(shown, picture):
    """The arrow keys choose an instruction, and its files are shown."""
    page = shown('image = build(client, "apps/first", tag="course/first")\nexplore_layers(image)')
    assert "/usr/bin/python3" in result(page, "added")  # the largest is chosen first
    picture("explore-layers-before")
    field = page.get_by_role("spinbutton", name="instruction")
    field.focus()
    field.press("ArrowUp")
    assert "/app/app.py" in result(page, "/app/app.py")
    picture("explore-layers-after")
    assert serious(page) == []


def test_watch(shown, client, picture):
    """State, memory and log; stopped, started and removed by its buttons, as the engine sees it."""
    page = shown('clock = run(client, base, ["sh", "-c", "while date; do sleep 1; done"], detach=True)\nwatch(clock)')
    said = result(page, "processes")
    assert "running" in said and re.search(
        r"processor\s+[\d.]+% of one\s+memory\s+[\d.]+ [kM]B\s+processes\s+[123]\s", said
    )
    picture("watch-running")
    name = re.search("course-[0-9a-f]{8}", said)[0]
    container = client.containers.get(name)
    page.get_by_role("button", name="Stop", exact=True).click()
    result(page, "exited")
    container.reload()
    assert container.status == "exited"
    start = page.get_by_role("button", name="Start", exact=True)
    page.wait_for_function("start => !start.disabled", arg=start.element_handle())
    start.focus()
    page.keyboard.press("Enter")
    result(page, "running")
    picture("watch-started")
    page.get_by_role("button", name="Remove", exact=True).click()
    result(page, "removed")
    assert client.containers.list(all=True, filters={"name": name}) == []
    picture("watch-removed")
    assert serious(page) == []


def test_explore_entrypoint(shown, picture):
    """What is typed is built and run; the argument takes the place of CMD."""
    page = shown("explore_entrypoint(client, base)")
    picture("explore-entrypoint-before")
    page.get_by_role("button", name="Run", exact=True).click()
    assert "echo E C" in result(page, "it printed")
    page.get_by_role("textbox", name="argument").fill("X")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert "echo E X" in result(page, "echo E X")
    page.get_by_role("textbox", name="ENTRYPOINT").fill('["nonsense"]')
    page.get_by_role("button", name="Run", exact=True).click()
    assert "it could not start: " in result(page, "executable file not found")
    picture("explore-entrypoint-after")
    assert serious(page) == []


@pytest.mark.parametrize(
    ("lonely", "published", "answers"),
    [(False, False, "yes yes no"), (False, True, "yes yes yes"), (True, True, "yes no no")],
)
def test_explore_ports(lonely, published, answers, shown, client, picture):
    """Who gets an answer depends on where the server listens, and on the published port; nothing is left running."""
    page = shown('build(client, "apps/first", tag="course/first")\nexplore_ports(client, "course/first")')
    for words, wanted in (("the server listens on", lonely), ("its port is published", published)):
        box = page.get_by_label(words)
        if wanted:
            box.focus()
            page.keyboard.press("Space")
        assert box.is_checked() == wanted
    page.get_by_role("button", name="Run", exact=True).click()
    said = result(page, "this notebook", 60)
    assert re.findall(r"\b(yes|no)$", said, re.MULTILINE) == answers.split()
    time.sleep(0.5)
    left = client.containers.list(all=True, filters={"label": "org.docker-course.notebook"})
    assert [one.name for one in left if "explore_ports" in one.labels["org.docker-course.notebook"]] == []
    picture(f"explore-ports-{answers.replace(' ', '-')}")
    assert serious(page) == []


def test_a_quiz(notebook, picture):
    """Three questions; a wrong answer is explained, and so is a right one."""
    page = notebook("test-00_start_here")
    quiz = page.locator(".Quiz")
    assert quiz.count() == 3
    quiz.nth(0).get_by_text("the image", exact=True).click()
    assert "It does nothing by itself" in quiz.nth(0).inner_text()
    quiz.nth(0).get_by_text("the engine", exact=True).click()
    assert "only asks it to" in quiz.nth(0).inner_text()
    page.wait_for_timeout(1500)  # the colour of the chosen answer fades in
    assert serious(page) == []
    quiz.nth(0).scroll_into_view_if_needed()
    picture("quiz-after")
