"""The report's two pictures, as SVG and PNG whose bytes depend on nothing but the numbers."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import isnan
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.report.text import mirrored
from tuition.files import atomic
from tuition.targets.truth import word

# Okabe and Ito's palette (2008), told apart with every common colour blindness; markers repeat the distinction in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#666666"
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "svg.hashsalt": "tuition",  # ids in the file are random without it
    "figure.facecolor": "white",
}
STEP = 0.016  # of the axis, between the methods of one budget
LOG_SPAN = 4  # budgets that span at least this factor get a logarithmic axis

CROWDED = 8  # methods whose names fit side by side

Row = dict[str, Any]


def _marker(index: int) -> str:
    """No two of 49 methods have both colour and marker in common."""
    return MARKERS[(index + index // len(COLOURS)) % len(MARKERS)]


def write_picture(figure: Figure, path: Path) -> None:
    """Write `figure` as `path`, a .png, and as .svg beside it, without dates or versions."""
    with _style():
        with atomic(path.with_suffix(".svg")) as file:
            figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        with atomic(path.with_suffix(".png")) as file:
            figure.savefig(file, format="png", dpi=160, metadata={"Software": None})


def accuracy_figure(study: dict[str, Any], summary: list[Row]) -> Figure:
    """Top-1 against teacher calls: a line with intervals a method, single seeds faint. With one budget: by method."""
    with _style():
        figure = Figure(figsize=(7.2, 4.4), layout="constrained")
        axes = figure.subplots()
        calls = sorted({r["calls"] for r in summary})
        logarithmic = len(calls) > 1 and calls[-1] >= LOG_SPAN * calls[0]
        for index in range(len(study["methods"])):
            _accuracy_of(axes, study, summary, index, logarithmic)
        known = study["teacher"].get("val_top1")
        if known is not None:
            axes.axhline(100 * known, color=GREY, lw=1.2, ls=(0, (5, 3)), zorder=1, label="teacher (validation)")
        axes.set_ylabel(f"{_figure(study)} on the test split, %")
        if len(calls) == 1:
            slant: dict[str, Any] = {"rotation": 60, "ha": "right"} if len(study["methods"]) > CROWDED else {}
            axes.set_xticks(range(len(study["methods"])), study["methods"], **slant)
            axes.set_xlim(-0.6, len(study["methods"]) - 0.4)
            axes.set_xlabel(f"method, {calls[0]} teacher calls")
        else:
            if logarithmic:
                axes.set_xscale("log", base=2)
            axes.set_xticks(calls, [str(c) for c in calls])
            axes.set_xticks([], minor=True)
            axes.set_xlabel("teacher calls" + (" (log scale)" if logarithmic else ""))
        axes.grid(visible=False, axis="x")
        lines, names = axes.get_legend_handles_labels()
        if names:
            figure.legend(lines, names, loc="outside upper center", ncols=min(len(names), 5))
        _limit(axes, study, summary)
    return figure


def _figure(study: dict[str, Any]) -> str:
    """What the pictures show of a study."""
    said = word(study.get("against"))
    return said if study.get("against") in ("relevance", "references") else f"top-1 {said}"


def _accuracy_of(axes: Axes, study: dict[str, Any], summary: list[Row], index: int, logarithmic: bool) -> None:
    """One method's line with its intervals, and its single seeds beside it."""
    calls, method = sorted({r["calls"] for r in summary}), study["methods"][index]
    rows = [r for r in summary if r["method"] == method]
    shift = index - (len(study["methods"]) - 1) / 2 if len(calls) > 1 else index / STEP
    aside = shift + (0.45 if len(calls) > 1 else 0.09 / STEP)
    at = {r["budget"]: _place(r["calls"], calls, shift, logarithmic) for r in rows}
    beside = {r["budget"]: _place(r["calls"], calls, aside, logarithmic) for r in rows}
    for row in rows:
        values = [100 * study["metrics"][row["budget"], method, s]["top1"] for s in study["seeds"]]
        if len(values) > 1:
            axes.plot(
                [beside[row["budget"]]] * len(values),
                values,
                _marker(index),
                ms=4,
                color=COLOURS[index % len(COLOURS)],
                alpha=0.35,
                mew=0,
            )
    points = [(at[r["budget"]], 100 * r["top1"], 100 * r["low"], 100 * r["high"]) for r in rows]
    _points(axes, points, index, method if len(calls) > 1 else None)


