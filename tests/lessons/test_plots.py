"""Tables and plots: rows in, text or Axes out."""

import matplotlib.pyplot as plt
import pytest

from helpers import plot_bars, plot_density, plot_layers, plot_lines, plot_stages, plot_timeline, table
from helpers.errors import CourseError
from helpers.images.dockerfile import stage_rows
from helpers.lessons.table import human

ROWS = [{"name": "single", "bytes": 1_120_000_000}, {"name": "two stages", "bytes": 1_860_000}]
LAYERS = {
    "single": [
        {"instruction": "base image", "bytes": 72_000_000},
        {"instruction": "RUN apt-get install", "bytes": 900_000_000},
        {"instruction": "COPY a", "bytes": 10},
        {"instruction": "CMD", "bytes": 0},
    ],
    "two": [{"instruction": "base image", "bytes": 72_000_000}, {"instruction": "COPY b", "bytes": 60_000_000}],
}


@pytest.fixture(autouse=True)
def headless(monkeypatch):
    """Draw without a screen, and close what was drawn."""
    plt.switch_backend("agg")
    yield
    plt.close("all")


def words(ax):
    """Return the texts on a plot."""
    return [text.get_text() for text in ax.texts]


def all_inside(ax):
    """Return whether every text lies inside the figure."""
    figure = ax.figure
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    texts = [*ax.texts, ax.title, *ax.get_xticklabels(), *ax.get_yticklabels()]
    left = ax.get_title("left") and ax._left_title
    for text in [*texts, left] if left else texts:
        box = text.get_window_extent()
        if (
            text.get_text()
            and text.get_visible()
            and not (box.x0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1)
        ):
            if (text in ax.get_xticklabels() and _beyond(ax.get_xlim(), text.get_position()[0])) or (
                text in ax.get_yticklabels() and _beyond(ax.get_ylim(), text.get_position()[1])
            ):
                continue  # a tick beyond the axis is not drawn
            return False
    return True


def _beyond(limits, place):
    return not min(limits) <= place <= max(limits)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1_890_000, "1.89 MB"), (999_600, "1 MB"), (1_120_000_000, "1.12 GB")],
)
def test_human(count, text):
    """Decimal units, three digits, as docker prints."""
    assert human(count) == text


def test_table(capsys):
    """Titles, a rule, numbers to the right, bytes with their units."""
    table([{**ROWS[0], "layers": 5, "shells": ["bash", "sh"]}, {**ROWS[1], "layers": 1, "shells": []}])
    assert capsys.readouterr().out.splitlines() == [
        "name           size  layers  shells",
        "----------  -------  ------  -------",
        "single      1.12 GB       5  bash sh",
        "two stages  1.86 MB       1  none",
    ]


def test_table_of_some_columns(capsys):
    """Only those that were asked for; what is missing is a dash."""
    table([{"name": "a", "seconds": 1.234}, {"name": "b"}], ["name", "seconds"])
    assert capsys.readouterr().out.splitlines()[2:] == ["a     1.23 s", "b     -"]


