"""Claims: every one decided once, by evidence that came from the engine and could have come out otherwise."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from helpers import claim, ledger
from helpers.errors import CourseError
from helpers.lessons import claims

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
KNOWN = tomllib.loads((ROOT / "notebooks" / "claims.toml").read_text())
NOT_IN_CELLS = {name for name, entry in KNOWN.items() if "notebook" not in entry}
LINES_OF_THE_NOTES = set(range(2, 105)) - {9, 10, 43, 44, 76}  # without the title, two rulers and three empty lines
ENGINE = {
    "connect",
    "base_image",
    "build",
    "run",
    "server",
    "url",
    "size",
    "layers",
    "contents",
    "compare",
    "security_fixes",
    "measure_container",
    "measure_vm",
}


def code_cells(path):
    """Return ``(id, source, printed)`` of a notebook's code cells."""
    cells = json.loads(path.read_text())["cells"]
    return [
        (cell["id"], "".join(cell["source"]), "".join("".join(output.get("text", "")) for output in cell["outputs"]))
        for cell in cells
        if cell["cell_type"] == "code"
    ]


def calls(source):
    """Return ``(name, evidence)`` of each ``claim(…)`` in a cell: its expressions, those of a comprehension too."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "claim":
            lists = {keyword.arg: keyword.value for keyword in node.keywords}
            evidence = [
                (kind, one)
                for kind, value in lists.items()
                for one in (value.elts if isinstance(value, ast.List) else [value.elt])
            ]
            found.append((node.args[0].value, evidence))
    return found


DECIDED = [
    (path, name, evidence, printed)
    for path in NOTEBOOKS
    for _, source, printed in code_cells(path)
    for name, evidence in calls(source)
]


def from_the_engine(source):
    """Return the names in a notebook's code whose values come, by whatever way, from a call that asked the engine."""
    tainted = set(ENGINE)

    def touched(*nodes):
        loads = (n for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))
        return any(name.id in tainted for name in loads)

    def bind(target):
        tainted.update(n.id for n in ast.walk(target) if isinstance(n, ast.Name))

    tree, before = ast.parse(source), 0
    while before != len(tainted):
        before = len(tainted)
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and touched(node.value):
                for target in node.targets:
                    bind(target.value if isinstance(target, ast.Subscript) else target)
            elif isinstance(node, ast.AugAssign | ast.NamedExpr | ast.For | ast.comprehension):
                if touched(node.iter if hasattr(node, "iter") else node.value):
                    bind(node.target)
            elif isinstance(node, ast.withitem) and node.optional_vars and touched(node.context_expr):
                bind(node.optional_vars)
            elif isinstance(node, ast.FunctionDef) and touched(*node.body):
                tainted.add(node.name)
            elif isinstance(node, ast.Try) and touched(*node.body):
                tainted.update(handler.name for handler in node.handlers if handler.name)
            elif isinstance(node, ast.Call) and touched(*node.args) and ast.unparse(node.func).endswith(".append"):
                bind(node.func.value)
    return tainted


def constants(source):
    """Return the evidence in a notebook's code that depends on nothing that the engine said."""
    tainted = from_the_engine(source)
    return [
        f"{name}: {ast.unparse(one)}"
        for name, evidence in calls(source)
        for _, one in evidence
        if not any(isinstance(n, ast.Name) and n.id in tainted for n in ast.walk(one))
    ]


def test_the_list_is_whole():
    """Every number is there, in order, with all that the ledger shows."""
    numbers = [f"C{n:02}" for n in range(1, 84)] + [f"R{n:02}" for n in range(1, 9)]
    assert list(KNOWN) == numbers
    for name, entry in KNOWN.items():
        assert entry["claim"].strip() and entry["source"].startswith("https://"), name
        assert entry["verdict"] in ("true", "partly", "false", "opinion"), name
        assert entry["verdict"] == "true" or "correction" in entry, name
        assert sum(key in entry for key in ("notebook", "reason")) == 1, name
        assert name.startswith("R") or entry["line"], name


