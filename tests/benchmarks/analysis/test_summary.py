"""What a person reads of a summary."""

import io

import pytest
from rich.console import Console

from benchmarks.analysis.statistics import Interval
from benchmarks.analysis.subgroups import Gap, Subgroup, SubgroupTable
from benchmarks.analysis.summary import (
    CANDIDATE_METRICS,
    annotator_table,
    group_table,
    percent,
    score_table,
    size_table,
    task_name,
)


def interval(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1}


SUMMARY = {
    "method": "how",
    "overall": {"ours": interval(0.6), "copy": interval(0.3)},
    "difference": {"reference": "ours", "minus": {"copy": interval(0.3)}},
    "datasets": {"heart": {"ours": interval(0.7), "copy": interval(0.4)}, "eye": {"ours": interval(0.5)}},
    "tasks": {
        "eye/photo/2d/disc": {"ours": interval(0.5)},
        "heart/mr/axial/left": {"ours": interval(0.8), "copy": interval(0.35)},
        "heart/mr/axial/right": {"ours": interval(0.65), "copy": interval(0.45)},
    },
    "counts": {
        "ours": {"label_budget": 80, "seconds_per_query": 0.0714},
        "copy": {"label_budget": 16, "seconds_per_query": 0.0},
    },
}


def test_percent():
    assert percent({"mean": 0.812, "low": 0.78, "high": 0.8411}) == "81.2 (78.0, 84.1)"


@pytest.mark.parametrize(("task", "name"), [("eye/photo/2d/disc", "disc"), ("heart/mr/axial/left", "left, axial")])
def test_task_name(task: str, name: str):
    assert task_name(task) == name


def test_one_subject_has_no_interval():
    assert percent({"mean": 0.5, "low": 0.5, "high": 0.5, "subjects": 1}) == "50.0 (one subject)"
    assert percent({"mean": 0.5, "low": 0.5, "high": 0.5, "subjects": 2}) == "50.0 (50.0, 50.0)"


def test_table_has_a_line_per_dataset_and_task_and_the_gain():
    console = Console(width=100, file=io.StringIO())
    console.print(score_table(SUMMARY))
    lines = {line.split("│")[1].strip(): line for line in console.file.getvalue().splitlines() if line.startswith("│")}
    scores = ["heart", "left, axial", "right, axial", "eye", "mean over datasets", "ours minus it"]
    assert list(lines) == [*scores, "labelled examples per query, at most", "milliseconds per query"]
    assert "80" in lines["labelled examples per query, at most"]
    assert "71.4" in lines["milliseconds per query"]
    assert "35.0 (25.0, 45.0)" in lines["left, axial"]
    assert "30.0 (20.0, 40.0)" in lines["ours minus it"]


def test_annotators_have_a_line_per_dataset_and_metric():
    scores = {"ours": interval(0.5) | {"subjects": 7}, "copy": interval(0.3) | {"subjects": 7}}
    summary = {metric: {"eye": scores} for metric in CANDIDATE_METRICS}
    console = Console(width=100, file=io.StringIO())
    console.print(annotator_table(summary))
    lines = {line.split("│")[1].strip(): line for line in console.file.getvalue().splitlines() if line.startswith("│")}
    assert list(lines) == ["eye", *CANDIDATE_METRICS.values()]
    assert "50.0 (40.0, 60.0)" in lines[CANDIDATE_METRICS["best_dice"]]
    assert "0.5 (0.4, 0.6)" in lines[CANDIDATE_METRICS["area_crps_px"]]
    assert {lines[name].split("│")[2].strip() for name in CANDIDATE_METRICS.values()} == {"7"}


def test_groups_have_a_line_each_and_a_gap():
    scores = {"ours": Interval(0.5, 0.4, 0.6)}
    groups = tuple(Subgroup(name, 1, 2, 3, scores) for name in ("small", "large"))
    table = SubgroupTable("size", groups, {"ours": Gap("large", "small", Interval(0.2, 0.1, 0.3))})
    console = Console(width=100, file=io.StringIO())
    console.print(group_table(table))
    text = console.file.getvalue()
    assert [line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│")] == [
        "small", "large", "gap", ""
    ]  # fmt: skip
    assert "large - small" in text
    assert "20.0 (10.0, 30.0)" in text


def test_sizes_have_a_line_each():
    console = Console(width=100, file=io.StringIO())
    known = {"overall": {name: each | {"subjects": 9} for name, each in SUMMARY["overall"].items()}}
    console.print(size_table({4: SUMMARY | known, 16: SUMMARY}))
    lines = [line for line in console.file.getvalue().splitlines() if line.startswith("│")]
    assert [line.split("│")[1].strip() for line in lines] == ["4", "16"]
    assert [line.split("│")[2].strip() for line in lines] == ["9", ""]
    assert "60.0 (50.0, 70.0)" in lines[0]