def paired_figure(study: dict[str, Any], rows: list[Row]) -> Figure:
    """Differences of top-1 in points with intervals, one panel a baseline, one line a budget and method."""
    shown = [r for r in rows if not mirrored(r, study["methods"])]
    baselines = list(dict.fromkeys(r["baseline"] for r in shown))
    with _style():
        if not shown:
            figure = Figure(figsize=(7.2, 1.6), layout="constrained")
            axes = figure.subplots()
            axes.set_axis_off()
            axes.text(0.5, 0.5, "No baseline beside another method.", ha="center", va="center", color=GREY)
            return figure
        panels = {b: [r for r in shown if r["baseline"] == b] for b in baselines}
        heights = [len(panel) + 1.2 for panel in panels.values()]
        figure = Figure(figsize=(7.2, 0.9 + 0.3 * sum(heights)), layout="constrained")
        grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)
        for axes, (baseline, panel) in zip(grid[:, 0], panels.items(), strict=True):
            _panel(axes, study["methods"], panel)
            axes.set_title(f"against {baseline}", loc="left", fontsize=10, fontweight="bold")
        bottom = grid[-1, 0]
        figure_name = word(study["against"]) if study.get("against") in ("relevance", "references") else "top-1"
        bottom.set_xlabel(f"difference of {figure_name}, percentage points (right: better than the baseline)")
    return figure


@contextmanager
def _style() -> Iterator[None]:
    """Our style on matplotlib's defaults: a user's own matplotlibrc must not change the bytes."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def _panel(axes: Axes, methods: list[str], panel: list[Row]) -> None:
    ordered = sorted(panel, key=lambda r: (methods.index(r["method"]), r["budget"]))
    for y, row in enumerate(ordered):
        index = methods.index(row["method"])
        colour, marker = COLOURS[index % len(COLOURS)], _marker(index)
        if row["n"] > 1:
            axes.plot(row["singles"], [y - 0.28] * row["n"], marker, ms=4, color=colour, alpha=0.35, mew=0)
        if not isnan(row["low"]):
            axes.plot([row["low"], row["high"]], [y, y], color=colour, lw=2, solid_capstyle="butt")
        fill = "white" if isnan(row["low"]) else colour
        axes.plot(row["difference"], y, marker, ms=7, mec=colour, mfc=fill, mew=1.4)
    axes.axvline(0, color="#444444", lw=1)
    axes.set_yticks(range(len(ordered)), [f"{r['method']} · {r['budget']}" for r in ordered])
    axes.set_ylim(len(ordered) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _points(axes: Axes, points: list[tuple[float, float, float, float]], index: int, label: str | None) -> None:
    """The means joined by a line; a hollow marker where there is no interval."""
    colour, marker = COLOURS[index % len(COLOURS)], _marker(index)
    fill = "white" if any(isnan(p[2]) for p in points) else colour
    axes.plot(
        [p[0] for p in points],
        [p[1] for p in points],
        color=colour,
        marker=marker,
        ms=6.5,
        lw=1.8,
        mec=colour,
        mfc=fill,
        mew=1.4,
        label=label,
        zorder=3,
    )
    for x, _, low, high in points:
        if not isnan(low):
            axes.plot([x, x], [low, high], color=colour, lw=1.4, marker="_", ms=7, zorder=2)


def _place(calls: int, every: list[int], shift: float, logarithmic: bool) -> float:
    """Where a point stands, `shift` steps beside its budget, so that intervals do not cover each other."""
    if len(every) == 1:
        return STEP * shift
    if logarithmic:
        return calls * (every[-1] / every[0]) ** (STEP * shift)
    return calls + STEP * shift * (every[-1] - every[0])


def _limit(axes: Axes, study: dict[str, Any], summary: list[Row]) -> None:
    """Keep the axis on the data: the intervals of two seeds reach far beyond it, and are cut."""
    values = [100 * m["top1"] for m in study["metrics"].values()]
    if "val_top1" in study["teacher"]:
        values.append(100 * study["teacher"]["val_top1"])
    low, high = min(values), max(values)
    room = max(high - low, 1.0)
    ends = [100 * r[key] for r in summary for key in ("low", "high") if not isnan(r[key])]
    bottom = max(min([low, *ends]), low - 0.8 * room)
    top = min(max([high, *ends]), high + 0.5 * room, 100)
    axes.set_ylim(bottom - 0.05 * room, top + 0.05 * room)