def test_few_claims_have_no_cell():
    """An opinion, and what cannot be seen on one computer, have a reason in place of a cell."""
    assert {"C07", "C08"} == NOT_IN_CELLS


def test_every_line_of_the_notes_is_covered():
    """Each line with content belongs to a claim, and no claim to a line without."""
    assert {line for entry in KNOWN.values() for line in entry.get("line", [])} == LINES_OF_THE_NOTES


def test_each_claim_is_decided_once_in_its_notebook():
    """No more, no less, and nowhere else."""
    decided = [(name, path.stem[:2]) for path, name, _, _ in DECIDED]
    assert sorted(decided) == sorted((name, entry["notebook"]) for name, entry in KNOWN.items() if "notebook" in entry)


def test_each_verdict_is_in_the_stored_output():
    """What the notebooks have stored is what the list expects."""
    for path, name, _, printed in DECIDED:
        assert f"{name} {KNOWN[name]['verdict']}: {KNOWN[name]['claim']}\n" in printed, f"{path.name} {name}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_evidence_comes_from_the_engine(path):
    """No evidence is a constant, or a name for one."""
    source = "\n".join(source for _, source, _ in code_cells(path))
    assert constants(source) == []


@pytest.mark.parametrize(
    "source",
    [
        'claim("C01", holds=[True])',
        'claim("C01", holds=["a" == "a"])',
        'yes = True\nclaim("C01", holds=[yes])',
        'image = build(client, ".")\nname = "linux"\nclaim("C01", fails=[image, len(name) == 5])',
        'def always():\n    return True\n\n\nclaim("C01", fails=[always()])',
    ],
)
def test_constant_evidence_is_rejected(source):
    """The test above can fail."""
    assert len(constants(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        'out = run(client, image).decode()\nclaim("C01", holds=[out == "a"])',
        'seen = {}\ndef ask(x):\n    seen[x] = run(client, x)\nclaim("C01", holds=[seen["a"]])',
        'try:\n    build(c)\nexcept E as error:\n    said = str(error)\nclaim("C01", holds=["a" in said])',
    ],
)
def test_evidence_from_the_engine_is_accepted(source):
    """It follows what the engine said through names, functions and errors."""
    assert constants(source) == []


def test_true_partly_false(capsys):
    """The verdict follows from which observations were given."""
    claim("C55", holds=[1 == 1])
    claim("C53", holds=[1 == 1], fails=[2 == 2])
    claim("C54", fails=[2 == 2])
    printed = capsys.readouterr().out
    assert claims.VERDICT.findall(printed) == [("C55", "true"), ("C53", "partly"), ("C54", "false")]
    assert f"    {KNOWN['C54']['correction']}\n" in printed


@pytest.mark.parametrize(
    ("evidence", "why"),
    [
        ({"fails": [True, False]}, "fails[1] did not come true"),
        ({"fails": [[]]}, "fails[0] did not come true"),
        ({"holds": [True]}, "this looks true, where the ledger says false"),
        ({"holds": [True], "fails": [True]}, "this looks partly, where the ledger says false"),
        ({"holds": [False], "fails": [True]}, "holds[0] did not come true"),
    ],
)
def test_not_shown(capsys, evidence, why):
    """Missing evidence, and evidence for something else, decide nothing."""
    claim("C54", **evidence)
    assert capsys.readouterr().out == f"C54 not shown: {why}\n"


@pytest.mark.parametrize(
    ("name", "evidence", "said"),
    [
        ("C99", [True], "did you mean C"),
        ("c54", [True], "did you mean C54"),
        (54, [True], "did you mean C54"),
        ("DOCKER", [True], "did you mean C01 to C83"),
        ("C54", [], "nothing was seen"),
        ("C54", "no", "holds= and fails= take lists"),
        ("C54", {"a": False}, "holds= and fails= take lists"),
    ],
)
def test_claims_that_cannot_be_decided(name, evidence, said):
    """An unknown claim, and one without any observation, say what to do."""
    with pytest.raises(CourseError, match=re.escape(said)):
        claim(name, fails=evidence)


