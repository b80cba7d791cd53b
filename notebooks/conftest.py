"""nbval's settings for ``pytest --nbval`` typed here, or for one notebook."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import nbval_settings


def pytest_configure(config):
    """Set nbval's options."""
    nbval_settings.apply(config)
