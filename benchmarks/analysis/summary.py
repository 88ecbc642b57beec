"""Summaries of result rows: overall, per dataset and per task, as JSON, CSV and tables for the terminal."""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from benchmarks.analysis.statistics import DatasetScores, Interval, differences, intervals, subject_means
from benchmarks.analysis.subgroups import SubgroupTable
from benchmarks.scoring.results import Candidates, Row, plan_hashes, shared_rows, showing
from megamed.cells import safe_line
from megamed.files import replace_file

METHOD = (
    "Dice at probability 0.5: mean over datasets of the mean over tasks of the mean over subjects; "
    "95 % interval by bootstrap of tasks and, within datasets, subjects; for one task, of its subjects. "
    "Differences are paired: of what both predictors scored, on the same resamples."
)
CANDIDATE_METRICS = {
    "best_dice": "Dice of the best draw with an annotator",
    "energy_distance": "energy distance under 1 - IoU",
    "area_crps_px": "CRPS of the area, pixels",
}
"""Headings for the metrics that `measure_candidates` returns, by name."""


def summarise(rows: Iterable[Row], predictors: Sequence[str], seed: int) -> dict[str, Any]:
    """Estimates with intervals, as JSON values; Dice in [0, 1].

    Dice is of the queries that show the structure. Those that lack it, if any, tell the share of false alarms.

    Args:
        rows: Predictions of at least these predictors.
        predictors: Predictors to report; differences are of the first minus each other.
        seed: Seed of the bootstrap.
    """
    rows = [row for row in rows if row.predictor in predictors]
    scores = subject_means(showing(rows) or rows, predictors)
    everything = list(scores.values())

    def named(values: Iterable[Interval]) -> dict[str, dict[str, float]]:
        return {name: asdict(value) for name, value in zip(predictors, values, strict=True)}

    gains = named(differences(everything, reference=0, seed=seed))
    return {
        "method": METHOD,
        "overall": named(intervals(everything, seed)),
        "difference": {"reference": predictors[0], "minus": {name: gains[name] for name in predictors[1:]}},
        "datasets": {dataset: named(intervals([table], seed)) for dataset, table in scores.items()},
        "tasks": {name: named(intervals([table], seed)) for name, table in _single_tasks(everything)},
        "counts": {name: _counts([row for row in rows if row.predictor == name]) for name in predictors},
        **false_alarms(rows, predictors, seed),
    }


def false_alarms(rows: Iterable[Row], predictors: Sequence[str], seed: int) -> dict[str, Any]:
    """Share of the queries without the structure on which something is drawn, as JSON values, overall and by task.

    The result is empty if every query shows the structure.
    """
    scores = list(subject_means([row for row in rows if not row.label_px], predictors, "has_mask").values())

    def named(tables: Sequence[DatasetScores]) -> dict[str, dict[str, float]]:
        return {name: asdict(value) for name, value in zip(predictors, intervals(tables, seed), strict=True)}

    tasks = {name: named([table]) for name, table in _single_tasks(scores)}
    return {"false_alarms": {"overall": named(scores), "tasks": tasks}} if scores else {}


def compare_runs(folders: Sequence[Path], reference: str | None = None, seed: int = 0) -> dict[str, Any]:
    """Summarise several runs over the predictions that all predictors made from the same supports.

    Args:
        folders: Result folders of `incontext-bench run`.
        reference: The predictor of which the others are subtracted; by default the first one.
        seed: Seed of the bootstrap.

    Raises:
        ValueError: If there is no such predictor, or the runs share nothing.
    """
    rows = shared_rows(folders)
    names = list(dict.fromkeys(row.predictor for row in rows))
    if reference is not None and reference not in names:
        msg = f"Unknown predictor: expected one of {', '.join(names)}, got {reference!r}."
        raise ValueError(msg)
    names.sort(key=lambda name: reference is not None and name != reference)
    return summarise(rows, names, seed) | {"settings": {"plan_hash": plan_hashes(folders)}}


