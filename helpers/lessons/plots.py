"""Plots of rows; they know no engine and no image."""

import html
import textwrap
from functools import partial
from statistics import mean

import matplotlib.pyplot as plt
from IPython.core.pylabtools import print_figure
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from helpers.lessons.table import cell_text, checked_rows, human

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")  # Okabe and Ito
HATCHES = ("", "//", "..", "xx", "\\\\", "oo", "++", "--")


def plot_bars(rows: list[dict], column: str = "bytes", title: str = "", log: bool = False, note: str = "") -> Axes:
    """
    Draw one bar a row and return the ``Axes``: its name at the left, its value at its end.

    For bytes and seconds, the ratio to the largest stands beside the value. A row's ``how`` stands below its name, such
    as ``emulated``; a row whose ``how`` is ``published`` was not measured here, and is drawn apart. Where rows have
    ``least_seconds`` and ``most_seconds``, a line shows how far the repeats of ``seconds`` went; so for any column.
    ``note`` says below the plot what was measured, where and how often.

    Example::

        ax = plot_bars(compare(images), "bytes", title="Size on disk", log=True, note="one build, this engine")
    """
    checked_rows(rows, "name", column)
    rows = sorted((row for row in rows if row.get(column) is not None), key=_is_published)
    names, values = [row["name"] for row in rows], [row[column] for row in rows]
    places = [n + 0.4 * _is_published(row) for n, row in enumerate(rows)]
    ends = [max(row[column], row.get(f"most_{column}") or 0) for row in rows]
    largest = max(values)
    step = 0.76 if any(row.get("how") for row in rows) else 0.5  # as large where it was measured as where recorded
    figure, ax = plt.subplots(figsize=(8, 1.8 + step * places[-1]), layout="constrained")
    left = _set_value_limits(ax, values, max(ends), log)
    for row, place, end in zip(rows, places, ends, strict=True):
        ax.barh(place, row[column], height=0.6, label=row["name"], **_bar_style(row))
        if f"most_{column}" in row:
            ax.plot([row[f"least_{column}"], end], [place, place], color="black", marker="|", linewidth=1)
        place_of_words = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
        ax.annotate(_bar_label(row, column, largest), (max(end, left), place), **place_of_words)
    ax.set_yticks(places, [_tick_label(row) for row in rows])
    ax.set_ylim(places[-1] + 0.5, -0.5)
    if apart := [place for row, place in zip(rows, places, strict=True) if _is_published(row) and place > 1]:
        ax.axhline(apart[0] - 0.7, color="#999999", linestyle=":")
    label_x_axis(ax, column, log)
    words = f"Bar chart, {_unit(column)}. {title}. Bars from top to bottom: {', '.join(names)}."
    finish_figure(figure, ax, title, note, words)
    return ax


def _is_published(row):
    return row.get("how") == "published"


def _bar_style(row):
    """Return how a bar looks: one that was not measured here is an empty frame with a pattern."""
    if _is_published(row):
        return {"color": "white", "edgecolor": "#666666", "hatch": "//"}
    return {"color": COLOURS[0]}


def _tick_label(row):
    """Return a row's name, with how it came about below, on three lines at most."""
    return "\n".join([row["name"], *textwrap.wrap(row.get("how") or "", 34, max_lines=3)])


def _set_value_limits(ax, values, most, log):
    """Set the limits of the values' axis, with room for the words beside the longest bar; return the lower one."""
    if not log:
        ax.set_xlim(0, most * 1.4 or 1)
        return 0
    ax.set_xscale("log")
    left = min(value for value in values if value) / 10
    ax.set_xlim(left, most * (most / left) ** 0.4)
    return left


def _bar_label(row, column, largest):
    """Return what stands at the end of a bar: its value; where it was measured, also how it compares."""
    if _is_published(row):
        return f"{row[column]:.3g} s" if column.endswith("seconds") else cell_text(column, row[column])
    return cell_text(column, row[column]) + _ratio_to_largest(column, largest, row[column])


