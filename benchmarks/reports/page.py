"""Report as one HTML page that loads nothing from elsewhere: charts, tables, pictures and protocol."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.analysis.statistics import Interval, differences, estimate, rank, resample, signed_ranks
from benchmarks.analysis.subgroups import SubgroupTable
from benchmarks.analysis.summary import plain, subjects_of, task_name
from benchmarks.reports.gather import Results
from benchmarks.scoring.metrics import METRICS
from megamed.extras import require

if TYPE_CHECKING:
    from benchmarks.reports.pictures import ShownQueries

TEMPLATES = Path(__file__).parent / "templates"
STYLES = 8
"""Number of predictors that have a colour of their own; all others share a grey."""
SHORTEST_SECONDS = 1e-4
"""Resolution of run times, which replaces 0 on a logarithmic axis."""
COUNT_NAMES = {
    "rows": "predictions",
    "tasks": "tasks",
    "subjects": "subjects",
    "empty_masks": "empty masks",
    "smallest_support": "smallest support",
    "label_budget": "labelled examples per query, at most",
    "seconds_per_query": "seconds per query",
    "peak_mb": "peak memory, MB",
    "batch": "largest batch",
}
"""Headings for the counts of a summary, by key; any other count is headed by its key."""


@dataclass(frozen=True)
class Standing:
    """Line of the leaderboard, with scores in per cent."""

    name: str
    style: int
    score: Interval
    behind: Interval | None
    """Paired difference from the best predictor; None for itself."""
    p: float | None
    """P-value of a signed-rank test against the best predictor over tasks, adjusted by Holm; None for itself."""
    first: float
    """Percentage of the resamples in which the predictor ranks first."""
    metrics: tuple[float, ...]
    seconds: float | None
    alarms: Interval | None
    """Share of the queries without the structure on which something is drawn; None if there are none."""


@dataclass(frozen=True)
class TaskLine:
    """Scores of one task in per cent, by predictor."""

    id: str
    dataset: str
    name: str
    subjects: int
    scores: dict[str, Interval]


@dataclass(frozen=True)
class EntryLine:
    """Line of the table of entries, which tells whose each predictor is."""

    name: str
    by: str
    link: str
    note: str
    date: str
    version: str
    """Version of incontext-seg that scored it."""
    trained_on: str
    key: str


def render(
    results: Results,
    groups: Sequence[SubgroupTable] = (),
    examples: "ShownQueries | None" = None,
    entries: Sequence[EntryLine] = (),
) -> str:
    """Write the HTML page of a report.

    Args:
        results: Results of the benchmark to report.
        groups: Scores by subgroup, a table per attribute.
        examples: Pictures of queries by task, if there are any.
        entries: Lines on the predictors, where people entered them on a leaderboard.

    Raises:
        ModuleNotFoundError: If jinja2 is not installed.
    """
    require("report", "The page", "jinja2")
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from benchmarks.reports.charts import duration

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "per_cent": per_cent,
        "percents": lambda value: value.scaled(100.0),
        "number": number,
        "plain": plain,
        "subjects_of": subjects_of,
        "duration": duration,
        "pretty": pretty,
        "chance": chance,
        "breakable": breakable,
    }
    script, style = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("report.js", "report.css"))
    styles = {name: min(index, STYLES) for index, name in enumerate(results.ranking)}
    return environment.get_template("report.html").render(
        results=results,
        summary=results.main.summary,
        styles=styles,
        standings=standings(results, styles),
        metrics={name: METRICS.get(name) for name in results.metrics()},
        tasks=task_lines(results),
        over_sizes={size: _intervals(each.summary["overall"]) for size, each in results.sizes.items()},
        charts=charts(results, styles),
        counts=counts(results),
        annotators=results.annotators(),
        groups=groups,
        examples=examples,
        entries=entries,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=style,
    )


def standings(results: Results, styles: Mapping[str, int]) -> list[Standing]:
    """Lines of the leaderboard at the largest support size, the best predictor first."""
    overall, metrics, seed = results.main.summary["overall"], results.metrics(), results.settings["seed"]
    scores = results.scores()
    gaps, tests = differences(scores, 0, seed), signed_ranks(scores, 0)
    firsts = rank(estimate(scores), resample(scores, seed)).shares[:, 0]
    return [
        Standing(
            name=name,
            style=styles[name],
            score=Interval(**overall[name]).scaled(100.0),
            behind=gaps[index].scaled(100.0) if index else None,
            p=tests[index].adjusted_p if index else None,
            first=100 * float(firsts[index]),
            metrics=tuple(values[name] for values in metrics.values()),
            seconds=results.seconds_per_query(name),
            alarms=_intervals(results.false_alarms).get(name),
        )
        for index, name in enumerate(results.ranking)
    ]


def task_lines(results: Results) -> list[TaskLine]:
    """Lines of the task table at the largest support size, in the order of the summary."""
    subjects: dict[str, set[str]] = {}
    for row in results.main.rows:
        subjects.setdefault(row.task, set()).add(row.subject)
    return [
        TaskLine(
            id=task,
            dataset=task.split("/")[0],
            name=task_name(task),
            subjects=len(subjects.get(task, ())),
            scores={name: _intervals(values)[name] for name in results.ranking if name in _intervals(values)},
        )
        for task, values in results.main.summary["tasks"].items()
    ]


def charts(results: Results, styles: Mapping[str, int]) -> list[dict[str, Any]]:
    """Charts of scores over support sizes, if there are several, and over the time per query."""
    from benchmarks.reports.charts import ChartPoint, Series, line_chart, point_chart, score_axis, size_axis, time_axis

    def point(x: int | float, value: Mapping[str, float]) -> ChartPoint:
        return ChartPoint(float(x), *(100 * float(value[end]) for end in ("mean", "low", "high")))

    def drawn(points: Callable[[str], list[ChartPoint]]) -> list[Series]:
        every = ((name, tuple(each for each in points(name) if isfinite(each.mean))) for name in results.ranking)
        return [Series(name, styles[name], found) for name, found in every if found]

    def over_sizes(name: str) -> list[ChartPoint]:
        overall = {size: each.summary["overall"] for size, each in results.sizes.items()}
        return [point(size, values[name]) for size, values in overall.items() if name in values]

    def over_time(name: str) -> list[ChartPoint]:
        seconds = results.seconds_per_query(name)
        return [] if seconds is None else [point(max(seconds, SHORTEST_SECONDS), results.main.summary["overall"][name])]

    figures = []
    if len(results.sizes) > 1 and (lines := drawn(over_sizes)):
        heights = score_axis([each for line in lines for each in line.points])
        title = "Dice of each predictor by labelled examples per query; the table below has the numbers"
        figures.append(
            {"title": "More examples", "svg": line_chart(lines, size_axis(list(results.sizes)), heights, title)}
        )
    if dots := drawn(over_time):
        heights = score_axis([each for dot in dots for each in dot.points])
        width = time_axis([each.x for dot in dots for each in dot.points])
        title = "Dice of each predictor by time per query; the leaderboard has the numbers"
        figures.append({"title": "Cost against accuracy", "svg": point_chart(dots, width, heights, title)})
    return figures


def counts(results: Results) -> list[tuple[str, list[str]]]:
    """Headings of the counts, each with the values of the predictors in the order of the ranking."""
    counted = results.main.summary.get("counts", {})
    names = dict.fromkeys(key for name in results.ranking for key in counted.get(name, {}))
    return [
        (
            COUNT_NAMES.get(key, key.replace("_", " ")),
            [_text(counted.get(name, {}).get(key)) for name in results.ranking],
        )
        for key in names
    ]


def per_cent(value: Interval) -> str:
    """Write a value in per cent with its interval, `81.2 (78.0, 84.1)`, or a dash for NaN."""
    return value.written() if isfinite(value.mean) else "–"


def number(value: float) -> str:
    """Write a number with three significant digits."""
    return f"{value:.3g}" if isfinite(value) else "–"


def breakable(name: str) -> str:
    """Allow a line break after each underscore of a name."""
    from markupsafe import Markup

    return Markup("_<wbr>").join(name.split("_"))


def chance(value: float) -> str:
    """Write a p-value, a small one as a bound."""
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def pretty(value: object) -> str:
    """Format a value as indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _intervals(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Interval]:
    """Convert a summary's scores to intervals in per cent."""
    return {name: Interval(**value).scaled(100.0) for name, value in values.items() if isfinite(value["mean"])}


def _text(value: object) -> str:
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(each)}" for key, each in value.items())
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
