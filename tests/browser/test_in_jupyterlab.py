"""Every notebook in JupyterLab: run from top to bottom, looked at, and examined by axe."""

from pathlib import Path

import pytest
from accessibility import serious

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
CODE = "jupyterapp.shell.currentWidget.content.widgets.filter(cell => cell.model.type === 'code')"
OUTPUTS = f"""() => {CODE}.map(cell => ({{
    text: cell.model.sharedModel.getSource(),
    count: cell.model.executionCount,
    meant: (cell.model.getMetadata('tags') || []).includes('raises-exception'),
    error: cell.model.outputs.toJSON().find(output => output.output_type === 'error')?.ename ?? null,
}}))"""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_from_top_to_bottom(path, notebook, picture):
    """Each cell ran, and errors are there only where they are meant; nothing serious is found by axe."""
    page = notebook(f"test-{path.stem}")
    cells = page.evaluate(OUTPUTS)
    assert [(cell["text"], cell["error"]) for cell in cells if (cell["error"] is not None) != cell["meant"]] == []
    assert [cell["count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert serious(page) == []
    page.set_viewport_size({"width": 1280, "height": 720})
    picture(f"{path.stem}-end")
