"""What a report makes of result folders."""

import json
import shutil
from collections.abc import Callable
from math import isnan
from pathlib import Path

import pytest

from benchmarks.reports import FORMATS, gather
from benchmarks.scoring.results import Candidates, append_rows

CANDIDATES = Candidates(
    "mean-mask", "squares", "squares/drawing/2d/square", "case0", "case0", 2, 2, 0.75, 0.5, 8.0
)  # fmt: skip
Change = Callable[[Callable[[dict], object]], Path]


def test_runs_below_a_folder_are_sizes_of_one_benchmark(runs: Path):
    results = gather([runs])
    assert list(results.sizes) == [1, 3]
    assert results.size == 3
    assert results.main.summary == json.loads((runs / "S3" / "summary.json").read_text())
    assert len(results.main.rows) == 2 * 2 * 5 * 2  # predictors, datasets, queries, draws
    assert "support_size" not in results.settings
    assert results.sizes[1].plan_hash != results.sizes[3].plan_hash
    assert gather([runs / "S3", runs / "S1"]) == results


def test_the_best_is_first(runs: Path):
    results = gather([runs])
    means = [results.main.summary["overall"][name]["mean"] for name in results.ranking]
    assert means == sorted(means, reverse=True)


def test_a_predictor_without_a_score_is_last(change: Change):
    def fail(summary: dict) -> None:
        summary["overall"]["mean-mask"] = {"mean": float("nan"), "low": float("nan"), "high": float("nan")}

    assert gather([change(fail)]).ranking == ["nearest-copy", "mean-mask"]


def test_rows_of_a_failed_task_are_left_out(change: Change):
    def fail(summary: dict) -> None:
        task = next(iter(summary["tasks"]))
        summary["tasks"][task]["mean-mask"]["mean"] = float("nan")
        summary["failed"] = {"mean-mask": {task: "its logits are NaN"}}

    results = gather([change(fail)])
    assert results.notes["failed"] == {"mean-mask on squares/drawing/2d/square": "its logits are NaN"}
    assert {row.task for row in results.main.rows if row.predictor == "mean-mask"} == {"tiles/photo/2d/square"}
    assert len({row.task for row in results.main.rows}) == 2


def test_runs_of_one_size_are_compared_on_what_they_share(runs: Path, tmp_path: Path):
    shutil.copytree(runs / "S3", tmp_path / "again")
    results = gather([runs / "S3", tmp_path / "again"])
    assert list(results.sizes) == [3]
    assert f"{tmp_path / 'again'}:mean-mask" in results.ranking
    assert len(results.ranking) == 4
    assert all(results.seconds_per_query(name) is not None for name in results.ranking)


def test_a_predictor_that_the_summary_forgot_is_told_of(change: Change):
    def forget(summary: dict) -> None:
        for part in ("overall", "counts"):
            del summary[part]["mean-mask"]

    assert set(gather([change(forget)]).ranking) == {"mean-mask", "nearest-copy"}


def test_annotators_are_told_of_one_run_and_of_several(change: Change, tmp_path: Path):
    def compare(summary: dict) -> None:
        values = {"mean-mask": {"mean": 0.25, "low": 0.2, "high": 0.3}}
        summary["annotators"] = {"best_dice": {"squares": values}}

    run = change(compare)
    append_rows(run / "candidates.csv", [CANDIDATES])
    (line,) = gather([run]).annotators()
    assert (line.dataset, line.values["mean-mask"]["mean"]) == ("squares", 0.25)
    assert line.metric in FORMATS["markdown"](gather([run]))
    shutil.copytree(run, tmp_path / "again")
    best, *_ = gather([run, tmp_path / "again"]).annotators()
    assert {name: value["mean"] for name, value in best.values.items()} == {
        f"{folder}:mean-mask": 0.75 for folder in (run, tmp_path / "again")
    }


def test_metrics_that_no_row_has_are_left_out(runs: Path):
    metrics = gather([runs]).metrics()
    assert "iou" in metrics
    assert "dice" not in metrics
    assert not any(isnan(value) for values in metrics.values() for value in values.values())


def test_other_benchmarks_are_refused(runs: Path, change: Change):
    other = change(lambda summary: summary["settings"].update(seed=7))
    with pytest.raises(
        ValueError, match=r"another benchmark than .*: expected seed = 0, got 7\. Make a report for each"
    ):
        gather([runs, other])


def test_a_folder_without_a_run_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"holds no run: expected summary.json there or one folder below, got none"):
        gather([tmp_path])


@pytest.mark.parametrize(
    "key", ["failed", "skipped", "training_data_not_compared", "licenses", "annotators", "false_alarms"]
)
@pytest.mark.parametrize("value", [None, "text", [1], {"overall": 1, "a": 1}], ids=["none", "text", "list", "other"])
def test_notes_of_another_structure_are_told_in_one_line(change: Change, key: str, value: object) -> None:
    folder = change(lambda summary: summary.update({key: value}))
    with pytest.raises(ValueError, match=rf"summary\.json is no summary of a run: .*: {key}.* writes it anew\.$"):
        gather([folder])


@pytest.mark.parametrize("key", ["overall", "datasets", "tasks"])
def test_a_summary_without_scores_is_told_in_one_line(change: Change, key: str) -> None:
    folder = change(lambda summary: summary.update({key: {}}))
    with pytest.raises(ValueError, match=rf"summary\.json is no summary of a run: .*: {key}.* writes it anew\.$"):
        gather([folder])


@pytest.mark.parametrize("key", ["settings", "method", "overall", "datasets", "tasks", "counts"])
@pytest.mark.parametrize("value", [None, 1, {"a": 1}, {"a": {"b": "c"}}], ids=["gone", "number", "flat", "other"])
def test_another_structure_is_told_in_one_line(change: Change, key: str, value: object):
    def damage(summary: dict) -> None:
        del summary[key]
        if value is not None:
            summary[key] = value

    folder = change(damage)
    if (key, value) == ("counts", {"a": {"b": "c"}}):
        assert gather([folder]).seconds_per_query("a") is None
    else:
        with pytest.raises(ValueError, match=rf"summary\.json is no summary of a run: .*: {key}.* writes it anew\.$"):
            gather([folder])
