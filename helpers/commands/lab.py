"""python3 -m helpers lab: an engine, then JupyterLab at the first notebook."""

import os
import sys
from pathlib import Path

from helpers import engine, state
from helpers.commands.environment import ROOT
from helpers.machines import terminal

START = "notebooks/00_start_here.ipynb"
SETTINGS = Path(__file__).with_name("jupyterlab")  # only what asks about news is changed; one's own settings come after


def lab(arguments):
    """Find or start an engine and open JupyterLab, with further arguments for it; return when it has ended."""
    client, kind = engine.find()
    print(engine.describe(client, kind), flush=True)
    os.environ.update(engine.variables(kind))  # JupyterLab's terminals, too, speak to it
    from jupyterlab.labapp import LabApp

    os.chdir(ROOT)
    options = [
        f"--ServerApp.root_dir={ROOT}",
        f"--LabApp.default_url=/lab/tree/{START}",
        f"--LabApp.workspaces_dir={state.folder() / 'workspaces'}",  # the tabs that one had open elsewhere stay there
        f"--LabApp.app_settings_dir={SETTINGS}",
    ]
    if kind == "vm" and (folder := terminal.folder()):
        os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
        if not sys.stdout.isatty():  # else the terminals' shells would be login shells, which set PATH again
            options.append(f"--ServerApp.terminado_settings=shell_command={os.environ.get('SHELL', 'sh')}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--allow-root")
    LabApp.launch_instance([*options, *arguments])
    return 0
