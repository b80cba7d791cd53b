"""JupyterLab and a browser: the notebooks as a learner sees them, under names of the tests."""

import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOKEN = secrets.token_urlsafe()  # other users of this computer have no business here
PICTURES = Path(__file__).parent / "screenshots"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SETTINGS = {  # all cells are in the page at once, and nothing asks a question
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
RUN = """async () => {
    window.ended = false;
    window.calm = 0;
    await jupyterapp.commands.execute('notebook:clear-all-cell-outputs');
    jupyterapp.commands.execute('notebook:run-all-cells').finally(() => { window.ended = true });
}"""
RAN = """() => {  // the promise of run-all-cells is kept too early where an error is meant
    const panel = jupyterapp.shell.currentWidget;
    const cells = panel.content.widgets.filter(cell => cell.model.type === 'code');
    const waits = cells.some(cell => cell.promptNode.textContent.includes('*'));
    const idle = panel.sessionContext.session?.kernel?.status === 'idle';
    window.calm = idle && !waits ? window.calm + 1 : 0;
    return window.calm && (cells.at(-1).model.executionCount !== null || (window.ended && window.calm > 15));
}"""


def pytest_collection_modifyitems(items):
    """Leave these tests out where no browser is."""
    lacking = [name for name in ("playwright", "axe_playwright_python") if importlib.util.find_spec(name) is None]
    lacking += [] if CHROMIUM else ["Chromium"]
    for item in items:
        if lacking and Path(__file__).parent in item.path.parents:
            if os.environ.get("COURSE_BROWSER") == "required":
                raise pytest.UsageError(f"the tests in a browser lack {', '.join(lacking)}")
            item.add_marker(pytest.mark.skip(reason=f"not installed: {', '.join(lacking)}"))


@pytest.fixture(scope="session")
def lab(client, tmp_path_factory):
    """Start JupyterLab on copies of the notebooks; return its address and folder."""
    from helpers.host.network import free_port
    from helpers.waiting import until

    room = tmp_path_factory.mktemp("lab")
    _copy_notebooks(room)
    _write_settings(room)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with (room / "lab.log").open("w") as log:
        process = subprocess.Popen(_lab_command(room, port), env=_lab_variables(room), stdout=log, stderr=log)
    until(lambda: _answers(f"{address}/api") or process.poll() is not None, seconds=60, pause=0.1)
    if not _answers(f"{address}/api"):
        process.kill()
        pytest.fail((room / "lab.log").read_text())
    yield address, room / "notebooks"
    process.terminate()
    process.wait(30)


def _copy_notebooks(room):
    """Copy the notebooks, each under a second name, too: a learner's own objects have the name without "test-"."""
    shutil.copytree(ROOT / "notebooks", room / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    (room / "helpers").symlink_to(ROOT / "helpers")  # notebook 08 shows a file of it
    for path in list((room / "notebooks").glob("*.ipynb")):
        shutil.copy(path, path.with_name(f"test-{path.name}"))


def _write_settings(room):
    for name, values in SETTINGS.items():
        file = room / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))


def _lab_command(room, port):
    return [
        sys.executable, "-m", "jupyter", "lab", "--no-browser", f"--port={port}", "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={TOKEN}", "--LabApp.expose_app_in_browser=True", f"--ServerApp.root_dir={room}",
        "--allow-root",
    ]  # fmt: skip


def _lab_variables(room):
    from helpers import engine

    return {
        **os.environ,
        **engine.variables(engine.find()[1]),
        "JUPYTERLAB_SETTINGS_DIR": str(room / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(room / "workspaces"),
        "JUPYTER_RUNTIME_DIR": str(room / "runtime"),
    }


def _answers(address):
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=5).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")  # the loop that Playwright keeps running would be in the way of other tests
def browser():
    """Return a Chromium without a window, which keeps what it has loaded of JupyterLab."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--no-proxy-server"])
        yield running.new_context()
        running.close()


@pytest.fixture
def page(browser):
    """Return a page of 1280 by 720, as on a small laptop; in the end, see that nothing was fetched from elsewhere."""
    opened = browser.new_page()
    opened.set_viewport_size({"width": 1280, "height": 720})
    elsewhere = []
    opened.on("request", lambda request: None if _local(request.url) else elsewhere.append(request.url))
    yield opened
    opened.close()
    assert elsewhere == []


def _local(address):
    return address.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:", "about:"))


@pytest.fixture
def notebook(page, lab):
    """Return a function that opens a notebook, runs it from top to bottom, and returns the page."""

    def opened(name, seconds=1800):
        page.goto(f"{lab[0]}/lab/tree/notebooks/{name}.ipynb?reset&token={TOKEN}")
        page.wait_for_function("() => window.jupyterapp && jupyterapp.shell.currentWidget?.sessionContext?.isReady")
        page.evaluate(RUN)
        page.wait_for_timeout(300)
        page.wait_for_function(RAN, timeout=seconds * 1000, polling=300)
        return page

    yield opened
    page.evaluate("async () => { await window.jupyterapp?.shell.currentWidget?.sessionContext?.shutdown() }")


@pytest.fixture
def picture(page):
    """Return a function that keeps a screenshot under a name, of the page or of one part of it."""
    PICTURES.mkdir(exist_ok=True)

    def taken(name, part=None):
        (part or page).screenshot(path=PICTURES / f"{name}.png")

    return taken
