"""The findings of an experiment as tables: CSV for programs, Markdown for people."""

import csv
import io
from math import isfinite

from benchmarks.analysis.statistics import Interval
from benchmarks.experiments.bench import Findings, Point
from benchmarks.experiments.catalogue import Experiment
from megamed.cells import safe_line

COLUMNS = (
    "panel", "series", "x", "about", "value", "low", "high", "against", "difference", "difference_low",
    "difference_high", "tasks", "subjects", "seconds_per_query",
)  # fmt: skip
NO_VALUE = "–"


def comma_separated(findings: Findings) -> str:
    """Write the findings as CSV, a line per point, with values as they were measured: Dice in [0, 1]."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(safe_line(_record(point)) for point in findings.points)
    return text.getvalue()


def _record(point: Point) -> list[object]:
    place = point.place
    difference = _ends(point.difference) if point.difference else ["", "", ""]
    against = "" if point.reference is None else str(point.reference)
    seconds = "" if point.seconds_per_query is None else f"{point.seconds_per_query:.4f}"
    about = [place.panel, place.series, place.x, point.about]
    return [*about, *_ends(point.value), against, *difference, point.tasks or "", point.value.subjects or "", seconds]


def _ends(value: Interval) -> list[str]:
    return [f"{each:.4f}" for each in (value.mean, value.low, value.high)]


def markdown(name: str, experiment: Experiment, findings: Findings, protocol: str) -> str:
    """Write the findings as Markdown: question, a line per point, method and protocol; empty columns are left out.

    Args:
        name: Name of the experiment.
        experiment: The experiment that was run.
        findings: Outcome of the experiment.
        protocol: Data and settings, in a sentence.
    """
    counts = ("tasks", "subjects", "ms per query")
    heads = ("panel", "series", experiment.axis, "", experiment.unit, "difference", "from", *counts)
    lines = [_cells(point, experiment) for point in findings.points]
    told = [index for index in range(len(heads)) if any(line[index] for line in lines)]
    table = [[line[index] or NO_VALUE for index in told] for line in lines]
    rows = [[heads[index] for index in told], ["---"] * len(told), *table]
    body = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"# {name}\n\n{experiment.question}\n\n{body}\n\n{experiment.method}\n\n{protocol}\n"


def _cells(point: Point, experiment: Experiment) -> list[str]:
    place, seconds = point.place, point.seconds_per_query
    return [
        place.panel,
        place.series,
        place.x if isinstance(place.x, str) else f"{place.x:g}",
        point.about,
        written(point.value, experiment.scale),
        "" if point.difference is None else written(point.difference, experiment.scale, sign="+"),
        "" if point.reference is None else str(point.reference),
        str(point.tasks or ""),
        str(point.value.subjects or ""),
        "" if seconds is None else f"{1000 * seconds:.0f}",
    ]


def written(value: Interval, scale: float, sign: str = "") -> str:
    """Write a value and the ends of its interval, multiplied by a scale: `81.2 (78.0, 84.1)`; empty for NaN."""
    if not isfinite(value.mean):
        return ""
    return value.scaled(scale).written(f"{sign}.1f")