def test_the_ledger_reads_the_notebooks(monkeypatch, tmp_path):
    """A verdict is what a notebook's stored output says, not what the list expects."""
    shutil.copy(ROOT / "notebooks" / "claims.toml", tmp_path)
    stored = (ROOT / "notebooks" / "05_django_app.ipynb").read_text()
    (tmp_path / "05_django_app.ipynb").write_text(stored.replace("C54 false: ", "C54 true: ").replace("C55 true: ", ""))
    monkeypatch.setattr(claims, "NOTEBOOKS", tmp_path)
    verdicts = {row["claim"]: row["verdict"] for row in ledger()}
    assert (verdicts["C53"], verdicts["C54"], verdicts["C55"]) == ("partly", "true", "not shown")
    assert (verdicts["C01"], verdicts["C05"], verdicts["C08"]) == ("not shown", "not shown", "opinion")


def test_the_ledger_leads_to_the_cells():
    """Each row names a cell that is there and that decides this claim."""
    cells = {(path.name, cell): source for path in NOTEBOOKS for cell, source, _ in code_cells(path)}
    rows = [row for row in ledger() if row["cell"]]
    assert len(rows) == len(KNOWN) - len(NOT_IN_CELLS)
    for row in rows:
        assert f'claim("{row["claim"]}"' in re.sub(r"\(\s+", "(", cells[row["notebook"], row["cell"]])


def test_the_counts_of_the_last_notebook():
    """Its stored counts are those of the other notebooks' stored outputs."""
    printed = "".join(printed for _, _, printed in code_cells(ROOT / "notebooks" / "10_verdicts.ipynb"))
    counts = Counter(row["verdict"] for row in ledger())
    stored = {kind.strip(): int(count) for kind, count in re.findall(r"^([a-z ]+?) +(\d+)$", printed, re.MULTILINE)}
    assert {kind: count for kind, count in stored.items() if count} == counts


def notebook_of(cells):
    """Return a stored notebook with cells of ``(source, printed)``."""
    made = [{
        "cell_type": "code", "execution_count": n, "id": f"cell-{n}", "metadata": {}, "source": source,
        "outputs": [{"name": "stdout", "output_type": "stream", "text": printed}] if printed else [],
    } for n, (source, printed) in enumerate(cells, start=1)]  # fmt: skip
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return json.dumps({"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5})


def mutations(evidence):
    """Return ``(holds, fails)`` with one observation after the other made false, and first with none."""
    for wrong in (None, *range(len(evidence))):
        seen = [(kind, n != wrong) for n, (kind, _) in enumerate(evidence)]
        yield {kind: [value for of, value in seen if of == kind] for kind in ("holds", "fails")}


@pytest.mark.engine  # held while nbval runs
def test_false_evidence_fails_in_nbval(tmp_path):
    """For each claim of the course, each observation made false, alone, makes nbval fail on that cell; none passes."""
    for name in ("tests/nbval_settings.py", "tests/sanitize.cfg", "notebooks/conftest.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    cells, wrong = [("from helpers import claim", "")], []
    for _, name, evidence, printed in DECIDED:
        stored = re.search(rf"^{name} .*\n(    .*\n)?", printed, re.MULTILINE)[0]
        for n, lists in enumerate(mutations(evidence)):
            wrong += [len(cells)] if n else []
            cells.append((f'claim("{name}", **{lists})', stored))
    (tmp_path / "notebooks" / "mutants.ipynb").write_text(notebook_of(cells))
    command = [sys.executable, "-m", "pytest", "--nbval", "-p", "no:cacheprovider", "-rf", "notebooks"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    failed = sorted({int(n) for n in re.findall(r"^FAILED \S+::Cell (\d+)", done.stdout, re.MULTILINE)})
    assert len(wrong) > len(DECIDED) >= 89
    assert failed == wrong, done.stdout[-3000:]


def test_the_readme_tells_the_counts():
    """What the README says of the verdicts is what the notebooks show."""
    counts = Counter(row["verdict"] for row in ledger())
    text = " ".join((ROOT / "README.md").read_text().split())
    assert f"{len(KNOWN)} claims" in text
    assert f"{counts['true']} are true, {counts['partly']} true in part, {counts['false']} false" in text