@pytest.mark.parametrize("log", [False, True])
def test_bars(log):
    """A bar a row, its value and its ratio, inside the figure; units on the axis; the note below."""
    ax = plot_bars(ROWS, title="Sizes", log=log, note="one build")
    assert [bar.get_width() for bar in ax.patches] == [row["bytes"] for row in ROWS]
    assert words(ax) == ["1.12 GB", "1.86 MB  (602 times less)"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["single", "two stages"]
    assert ax.get_xscale() == ("log" if log else "linear")
    assert ax.get_xlabel() == ("bytes, logarithmic scale" if log else "bytes")
    assert ax.get_title("left") == "Sizes" and ax.figure._supxlabel.get_text() == "one build"
    assert ax.yaxis_inverted() and all_inside(ax)


def test_large_ratios_are_written_out():
    """No 1.1e+03."""
    ax = plot_bars([{"name": "a", "bytes": 1_120_000_000}, {"name": "b", "bytes": 1_020_000}], log=True)
    assert words(ax)[1] == "1.02 MB  (1,098 times less)"


def test_bars_of_seconds():
    """The unit follows from the column's name."""
    ax = plot_bars([{"name": "a", "start_seconds": 2.0}, {"name": "b", "start_seconds": 0.5}], "start_seconds")
    assert ax.get_xlabel() == "seconds" and words(ax) == ["2.00 s", "0.50 s  (4 times less)"]


STARTS = [
    {"name": "Firecracker", "how": "published", "seconds": 0.125},
    {"name": "container", "how": "", "seconds": 0.3, "least_seconds": 0.2, "most_seconds": 1.5},
    {"name": "machine", "how": "emulated (TCG), recorded 2026-11-25 on 2 cores, Linux", "seconds": 6.0},
    {"name": "not measured", "seconds": None},
]


def test_how_it_was_measured():
    """Below each name; what was published stands apart, last, in another look, without a comparison."""
    ax = plot_bars(STARTS, "seconds", title="Starts")
    ticks = [label.get_text().split("\n") for label in ax.get_yticklabels()]
    assert ticks[0] == ["container"] and ticks[2] == ["Firecracker", "published"]
    assert " ".join(ticks[1]) == "machine emulated (TCG), recorded 2026-11-25 on 2 cores, Linux" and len(ticks[1]) == 3
    assert words(ax) == ["0.30 s  (20 times less)", "6.00 s", "0.125 s"]
    container, machine, published = ax.patches
    assert published.get_hatch() and not machine.get_hatch()
    assert published.get_y() - machine.get_y() > machine.get_y() - container.get_y()
    assert [line.get_linestyle() for line in ax.lines] == ["-", ":"] and all_inside(ax)


def test_how_far_the_repeats_went():
    """A line from the least to the most, and the words beyond it."""
    ax = plot_bars(STARTS[1:3], "seconds")
    assert list(ax.lines[0].get_xdata()) == [0.2, 1.5] and len(ax.lines) == 1
    assert ax.texts[0].xy[0] == 1.5 and ax.texts[1].xy[0] == 6.0


def test_words_on_bars_do_not_tell_how():
    """How it was measured differs from computer to computer; the words for who cannot see are the same on each."""
    shown = plot_bars(STARTS, "seconds", title="Starts").figure._repr_html_()
    words = shown.partition('<img alt="')[2].partition('"')[0]
    assert words == "Bar chart, seconds. Starts. Bars from top to bottom: container, machine, Firecracker."


def test_layers():
    """Layers stand end to end, the same instruction looks the same, small ones are drawn together."""
    ax = plot_layers(LAYERS, title="Layers", note="one build")
    widths = [bar.get_width() for bar in ax.patches]
    assert widths == [72_000_000, 900_000_000, 10, 72_000_000, 60_000_000]
    assert [bar.get_x() for bar in ax.patches] == [0, 72_000_000, 972_000_000, 0, 72_000_000]
    looks = [(bar.get_facecolor(), bar.get_hatch()) for bar in ax.patches]
    assert looks[0] == looks[3] and len(set(looks)) == 4
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["base image", "RUN apt-get install", "smaller layers", "COPY b"]
    assert [word.strip() for word in words(ax)] == ["972 MB", "132 MB"] and all_inside(ax)


def test_no_meaning_by_colour_alone():
    """Eight layers differ in hatch as well as in colour."""
    rows = [{"instruction": f"RUN {n}", "bytes": 100} for n in range(8)]
    hatches = [bar.get_hatch() for bar in plot_layers({"image": rows}).patches]
    assert len(set(hatches)) == 8


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: table([]), "there are none"),
        (lambda: plot_bars([]), "there are none"),
        (lambda: plot_layers({}), "there are none"),
        (lambda: table(ROWS, "byte"), "there are: name, bytes"),
        (lambda: plot_bars(ROWS, "seconds"), "there are: name, bytes"),
        (lambda: plot_bars(ROWS, "compressed_bytes"), "compressed=True"),
    ],
)
def test_nothing_to_draw(call, said):
    """No rows, or none with that column: said, with what there is."""
    with pytest.raises(CourseError, match=said):
        call()