def _ratio_to_largest(column, largest, value):
    if not value or largest < 1.05 * value or not column.endswith(("bytes", "seconds")):
        return ""
    ratio = largest / value
    return f"  ({ratio:,.0f} times less)" if ratio >= 10 else f"  ({ratio:.2g} times less)"


def plot_layers(images: dict[str, list[dict]], title: str = "", note: str = "", smallest: float = 0.02) -> Axes:
    """
    Draw each image as one bar of stacked layers and return the ``Axes``.

    ``images`` maps a name to the rows of ``layers``. Layers below the share ``smallest`` of the largest image are drawn
    together as "smaller layers".

    Example::

        ax = plot_layers({"single": layers(single), "multi": layers(multi)})
    """
    largest = max(sum(row["bytes"] for row in rows) for rows in checked_rows(images).values())
    figure, ax = plt.subplots(figsize=(8, 2 + 0.7 * len(images)), layout="constrained")
    styles = {}  # by instruction, the number of its colour and its pattern
    for name, rows in images.items():
        left = 0
        for instruction, count in _visible_layers(rows, smallest * largest):
            label = None if instruction in styles else instruction  # once in the legend
            n = styles.setdefault(instruction, len(styles))
            ax.barh(name, count, left=left, height=0.55, label=label, **segment_style(n))
            left += count
        ax.text(left, name, f"  {human(left)}", va="center")
    ax.invert_yaxis()
    ax.set_xlim(0, largest * 1.2)
    label_x_axis(ax, "bytes", log=False)
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.25), frameon=False, fontsize="small")
    words = f"Stacked bars, one an image, in bytes. {title}. Images: {', '.join(images)}."
    finish_figure(figure, ax, title, note, words)
    return ax


def plot_lines(rows: list[dict], x: str, y: str, title: str = "", note: str = "", limit: float | None = None) -> Axes:
    """
    Draw a line for each ``name`` in the rows, from column ``x`` to column ``y``, and return the ``Axes``.

    ``limit`` is drawn as a dashed line across.

    Example::

        ax = plot_lines(rows, "seconds", "bytes", title="Memory", limit=64 * 2**20)
    """
    checked_rows(rows, "name", x, y)
    figure, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
    names = list(dict.fromkeys(row["name"] for row in rows))
    for n, name in enumerate(names):
        points = [(row[x], row[y]) for row in rows if row["name"] == name]
        ax.plot(*zip(*points, strict=True), color=COLOURS[n], marker="os^Dv"[n % 5], label=name)
    if limit is not None:
        ax.axhline(limit, color="black", linestyle="--", label=f"limit: {cell_text(y, limit)}")
    ax.set_ylabel(_unit(y))
    ax.set_ylim(bottom=0)
    ax.margins(y=0.15)
    if y.endswith("bytes"):
        ax.yaxis.set_major_formatter(FuncFormatter(_bytes_text))
    label_x_axis(ax, x, log=False)
    if len(ax.lines) > 1:
        ax.legend(frameon=False, fontsize="small")
    words = f"Line chart, {_unit(y)} over {_unit(x)}. {title}. Lines: {', '.join(names)}."
    finish_figure(figure, ax, title, note, words)
    return ax


