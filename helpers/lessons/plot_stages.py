"""The graph of a Dockerfile's stages, drawn from rows."""

import textwrap

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from helpers.lessons.plots import COLOURS, finish_figure
from helpers.lessons.table import checked_rows

BOX = {"boxstyle": "round,pad=0.5", "linewidth": 1.2}


def plot_stages(rows: list[dict], title: str = "", note: str = "") -> Axes:
    """
    Draw the stages of a Dockerfile as boxes and what they take from each other as arrows; return the ``Axes``.

    The rows are those of ``stages``. A full arrow is a FROM, a dashed one a ``COPY --from``. What the target does not
    need is grey: BuildKit does not build it.

    Example::

        plot_stages(stages("apps/web", dockerfile="Dockerfile.stages"), title="Five stages")
    """
    checked_rows(rows, "stage", "begins_from", "copies_from", "needed")
    names = [row["stage"] for row in rows]
    outside = list(dict.fromkeys(one for row in rows for one in _sources(row) if one not in names and one != "scratch"))
    places = _places(rows, outside)
    wide, high = (max(place[axis] for place in places.values()) + 1 for axis in (0, 1))
    figure, ax = plt.subplots(figsize=(max(5, 2.6 * wide), 1.1 + 0.9 * high), layout="constrained")
    needed = {row["stage"] for row in rows if row["needed"]}
    needed |= {one for row in rows if row["needed"] for one in _sources(row)}
    boxes = {name: _box(ax, name, place, name in needed, is_stage=name in names) for name, place in places.items()}
    for row in rows:
        for source in _sources(row):
            if source in places:
                _draw_arrow(ax, boxes[source], boxes[row["stage"]], row["needed"], source != row["begins_from"])
    ax.set_xlim(-0.6, wide - 0.4)
    ax.set_ylim(high - 0.4, -0.6)
    ax.axis("off")
    grey = [name for name in names if name not in needed]
    words = f"Graph of build stages. {title}. Stages: {', '.join(names)}. Not needed: {', '.join(grey) or 'none'}."
    finish_figure(figure, ax, title, note or "full arrow: FROM; dashed: COPY --from; grey: not built", words)
    return ax


def _sources(row):
    return [row["begins_from"], *row["copies_from"]]


def _places(rows, outside):
    """Return ``(column, line)`` for each box: a stage stands to the right of all that it takes from."""
    columns = dict.fromkeys(outside, 0)
    for row in rows:
        columns[row["stage"]] = 1 + max((columns.get(one, 0) for one in _sources(row)), default=0)
    used, places = {}, {}
    for name, column in columns.items():
        places[name] = (column, used.get(column, 0))
        used[column] = used.get(column, 0) + 1
    return places


def _box(ax, name, place, needed, is_stage):
    colour = (COLOURS[0] if is_stage else "#444444") if needed else "#aaaaaa"
    face = "white" if is_stage else "#f0f0f0"
    look = {**BOX, "edgecolor": colour, "facecolor": face, "linestyle": "-" if needed else ":"}
    text = "\n".join(textwrap.wrap(name, 22, break_on_hyphens=True))
    return ax.text(*place, text, ha="center", va="center", fontsize="small", color=colour, bbox=look, zorder=3)


def _draw_arrow(ax, source, target, needed, copies):
    start, end = source.get_position(), target.get_position()
    bend = 0.25 if end[0] - start[0] > 1 and start[1] == end[1] else 0
    look = {
        "arrowstyle": "-|>", "color": "#333333" if needed else "#aaaaaa", "linestyle": "--" if copies else "-",
        "patchA": source.get_bbox_patch(), "patchB": target.get_bbox_patch(), "shrinkA": 2, "shrinkB": 2,
        "connectionstyle": f"arc3,rad={-bend}",
    }  # fmt: skip
    ax.annotate("", xy=end, xytext=start, arrowprops=look, zorder=4)  # after the boxes, whose edges are known then
