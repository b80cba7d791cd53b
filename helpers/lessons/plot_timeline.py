"""Timelines: what was the case when, and which steps of a build ran beside which; drawn from rows."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from helpers.lessons.plots import finish_figure, label_x_axis, segment_style
from helpers.lessons.table import checked_rows

LONGEST_NAME = 52  # characters of a lane's name
NARROWEST = 120  # how often the narrowest bar fits into the axis: its colour is seen, and it is no tick


def plot_timeline(rows: list[dict], title: str = "", note: str = "") -> Axes:
    """
    Draw what was the case when, one lane a ``name``, and return the ``Axes``.

    Each row is a span: ``name``, ``state``, ``start_seconds``, ``end_seconds``. The rows of ``build_steps`` are drawn
    as one lane a step: what ran beside what; a step from the cache is a tick. A span too short to be seen is drawn as
    wide as can be seen.

    Example::

        ax = plot_timeline([{"name": "daemon", "state": "answers", "start_seconds": 0, "end_seconds": 2.5}])
    """
    rows = [_span(row) if "step" in row else row for row in checked_rows(rows)]
    checked_rows(rows, "name", "state", "start_seconds", "end_seconds")
    lanes = list(dict.fromkeys(row["name"] for row in rows))
    states = list(dict.fromkeys(row["state"] for row in rows if row["state"]))
    least = max(row["end_seconds"] for row in rows) / NARROWEST
    figure, ax = plt.subplots(figsize=(8, 1.6 + 0.45 * len(lanes)), layout="constrained")
    for n, state in enumerate(states):
        spans = [row for row in rows if row["state"] == state]
        ax.barh(
            [lanes.index(row["name"]) for row in spans],
            [max(row["end_seconds"] - row["start_seconds"], least) for row in spans],
            left=[row["start_seconds"] for row in spans], height=0.55, label=state, **segment_style(n),
        )  # fmt: skip
    ticks = [row for row in rows if not row["state"]]
    if ticks:
        look = {"marker": "|", "markersize": 12, "color": "black", "linestyle": "", "label": "from the cache"}
        ax.plot([row["start_seconds"] for row in ticks], [lanes.index(row["name"]) for row in ticks], **look)
    ax.set_yticks(range(len(lanes)), [_shortened(lane) for lane in lanes])
    ax.set_ylim(len(lanes) - 0.5, -0.5)
    ax.set_xlim(0, max(row["end_seconds"] for row in rows) * 1.03 or 1)
    label_x_axis(ax, "seconds", log=False)
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.3), ncols=4, frameon=False, fontsize="small")
    words = f"Timeline in seconds. {title}. Lanes: {', '.join(lanes)}. States: {', '.join(states)}."
    finish_figure(figure, ax, title, note, words)
    return ax


def _span(row):
    """Return a step of a build as a span, named as BuildKit names it; without a state where the cache had it."""
    name = " ".join(row["step"].split())
    start = row["start_seconds"] or 0
    end = row["end_seconds"] if row["end_seconds"] is not None else start
    return {"name": name, "state": None if row["cached"] else row["stage"], "start_seconds": start, "end_seconds": end}


def _shortened(name):
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