def plot_density(rows: list[dict], title: str = "", note: str = "") -> Axes:
    """
    Draw the memory of one, two and more instances of each ``name``, and return the ``Axes``.

    The rows are those of ``measure_container`` and ``measure_vm`` with ``instances``. A dashed line shows the fitted
    cost of one more, ``each_bytes``, also beyond what was measured; a hatched band what of it is overhead.

    Example::

        ax = plot_density(measure_container(client, image, instances=(1, 2)) + measure_vm(instances=(1, 2)))
    """
    checked_rows(rows, "name", "instances", "bytes", "each_bytes")
    figure, ax = plt.subplots(figsize=(8, 4.2), layout="constrained")
    names, counts = list(dict.fromkeys(row["name"] for row in rows)), sorted({row["instances"] for row in rows})
    for n, name in enumerate(names):
        _draw_instances(ax, n, [row for row in rows if row["name"] == name], counts)
    ax.set_xticks(counts)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("bytes")
    ax.yaxis.set_major_formatter(FuncFormatter(_bytes_text))
    label_x_axis(ax, "instances", log=False)
    last_rows = {row["name"]: row for row in rows}.values()
    hows = [f"{row['name']}: {row['how']}" for row in last_rows if row.get("how")]
    ax.legend(frameon=False, fontsize="small", title="\n".join(hows) or None, title_fontsize="small", alignment="left")
    words = f"Line chart, bytes over instances. {title}. Lines: {', '.join(names)}."
    finish_figure(figure, ax, title, note, words)
    return ax


def _draw_instances(ax, n, rows, counts):
    """Draw one name's rows: marks, the line fitted to them for all counts, and a band where a part is overhead."""
    name, each, colour = rows[0]["name"], rows[0]["each_bytes"], COLOURS[n]
    measured, values = [row["instances"] for row in rows], [row["bytes"] for row in rows]
    fitted = [mean(values) + each * (count - mean(measured)) for count in counts]
    ax.plot(counts, fitted, color=colour, linestyle="--", linewidth=1)
    label, marker = f"{name}: {human(each)} for one more", "os^"[n % 3]
    ax.plot(measured, values, color=colour, marker=marker, linestyle="", label=label)
    if "overhead_bytes" in rows[0]:
        label = f"of this, {rows[0]['overhead']}: {human(rows[0]['overhead_each_bytes'])}"
        without = [row["bytes"] - row["overhead_bytes"] for row in rows]
        look = {"facecolor": "none", "linewidth": 0.5, "edgecolor": colour, "hatch": ("//", "\\\\", "..")[n % 3]}
        ax.fill_between(measured, values, without, label=label, **look)


def segment_style(n):
    """Return how the n-th kind of segment looks: it differs in colour and in pattern."""
    return {
        "color": COLOURS[n % len(COLOURS)], "hatch": HATCHES[n % len(HATCHES)], "edgecolor": "black", "linewidth": 0.6,
    }  # fmt: skip


def _visible_layers(rows, limit):
    """Return ``(instruction, bytes)`` for layers that can be seen, and the sum of the others."""
    large = [(_shortened(row["instruction"]), row["bytes"]) for row in rows if row["bytes"] >= limit]
    small = sum(row["bytes"] for row in rows if row["bytes"] < limit)
    return [*large, ("smaller layers", small)] if small else large


def _shortened(instruction):
    return instruction if len(instruction) <= 70 else instruction[:67] + "…"


def _unit(column):
    return next((unit for unit in ("seconds", "bytes") if column.endswith(unit)), column)


def _bytes_text(value, _position):
    return human(value)


def label_x_axis(ax, column, log):
    unit = _unit(column)
    ax.set_xlabel(f"{unit}, logarithmic scale" if log else unit)
    if unit == "bytes":
        ax.xaxis.set_major_formatter(FuncFormatter(_bytes_text))
    ax.spines[["top", "right"]].set_visible(False)


def finish_figure(figure, ax, title, note, words):
    """Set the title and the note, and have a notebook show the figure with words for who cannot see it."""
    ax.set_title(title, loc="left")
    if note:
        figure.supxlabel(note, fontsize="small", color="#555555", x=0.01, ha="left")
    words = html.escape(f"{words} {note}".strip())
    figure._repr_html_ = partial(_image_tag, figure, words)


def _image_tag(figure, words):
    return f'<img alt="{words}" src="data:image/png;base64,{print_figure(figure, base64=True)}">'
