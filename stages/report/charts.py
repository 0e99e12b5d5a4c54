"""The page's charts: SVG as text, whose colours are the page's own, so that they follow light and dark."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.report.pictures import COLOURS, STYLE

INK, RULE = "#123456", "#abcdef"  # stand for the page's variables
LINES = ("#010203", "#010204", "#010205", "#010206", "#010207", "#010208", "#010209")
LOG_SPAN = 4
Series = tuple[str, Sequence[tuple[float, float, float, float]]]  # name, (x, y, low, high)


def chart(
    series: Sequence[Series], x: str, y: str, level: tuple[str, float] | None = None, diagonal: bool = False
) -> Markup:
    """A line a series with its intervals (nan: none); `level` is a dashed line across."""
    with blank(4.8, 3.3) as (figure, axes):  # as wide as a phone, so that letters are read there
        places = sorted({point[0] for _, points in series for point in points})
        for index, (name, points) in enumerate(series):
            colour = LINES[index % len(LINES)]
            axes.plot([p[0] for p in points], [p[1] for p in points], "o-", color=colour, ms=4, lw=1.6, label=name)
            for place, _, low, high in points:
                if low == low:
                    axes.plot([place, place], [low, high], color=colour, lw=1.1, alpha=0.7)
        if level:
            axes.axhline(level[1], color=INK, lw=1, ls=(0, (5, 3)), label=level[0])
        if diagonal:
            axes.plot([0, 100], [0, 100], color=INK, lw=1, ls=(0, (2, 3)))
        if len(places) > 1 and places[0] > 0 and places[-1] >= LOG_SPAN * places[0] and not diagonal:
            axes.set_xscale("log", base=2)
            if len(places) <= 8:
                axes.set_xticks(places, [f"{place:g}" for place in places])
                axes.set_xticks([], minor=True)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        if len(series) > 1 or level:
            figure.legend(loc="outside upper center", ncols=min(len(series) + bool(level), 3), fontsize=9)
        return inline(figure, f"{y} against {x}")


@contextmanager
def blank(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """A figure (inches) and its axes in the page's style, without a ground of its own."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE | {"svg.fonttype": "none", "text.color": INK, "axes.labelcolor": INK})
        matplotlib.rcParams.update({"xtick.color": INK, "ytick.color": INK, "axes.edgecolor": INK, "grid.color": RULE})
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.subplots()
        axes.patch.set_alpha(0)
        yield figure, axes


def inline(figure: Figure, title: str) -> Markup:
    """The figure as an element of the page: no header, no size of its own, the page's colours."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = re.sub(r"<metadata>.*?</metadata>", "", file.getvalue()[file.getvalue().index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    svg = svg.replace(INK, "var(--ink)").replace(RULE, "var(--rule)")
    for index, mark in enumerate(LINES):
        svg = svg.replace(mark, f"var(--line{index})")
    label = Markup('<svg role="img" aria-label="{}"').format(title)
    return Markup(svg.replace("<svg", label, 1))


def variables() -> dict[str, Any]:
    """The lines' colours; black is the ink."""
    return {f"line{index}": colour for index, colour in enumerate(COLOURS[:-1])} | {"line6": "var(--ink)"}