@pytest.mark.parametrize("rows", [[1, 2], "rows", ["a"]])
def test_what_is_no_row(rows):
    """Numbers and words in place of rows are named."""
    with pytest.raises(CourseError, match="a list of dicts"):
        plot_lines(rows, "seconds", "bytes")


MEMORY = [{"name": name, "seconds": n / 10, "bytes": n * 8_000_000} for name in ("a", "b") for n in range(1, 5)]
SPANS = [
    {"name": "daemon", "state": "answers", "start_seconds": 0, "end_seconds": 1},
    {"name": "daemon", "state": "silent", "start_seconds": 1, "end_seconds": 3},
    {"name": "app", "state": "answers", "start_seconds": 0, "end_seconds": 3},
]


def test_plot_bars_with_nothing():
    """A row of zero has a bar of no length, also on a logarithmic scale, and when all rows are zero."""
    ax = plot_bars([{"name": "some", "packages": 10}, {"name": "none", "packages": 0}], "packages", log=True)
    assert words(ax) == ["10", "0"] and all_inside(ax)
    assert words(plot_bars([{"name": "none", "packages": 0}], "packages")) == ["0"]


def test_plot_lines():
    """A line for each name with all its points, the limit across, units on both axes."""
    ax = plot_lines(MEMORY, "seconds", "bytes", title="Memory", note="once", limit=20_000_000)
    assert [list(line.get_xdata()) for line in ax.lines[:2]] == [[0.1, 0.2, 0.3, 0.4]] * 2
    assert list(ax.lines[1].get_ydata()) == [8e6, 16e6, 24e6, 32e6]
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["a", "b", "limit: 20 MB"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("seconds", "bytes") and all_inside(ax)


def test_lines_differ_without_colour():
    """Markers tell the lines apart."""
    ax = plot_lines(MEMORY, "seconds", "bytes")
    assert len({line.get_marker() for line in ax.lines}) == 2


DENSITY = [
    {"name": name, "how": how, "overhead": "its shim", "instances": n, "bytes": n * each + 1e6,
     "overhead_bytes": n * each / 2, "each_bytes": each, "overhead_each_bytes": each / 2}
    for name, how, each, counts in (("container", "", 3e6, (1, 2, 4)), ("machine", "emulated (TCG)", 2e8, (1, 2)))
    for n in counts
]  # fmt: skip


def test_plot_density():
    """Marks where it was measured, a dashed line as far as the other goes, the cost of one more, and how."""
    ax = plot_density(DENSITY, title="Memory", note="once")
    fits, marks = ax.lines[::2], ax.lines[1::2]
    assert [list(line.get_xdata()) for line in marks] == [[1, 2, 4], [1, 2]]
    assert list(marks[1].get_ydata()) == [201e6, 401e6]
    assert list(fits[1].get_xdata()) == [1, 2, 4] and list(fits[1].get_ydata()) == pytest.approx([201e6, 401e6, 801e6])
    assert {line.get_linestyle() for line in fits} == {"--"} and len({line.get_marker() for line in marks}) == 2
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend[0] == "container: 3 MB for one more" and legend[3] == "of this, its shim: 100 MB"
    assert ax.get_legend().get_title().get_text() == "machine: emulated (TCG)"
    assert len({band.get_hatch() for band in ax.collections}) == 2 and all_inside(ax)


def test_plot_timeline():
    """Each span lies in its lane from its start to its end; states differ in pattern, too."""
    ax = plot_timeline(SPANS, title="Who answers", note="once")
    spans = {(bar.get_y() + bar.get_height() / 2, bar.get_x(), bar.get_width()) for bar in ax.patches}
    assert spans == {(0, 0, 1), (0, 1, 2), (1, 0, 3)}
    assert [label.get_text() for label in ax.get_yticklabels()] == ["daemon", "app"]
    assert len({bar.get_hatch() for bar in ax.patches}) == 2 and all_inside(ax)


STEPS = [
    {"step": "[a 1/2] FROM debian", "stage": "a", "cached": True, "start_seconds": 0.1, "end_seconds": 0.1},
    {"step": "[a 2/2] RUN sleep 3", "stage": "a", "cached": False, "start_seconds": 0.2, "end_seconds": 3.2},
    {"step": "[b 1/1] RUN sleep 2", "stage": "b", "cached": False, "start_seconds": 0.2, "end_seconds": 2.2},
]


def test_plot_timeline_of_a_build():
    """One lane a step, in their order; what the cache had is a tick, what ran has its stage's look."""
    ax = plot_timeline(STEPS, title="Side by side")
    assert [label.get_text() for label in ax.get_yticklabels()] == [row["step"] for row in STEPS]
    spans = {(bar.get_y() + bar.get_height() / 2, bar.get_x(), round(bar.get_width(), 6)) for bar in ax.patches}
    assert spans == {(1, 0.2, 3), (2, 0.2, 2)}
    [ticks] = ax.lines
    assert (list(ticks.get_xdata()), list(ticks.get_ydata()), ticks.get_marker()) == ([0.1], [0], "|")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["from the cache", "a", "b"]


def boxes(ax):
    """Return the places of boxes by their texts, and those that are grey."""
    found = [text for text in ax.texts if text.get_text()]
    grey = {text.get_text() for text in found if text.get_color() == "#aaaaaa"}
    return [(text.get_text(), text.get_position()) for text in found], grey


def arrows(ax):
    """Return ``(from, to, style)`` of all arrows."""
    found = [text for text in ax.texts if not text.get_text()]
    return sorted((text.xyann, text.xy, text.arrow_patch.get_linestyle()) for text in found)


def test_plot_stages():
    """Each stage stands to the right of what it takes from; what the target does not need is grey."""
    text = "FROM debian AS a\nFROM a AS test\nFROM scratch\nCOPY --from=a /x /\nCOPY --from=busybox /y /\n"
    ax = plot_stages(stage_rows(text), title="Three stages")
    places, grey = boxes(ax)
    assert dict(places) == {
        "debian": (0, -0.5), "busybox": (0, 0.5), "a": (1, 0), "test": (2, -0.5), "stage-2": (2, 0.5)
    }  # fmt: skip
    assert grey == {"test"}
    assert arrows(ax) == [
        ((0, -0.5), (1, 0), "-"), ((0, 0.5), (2, 0.5), "--"), ((1, 0), (2, -0.5), "-"), ((1, 0), (2, 0.5), "--")
    ]  # fmt: skip


def test_a_stage_that_is_named_as_its_base_is():
    """The image and the stage are two boxes; a stage above is taken, however its name is written."""
    ax = plot_stages(stage_rows("FROM golang AS golang\nFROM GOLANG\nCOPY --from=golang /x /\n"))
    places, grey = boxes(ax)
    assert places == [("golang", (0, 0)), ("golang", (1, 0)), ("stage-1", (2, 0))] and not grey
    assert arrows(ax) == [((0, 0), (1, 0), "-"), ((1, 0), (2, 0), "-")]


@pytest.mark.parametrize(
    "ax",
    [
        lambda: plot_bars(ROWS, title="The title", note="a <note>"),
        lambda: plot_layers(LAYERS, title="The title", note="a <note>"),
        lambda: plot_lines(MEMORY, "seconds", "bytes", title="The title", note="a <note>"),
        lambda: plot_timeline(SPANS, title="The title", note="a <note>"),
        lambda: plot_density(DENSITY, title="The title", note="a <note>"),
        lambda: plot_stages(stage_rows("FROM x AS a\nFROM a AS b"), title="The title", note="a <note>"),
    ],
    ids=["bars", "layers", "lines", "timeline", "density", "stages"],
)
def test_words_for_who_cannot_see(ax):
    """A notebook shows a picture with a text: kind, title, names, note; without numbers, which change."""
    shown = ax().figure._repr_html_()
    words = shown.partition('<img alt="')[2].partition('"')[0]
    assert "The title" in words and "a &lt;note&gt;" in words and not any(c.isdigit() for c in words)
    assert any(name in words for name in ("two stages", "two", "a, b", "daemon, app", "container, machine"))
    assert 'src="data:image/png;base64,iVBOR' in shown
