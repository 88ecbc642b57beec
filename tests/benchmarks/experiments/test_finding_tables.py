"""Tables of a few points, by hand."""

import csv
import io

from benchmarks.analysis.statistics import Interval
from benchmarks.experiments.bench import Coordinates, Findings, Point
from benchmarks.experiments.catalogue import EXPERIMENTS
from benchmarks.experiments.finding_tables import COLUMNS, comma_separated, markdown

CLEAN = Coordinates(0, "as they are")
POINTS = [
    Point(CLEAN, Interval(0.5, 0.4, 0.65, subjects=7), tasks=3, seconds_per_query=0.0124),
    Point(
        Coordinates(1, "noise", "query alone"),
        Interval(0.25, 0.2, 0.3),
        CLEAN,
        Interval(-0.25, -0.3, 0.05),
        "standard deviation: 0.1",
        tasks=3,
    ),
]


def test_comma_separated_holds_every_point_as_measured() -> None:
    lines = list(csv.DictReader(io.StringIO(comma_separated(Findings(POINTS, {})))))
    assert tuple(lines[0]) == COLUMNS
    assert [line["value"] for line in lines] == ["0.5000", "0.2500"]
    assert [lines[0][name] for name in ("difference", "seconds_per_query", "tasks", "subjects")] == [
        "",
        "0.0124",
        "3",
        "7",
    ]
    assert [lines[1][name] for name in ("panel", "series", "x", "against", "difference_low", "difference_high")] == [
        "query alone", "noise", "1", "as they are, 0", "-0.3000", "0.0500"
    ]  # fmt: skip


def test_markdown_is_in_per_cent_with_signs_and_without_empty_columns() -> None:
    text = markdown("corruption", EXPERIMENTS["corruption"], Findings(POINTS, {}), "On dev.")
    lines = text.splitlines()
    assert lines[0] == "# corruption"
    assert (
        lines[4] == "| panel | series | strength |  | Dice, % | difference | from | tasks | subjects | ms per query |"
    )
    assert lines[6] == "| – | as they are | 0 | – | 50.0 (40.0, 65.0) | – | – | 3 | 7 | 12 |"
    assert "| 25.0 (20.0, 30.0) | -25.0 (-30.0, +5.0) | as they are, 0 | 3 | – | – |" in lines[7]
    assert lines[-1] == "On dev."
    once = Findings([Point(Coordinates(4), Interval(12.0, 12.0, 12.0))], {})
    assert "\n| 4 | 12.0 |\n" in markdown("cost", EXPERIMENTS["cost"], once, "")
    plain = markdown("cost", EXPERIMENTS["cost"], Findings([Point(Coordinates(4), Interval(12.0, 11.0, 13.0))], {}), "")
    assert "| queries that share a support | ms per query |\n| --- | --- |\n| 4 | 12.0 (11.0, 13.0) |\n" in plain