def summarise_candidates(candidates: Iterable[Candidates], predictors: Sequence[str], seed: int) -> dict[str, Any]:
    """Agreement of draws with several annotators, as JSON values: metric → dataset → predictor → interval.

    The result is empty if no query has several annotators.
    """
    candidates = list(candidates)
    summary: dict[str, Any] = {}
    for metric in CANDIDATE_METRICS if candidates else ():
        scores = subject_means(candidates, predictors, metric)
        summary[metric] = {
            dataset: {
                name: asdict(value)
                for name, value in zip(predictors, intervals([table], seed), strict=True)
                if isfinite(value.mean)
            }
            for dataset, table in scores.items()
        }
    return summary


def _single_tasks(scores: Iterable[DatasetScores]) -> list[tuple[str, DatasetScores]]:
    return [(name, table.task(name)) for table in scores for name in table.tasks]


def _counts(rows: Sequence[Row]) -> dict[str, int | float]:
    """Numbers of predictions, tasks, subjects and empty masks, and the extremes of the labelled examples per query."""
    return {
        "rows": len(rows),
        "tasks": len({row.task for row in rows}),
        "subjects": len({(row.dataset, row.subject) for row in rows}),
        "empty_masks": sum(row.mask_px == 0 for row in rows if row.label_px),
        "smallest_support": min(row.support_size for row in rows),
        "label_budget": max(row.support_size for row in rows),
    }


def write_task_csv(path: Path, rows: Iterable[Row], summary: dict[str, Any]) -> None:
    """Write a CSV line per task and predictor, with the task's number of subjects and its smallest support."""
    rows = sorted(rows, key=lambda row: row.support_size, reverse=True)
    about = {row.task: (row.dataset, row.support_size) for row in rows}
    subjects = Counter(task for task, _ in {(row.task, row.subject) for row in rows})
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    alarms = summary.get("false_alarms", {}).get("tasks", {})
    further = ["false_alarms"] if alarms else []
    writer.writerow(["dataset", "task", "support", "subjects", "predictor", "dice", "low", "high", *further])
    for task, by_predictor in summary["tasks"].items():
        dataset, support = about[task]
        for predictor, value in by_predictor.items():
            ends = [f"{value[key]:.4f}" for key in ("mean", "low", "high")]
            alarm = [f"{alarms[task][predictor]['mean']:.4f}" if task in alarms else ""] if alarms else []
            writer.writerow(safe_line([dataset, task, support, subjects[task], predictor, *ends, *alarm]))
    replace_file(path, text.getvalue())


def score_table(summary: dict[str, Any]) -> Table:
    """Terminal table of scores: each dataset with its tasks, the overall line and the differences, by predictor."""
    predictors = list(summary["overall"])
    plan = summary.get("settings", {}).get("plan_hash")
    about = summary["method"] + " n: number of subjects." + (f" Plan {plan}." if plan else "")
    table = _table("Dice, % (95 % interval)", "n", *predictors, caption=about)

    def add(name: str, values: dict[str, Any], style: str | None = None) -> None:
        table.add_row(
            name,
            subjects_of(values),
            *(percent(values[key]) if key in values else "" for key in predictors),
            style=style,
        )

    by_dataset: dict[str, dict[str, Any]] = defaultdict(dict)
    for task, scores in summary["tasks"].items():
        by_dataset[task.partition("/")[0]][task] = scores
    for dataset, values in summary["datasets"].items():
        add(dataset, values)
        tasks = by_dataset[dataset]
        for task, scores in tasks.items() if len(tasks) > 1 else ():
            add(f"  {task_name(task)}", scores, style="dim")
    table.add_section()
    add("mean over datasets", summary["overall"], style="bold")
    if minus := summary["difference"]["minus"]:
        add(f"{summary['difference']['reference']} minus it", minus)
    if alarms := summary.get("false_alarms"):
        add("false alarms, % of the queries without it", alarms["overall"])
    counts = [summary["counts"][name] for name in predictors]
    table.add_section()
    table.add_row("labelled examples per query, at most", "", *(f"{each['label_budget']}" for each in counts))
    costs = (("milliseconds per query", "seconds_per_query", 1000, 1), ("peak memory, MB", "peak_mb", 1, 0))
    for name, key, scale, digits in costs:
        if any(key in each for each in counts):
            table.add_row(name, "", *(f"{scale * each[key]:.{digits}f}" if key in each else "" for each in counts))
    return table


