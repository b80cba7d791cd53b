"""What a build shows: what runs while it runs; then one line, with the steps folded below it."""

import contextlib
import html
import sys

from helpers.images import pip_secrets
from helpers.images.trace import STEP
from helpers.progress import progress


@contextlib.contextmanager
def bar_of(title):
    """Give a progress bar for a build, on which ``follow`` draws; then tell what of this computer it took."""
    with pip_secrets.told(), progress(total=None, desc=title) as bar:
        yield bar


def follow(bar, trace):
    """Show how many steps are done, which run now, and the last line that they printed."""
    steps = [one for one in trace.vertexes.values() if STEP.match(one.name)]
    running = [one for one in steps if one.started and not one.completed]
    bar.total = len(steps) or None
    bar.n = sum(bool(one.completed) for one in steps)
    words = ["; ".join(one.name[:40] for one in running)]
    words += [trace.output(one.digest).strip().rpartition("\n")[2][:60] for one in running[-1:]]
    bar.set_postfix_str(" │ ".join(filter(None, words)), refresh=False)
    bar.update(0)


def show(tag, rows, findings, seconds):
    """Print the line of a build; in a notebook, its steps and what the build checks found are folded below it."""
    stages = len({row["stage"] for row in rows})
    cached = sum(row["cached"] for row in rows)
    line = f"{tag}: {_count(len(rows), 'step')} in {_count(stages, 'stage')}, {cached} from the cache, {seconds:.1f} s"
    line += f", {_count(len(findings), 'warning')}" if findings else ""
    warnings = [f"line {row['line']}: {row['says']} ({row['rule']})" for row in findings]
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if not getattr(shell, "kernel", None):
        print(line, *warnings, sep="\n  ")
        return
    from IPython.display import display

    steps = "".join(f"{_how_long(row):>7}  {html.escape(step_words(row))}\n" for row in rows)
    warned = "".join(f"warning  {html.escape(words)}\n" for words in warnings)
    folded = f"<details><summary>{html.escape(line)}</summary><pre>{steps}{warned}</pre></details>"
    display({"text/plain": line, "text/html": folded}, raw=True)


def _how_long(row):
    """Return how long a step took; a step that a build beside this one has done, too, may have no end here."""
    if row["cached"] or row["end_seconds"] is None:
        return "cached" if row["cached"] else "done"
    return f"{row['end_seconds'] - row['start_seconds']:.1f} s"


def step_words(row):
    """Return a step as BuildKit names it, on one line: ``[build 2/4] RUN apt-get update``."""
    return " ".join(row["step"].split())


def _count(number, word):
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
