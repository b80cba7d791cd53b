"""The graph of a Dockerfile's stages, drawn from rows."""

import textwrap

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from helpers.lessons.plots import COLOURS, finish_figure
from helpers.lessons.table import checked_rows

STAGE, IMAGE = "stage ", "image "  # what the name of a box begins with: a stage may have the name of its own base
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
    sources = {row["stage"]: _sources(row, names[:number]) for number, row in enumerate(rows)}
    places = _places(sources)
    wide, highest = (max(place[axis] for place in places.values()) for axis in (0, 1))
    figure, ax = plt.subplots(figsize=(max(5, 2.2 * (wide + 1)), 2 + 1.8 * highest), layout="constrained")
    needed = {STAGE + row["stage"] for row in rows if row["needed"]}
    needed |= {one for row in rows if row["needed"] for one in sources[row["stage"]]}
    boxes = {name: _box(ax, name, place, name in needed) for name, place in places.items()}
    for row in rows:
        for source in sources[row["stage"]]:
            copies = source.partition(" ")[2] != row["begins_from"]
            _draw_arrow(ax, boxes[source], boxes[STAGE + row["stage"]], row["needed"], copies)
    ax.set_xlim(-0.5, wide + 0.5)
    ax.set_ylim(highest + 0.6, -highest - 0.6)
    ax.axis("off")
    grey = [name for name in names if STAGE + name not in needed]
    words = f"Graph of build stages. {title}. Stages: {', '.join(names)}. Not needed: {', '.join(grey) or 'none'}."
    finish_figure(figure, ax, title, note or "full arrow: FROM; dashed: COPY --from; grey: not built", words)
    return ax


def _sources(row, above):
    """Return the boxes that a stage takes from: stages stand above it, what has another name is an image."""
    names = dict.fromkeys([row["begins_from"], *row["copies_from"]])
    return [(STAGE if name in above else IMAGE) + name for name in names if name != "scratch"]


def _places(sources):
    """Return ``(column, height)`` of each box, around zero: a stage stands to the right of all that it takes from."""
    columns = {one: 0 for taken in sources.values() for one in taken if one.startswith(IMAGE)}
    for stage, taken in sources.items():
        columns[STAGE + stage] = 1 + max((columns[one] for one in taken), default=0)
    beside = {column: [name for name in columns if columns[name] == column] for column in columns.values()}
    return {name: (n, beside[n].index(name) - (len(beside[n]) - 1) / 2) for name, n in columns.items()}


def _box(ax, name, place, needed):
    kind, _, name = name.partition(" ")
    is_stage = f"{kind} " == STAGE
    colour = (COLOURS[0] if is_stage else "#444444") if needed else "#aaaaaa"
    face = "white" if is_stage else "#f0f0f0"
    look = {**BOX, "edgecolor": colour, "facecolor": face, "linestyle": "-" if needed else ":"}
    text = "\n".join(textwrap.wrap(name, 18, break_on_hyphens=True))
    return ax.text(*place, text, ha="center", va="center", color=colour, bbox=look, zorder=3)


def _draw_arrow(ax, source, target, needed, copies):
    start, end = source.get_position(), target.get_position()
    bend = 0.25 if end[0] - start[0] > 1 and start[1] == end[1] else 0
    look = {
        "arrowstyle": "-|>", "color": "#333333" if needed else "#aaaaaa", "linestyle": "--" if copies else "-",
        "patchA": source.get_bbox_patch(), "patchB": target.get_bbox_patch(), "shrinkA": 2, "shrinkB": 2,
        "connectionstyle": f"arc3,rad={-bend}",
    }  # fmt: skip
    ax.annotate("", xy=end, xytext=start, arrowprops=look, zorder=4)  # after the boxes, whose edges are known then