def task_name(task: str) -> str:
    """Short name of a task, its label and the axis of a volume: the id without dataset and modality."""
    *_, axis, label = task.split("/")
    return label if axis == "2d" else f"{label}, {axis}"


def annotator_table(annotators: Mapping[str, Any]) -> Table:
    """Terminal table of the agreement with several annotators, by dataset and predictor."""
    datasets = next(iter(annotators.values()))
    predictors = list(dict.fromkeys(name for values in datasets.values() for name in values))
    about = (
        "All draws of a query against what several people drew on it. Best: Dice 100, distance 0, CRPS 0. n: subjects."
    )
    table = _table("Several annotators (95 % interval)", "n", *predictors, caption=about)
    for dataset in datasets:
        table.add_row(dataset)
        for metric, name in CANDIDATE_METRICS.items():
            values = annotators[metric][dataset]
            shown = percent if metric == "best_dice" else plain
            cells = (shown(values[each]) if each in values else "" for each in predictors)
            table.add_row(f"  {name}", subjects_of(values), *cells)
    return table


def group_table(table: SubgroupTable) -> Table:
    """Terminal table of the scores by subgroup, and of the gap between the extreme ones."""
    predictors = list(dict.fromkeys(name for group in table.groups for name in group.scores))
    shown = _table(f"Dice by {table.attribute}, % (95 % interval)", "subjects", *predictors)
    for group in table.groups:
        scores = (percent(asdict(group.scores[name])) if name in group.scores else "" for name in predictors)
        shown.add_row(group.name, str(group.subjects), *scores)
    shown.add_section()
    gaps = {name: (f"{gap.best} - {gap.worst}", percent(asdict(gap.difference))) for name, gap in table.gaps.items()}
    shown.add_row("gap", "", *("\n".join(gaps.get(name, ())) for name in predictors))
    return shown


def size_table(summaries: Mapping[int, dict[str, Any]]) -> Table:
    """Terminal table of the mean Dice over datasets, by support size and predictor."""
    predictors = list(next(iter(summaries.values()))["overall"])
    table = _table("Mean over datasets, by support size", "n", *predictors, caption="n: number of subjects.")
    for size, summary in summaries.items():
        overall = summary["overall"]
        table.add_row(str(size), subjects_of(overall), *(percent(overall[name]) for name in predictors))
    return table


def _table(*heads: str, caption: str | None = None) -> Table:
    """An empty table for a terminal, where names that are too long for their column go on in the next line."""
    return Table(*(Column(head, overflow="fold") for head in heads), caption=caption, caption_justify="left")


def subjects_of(values: Mapping[str, Mapping[str, Any]]) -> str:
    """Number of subjects that the scores of a line are of, at most; empty if a summary of an older version lacks it."""
    return str(max((value.get("subjects", 0) for value in values.values()), default=0) or "")


def percent(value: Mapping[str, Any]) -> str:
    """`81.2 (78.0, 84.1)`: the mean and both ends of its interval, times 100."""
    return Interval(**value).scaled(100.0).written()


def plain(value: Mapping[str, Any]) -> str:
    """`0.812 (0.78, 0.841)`: the mean and both ends of its interval, in three significant digits."""
    return Interval(**value).written(".3g")
