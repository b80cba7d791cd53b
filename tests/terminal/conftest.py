"""An engine that is ours alone, and the docker command with buildx."""

import json
import shutil
import subprocess
from pathlib import Path

import own_engine
import pytest

HOW = "sudo tests/engines/rehearse 28.5 tests/terminal types them on an engine of its own, with its docker command"


def pytest_collection_modifyitems(config, items):
    """Leave the typing out where nobody asked for it, with -m or by the name of this folder."""
    if "terminal" in config.option.markexpr or any("terminal" in argument for argument in config.args):
        return
    left_out = [item for item in items if item.get_closest_marker("terminal")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def terminal(client, tmp_path_factory):
    """
    Return the environment of a terminal: an engine of a rehearsal, the docker command, and a configuration of its own.

    Anywhere else the test fails: what is typed makes and removes things without the course's label.
    """
    if not own_engine.is_ours(client):
        pytest.fail(f"this engine may be somebody's. {HOW}", pytrace=False)
    command = shutil.which("docker")
    if not command:
        pytest.fail(f"there is no docker command. {HOW}", pytrace=False)
    folder = tmp_path_factory.mktemp("docker")
    plugins = [str(path) for path in Path(command).resolve().parents[1].glob("lib*/docker/cli-plugins")]
    (folder / "config.json").write_text(json.dumps({"cliPluginsExtraDirs": plugins}))
    variables = {"DOCKER_CONFIG": str(folder), "TMPDIR": str(folder), **own_engine.variables(client)}
    if b"buildx" not in subprocess.run([command, "buildx", "version"], env=variables, capture_output=True).stdout:
        pytest.fail(f"{command} has no buildx, which docker build needs. {HOW}", pytrace=False)
    with own_engine.bases_that_trust(client):
        yield variables
