"""Claims of the notes: what a cell saw, held against them, and the ledger of all verdicts."""

import difflib
import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

from helpers.errors import CourseError

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
VERDICT = re.compile(r"^([CR]\d\d) (true|partly|false): ", re.MULTILINE)


def claim(name: str, holds: Sequence = (), fails: Sequence = ()) -> None:
    """
    Hold what was seen against a claim of the notes, and print the verdict that follows from it.

    ``holds`` is a list of observations that the claim expects, ``fails`` one of observations that it rules out. All
    true: with ``holds`` alone the claim is true, with ``fails`` alone false, with both it is partly so. Where an
    observation did not come, or the verdict is another than the one in ``notebooks/claims.toml``, it prints
    "not shown" and why; the notebook's test fails then. It calls nothing of the SDK.

    Raises:
        CourseError: there is no claim of that name, or no observation was given.

    Example::

        claim("C54", fails=[out == "linux"])
    """
    known = _known()
    if not isinstance(name, str) or name not in known:
        near = difflib.get_close_matches(str(name).upper(), known, n=3, cutoff=0.6) or ["C01 to C83", "R01 to R08"]
        raise CourseError(f"deciding on claim {name}", "there is none", f"did you mean {', '.join(near)}?")
    if not (isinstance(holds, list | tuple) and isinstance(fails, list | tuple)):
        raise CourseError(f"deciding on claim {name}", "holds= and fails= take lists", "write holds=[…]")
    if not holds and not fails:
        raise CourseError(f"deciding on claim {name}", "nothing was seen", "give holds=[…], fails=[…], or both")
    expected = known[name]
    missing = [
        f"{kind}[{n}]" for kind, seen in (("holds", holds), ("fails", fails)) for n, it in enumerate(seen) if not it
    ]
    verdict = "partly" if holds and fails else "true" if holds else "false"
    if missing:
        print(f"{name} not shown: {', '.join(missing)} did not come true")
    elif verdict != expected["verdict"]:
        print(f"{name} not shown: this looks {verdict}, where the ledger says {expected['verdict']}")
    else:
        print(f"{name} {verdict}: {expected['claim']}")
        if expected.get("correction"):
            print(f"    {expected['correction']}")


def ledger() -> list[dict]:
    """
    Return one row a claim, with the verdict that its notebook's stored output shows.

    Keys: ``claim`` (its name), ``lines`` (of the notes), ``says``, ``verdict`` (``true``, ``partly``, ``false``,
    ``opinion``, ``not measured`` or ``not shown``), ``correction``, ``source``, ``notebook`` (the file's
    name) and ``cell`` (its id), both empty where no cell shows it. It calls nothing of the SDK.

    Example::

        collections.Counter(row["verdict"] for row in ledger())
    """
    shown = {}
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for name, verdict in VERDICT.findall(_printed(cell)):
                shown[name] = (verdict, path.name, cell["id"])
    return [_row(name, entry, shown.get(name)) for name, entry in _known().items()]


def _row(name, entry, shown):
    not_put = "opinion" if entry["verdict"] == "opinion" else "not measured"
    otherwise = not_put if "reason" in entry else "not shown"
    verdict, notebook, cell = shown or (otherwise, "", "")
    return {
        "claim": name,
        "lines": entry.get("line", []),
        "says": entry["claim"],
        "verdict": verdict,
        "correction": entry.get("correction", ""),
        "why_not": entry.get("reason", ""),
        "source": entry["source"],
        "notebook": notebook,
        "cell": cell,
    }


def _printed(cell):
    outputs = cell.get("outputs", [])
    return "".join("".join(output.get("text", "")) for output in outputs if output.get("name") == "stdout")


def _known():
    return tomllib.loads((NOTEBOOKS / "claims.toml").read_text(encoding="utf-8"))
