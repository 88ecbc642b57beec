"""The figure of an experiment: lines over numbers or bars over names, with intervals, in panels side by side."""

from collections.abc import Sequence
from itertools import chain
from math import log10, nan
from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from benchmarks.analysis.statistics import Interval
from benchmarks.experiments.bench import Findings, Point
from benchmarks.experiments.catalogue import Experiment
from megamed.files import replacing

PANEL_INCHES, HEIGHT_INCHES = 5.0, 4.4
LEGEND_COLUMNS = 2
"""Number of legend columns below each panel."""
BARS_SHARE = 0.8
"""Share of the distance between two groups of bars that the bars fill."""
LABEL_CHARACTERS = 40
"""Number of characters that fit below a panel; labels that need more in total are slanted."""
SPREAD_SHARE = 0.015
"""Horizontal distance between neighbouring series at the same x, as a share of a panel's width."""
MARKERS = "os^DvPX*"
NOTHING = Interval(0.0, 0.0, 0.0)


def draw(path: Path, experiment: Experiment, findings: Findings) -> None:
    """Draw the findings of an experiment into a PNG file."""
    panels = in_panels(findings.points)
    figure = Figure(figsize=(PANEL_INCHES * len(panels), HEIGHT_INCHES), layout="constrained", dpi=150)
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    named: dict[str, Artist] = {}
    # A series has one colour in all panels, for they have one legend.
    colours = {name: f"C{number}" for number, name in enumerate(by_series([*chain(*panels.values())]))}
    for axes, (panel, points) in zip(all_axes, panels.items(), strict=True):
        if isinstance(points[0].place.x, str):
            draw_bars(axes, points, experiment, colours)
        else:
            draw_lines(axes, points, experiment, colours)
        draw_references(axes, points, findings.points, experiment)
        axes.set(title=panel, xlabel=experiment.axis)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
        handles, labels = axes.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    all_axes[0].set_ylabel(f"{experiment.unit}, difference" if experiment.paired else experiment.unit)
    if named:
        handles, labels = list(named.values()), list(named)
        columns = LEGEND_COLUMNS * len(panels)
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize="small", frameon=False)
    with replacing(path) as partial:
        figure.savefig(partial, format="png", metadata={"Software": None})


def in_panels(points: Sequence[Point]) -> dict[str, list[Point]]:
    """Group points by panel; beside named panels, points of no panel serve as references alone and are left out."""
    panels: dict[str, list[Point]] = {}
    for point in points:
        panels.setdefault(point.place.panel, []).append(point)
    if len(panels) > 1:
        panels.pop("", None)
    return panels


def by_series(points: Sequence[Point]) -> dict[str, list[Point]]:
    """Group points by series, in the order in which the series first occur."""
    series: dict[str, list[Point]] = {}
    for point in points:
        series.setdefault(point.place.series, []).append(point)
    return series


def draw_lines(axes: Axes, points: Sequence[Point], experiment: Experiment, colours: dict[str, str]) -> None:
    """Draw a line with intervals for each series; series are shifted, so that intervals do not hide each other."""
    across, up = experiment.logarithmic
    ticks = sorted({float(point.place.x) for point in points})
    series = by_series(points)
    for number, (name, some) in enumerate(series.items()):
        values, below, above = ends(some, experiment)
        shift = SPREAD_SHARE * (number - (len(series) - 1) / 2)
        positions = [beside(float(point.place.x), shift, (ticks[0], ticks[-1]), across) for point in some]
        style = f"{MARKERS[number % len(MARKERS)]}-"
        axes.errorbar(
            positions, values, [below, above], fmt=style, label=name, color=colours[name], capsize=2, markersize=4,
            linewidth=1.2,
        )  # fmt: skip
        mark_lone(axes, positions, values, [shown(point, experiment) for point in some])
    if across:
        axes.set_xscale("log")
    if up:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def beside(position: float, shift: float, limits: tuple[float, float], logarithmic: bool) -> float:
    """Move a position by a share of the axis' length, of its logarithmic length on a logarithmic axis."""
    low, high = limits
    if logarithmic:
        return float(10 ** (log10(position) + shift * log10(high / low)))
    return position + shift * (high - low)


def draw_bars(axes: Axes, points: Sequence[Point], experiment: Experiment, colours: dict[str, str]) -> None:
    """Draw a group of bars with intervals for each name, a bar for each series."""
    names = list(dict.fromkeys(str(point.place.x) for point in points))
    series = by_series(points)
    width = BARS_SHARE / len(series)
    for number, (name, some) in enumerate(series.items()):
        values, below, above = ends(some, experiment)
        positions = [names.index(str(point.place.x)) + (number - (len(series) - 1) / 2) * width for point in some]
        axes.bar(
            positions, values, width, yerr=[below, above], label=name, color=colours[name], capsize=3,
            error_kw={"linewidth": 1},
        )  # fmt: skip
        mark_lone(axes, positions, values, [shown(point, experiment) for point in some])
    axes.set_xticks(range(len(names)), names)
    if len(names) * max(map(len, names)) > LABEL_CHARACTERS:
        axes.tick_params(axis="x", rotation=30)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")


def draw_references(axes: Axes, points: Sequence[Point], everywhere: Sequence[Point], experiment: Experiment) -> None:
    """Draw a dashed horizontal line for each reference that is not among the panel's own points."""
    known = {point.place: point for point in everywhere}
    outside = {point.reference for point in points if point.reference} - {point.place for point in points}
    for place in sorted(outside, key=str):
        height = experiment.scale * shown(known[place], experiment).mean
        axes.axhline(height, color="black", linestyle="--", linewidth=1, label=place.series)


def mark_lone(axes: Axes, positions: Sequence[float], heights: Sequence[float], values: Sequence[Interval]) -> None:
    """Write `one subject` at what has no interval for that reason."""
    for position, height, value in zip(positions, heights, values, strict=True):
        if value.subjects == 1:
            axes.annotate(
                "one subject", (position, height), xytext=(0, -4), textcoords="offset points", rotation=90,
                ha="center", va="top", fontsize="xx-small",
            )  # fmt: skip


def ends(points: Sequence[Point], experiment: Experiment) -> tuple[list[float], list[float], list[float]]:
    """Heights of points, and the lengths of their error bars below and above, all in the experiment's unit.

    What is of one subject, or measured once, has no error bar, whose lengths are NaN.
    """
    drawn = [shown(point, experiment) for point in points]
    values = [experiment.scale * each.mean for each in drawn]
    below, above = (
        [nan if each.is_lone else max(0.0, experiment.scale * gap) for each, gap in zip(drawn, gaps, strict=True)]
        for gaps in ([each.mean - each.low for each in drawn], [each.high - each.mean for each in drawn])
    )
    return values, below, above


def shown(point: Point, experiment: Experiment) -> Interval:
    """Value of a point, or in a paired experiment its difference, which is 0 for a point without a reference."""
    return (point.difference or NOTHING) if experiment.paired else point.value
