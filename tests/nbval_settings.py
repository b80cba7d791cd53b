"""What nbval needs to know, wherever pytest is typed: at the root, in notebooks/, or for one file."""

import os
from pathlib import Path

SANITIZE = Path(__file__).parent / "sanitize.cfg"


def apply(config):
    """Set nbval's options, once, unless the command line says otherwise; do nothing without ``--nbval``."""
    option = config.option
    if not (getattr(option, "nbval", False) or getattr(option, "nbval_lax", False)) or hasattr(config, "_course_nbval"):
        return
    config._course_nbval = True
    option.nbval_sanitize_with = option.nbval_sanitize_with or str(SANITIZE)
    if not option.nbval_kernel_name:
        option.nbval_current_env = True
    if option.nbval_cell_timeout == 2000:
        option.nbval_cell_timeout = 600
    _patch_nbval()
    _share_one_engine(config)


def _patch_nbval():
    from nbval.kernel import RunningKernel
    from nbval.plugin import IPyNbCell, IPyNbFile

    from helpers.lessons.quizzes import without_scripts
    from helpers.progress import is_closed_bar

    def execute_cell_input(self, source, allow_stdin=None):
        # nbval 0.11 does not store history, and a trailing ";" then silences nothing (nbval issue 194)
        return self.kc.execute(source, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)

    setup = IPyNbFile.setup

    def setup_with_name(self):
        # JupyterLab tells a kernel its notebook in this variable; "test-" keeps a learner's own objects out of reach
        os.environ["JPY_SESSION_NAME"] = f"test-{self.path.name}"
        _remove_leftovers()
        setup(self)

    compare = IPyNbCell.compare_outputs

    def compare_what_is_stored(self, test, ref, skip_compare=None):
        return compare(self, comparable(test), comparable(ref), skip_compare)

    def comparable(outputs):
        # a progress bar is gone in the end; whether there was one depends on what was there already
        return without_scripts([output for output in outputs if not is_closed_bar(output)])

    RunningKernel.execute_cell_input = execute_cell_input
    IPyNbFile.setup = setup_with_name
    IPyNbCell.compare_outputs = compare_what_is_stored


def _share_one_engine(config):
    """Hold the engine while the tests run, so that a private one is not stopped between two notebooks."""
    if not config.option.collectonly:
        from helpers import engine

        engine.find()


def _remove_leftovers():
    """Remove what an earlier test left: objects of a killed kernel, which ``cleanup`` counts; what exercises passed."""
    from helpers import engine, state
    from helpers.engine import cleaning
    from helpers.lessons.checks import checking

    checking.record_path().unlink(missing_ok=True)
    cleaning.remove_objects(engine.find()[0], f"{state.NOTEBOOK_LABEL}={state.notebook()}")
