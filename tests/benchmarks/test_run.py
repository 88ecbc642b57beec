"""A whole run: from a collection to rows, summary and table; stopped and taken up again."""

import csv
import io
import json
import os
import random
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import count as counting
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from rich.console import Console

from benchmarks import run as runs
from benchmarks.analysis.summary import score_table
from benchmarks.plans.task_plans import Settings
from benchmarks.scoring import results
from benchmarks.scoring.evaluator import Execution
from benchmarks.scoring.results import Candidates, Row, read_records
from megamed import Collection

SETTINGS = Settings(support_size=4, draws=2, queries=6)
BY_FOUR = Execution(batch_size=4, report_seconds=0.0)


@pytest.fixture
def run(drawings: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`run(out, settings, names, **options)` on the drawn collection."""
    (tmp_path / "manifest.json").write_text("{}")
    monkeypatch.setattr(runs, "Collection", lambda path: drawings)

    def run_drawings(
        out: str,
        settings: Settings = SETTINGS,
        names: Iterable[str] = ("nearest-copy", "mean-mask"),
        **options: Any,
    ) -> Any:
        return runs.run_benchmark(tmp_path, settings, list(names), tmp_path / out, BY_FOUR, **options)

    return run_drawings


def killed_after(batches: int) -> Any:
    """Progress tracking that stops the run after some batches."""

    def track(source: Iterable[list[Row]], total: int) -> Iterator[list[Row]]:
        for count, rows in enumerate(source):
            if count == batches:
                raise KeyboardInterrupt
            yield rows

    return track


def test_summary_holds_what_was_asked(run: Any, tmp_path: Path) -> None:
    summary = run("out")
    assert summary == json.loads((tmp_path / "out/summary.json").read_text())
    assert list(summary["overall"]) == ["nearest-copy", "mean-mask"]
    for value in summary["overall"].values():
        assert 0 <= value["low"] <= value["mean"] <= value["high"] <= 1
    gain = summary["overall"]["nearest-copy"]["mean"] - summary["overall"]["mean-mask"]["mean"]
    assert summary["difference"]["minus"]["mean-mask"]["mean"] == pytest.approx(gain)
    assert summary["counts"]["mean-mask"]["rows"] == 12
    assert summary["settings"]["support_size"] == 4
    assert summary["licenses"] == {"cells": "CC0-1.0"}
    assert summary["skipped"] == {"lonely/drawing/2d/disc": "needs 2 labelled subjects, has 1"}
    with (tmp_path / "out/summary.csv").open() as file:
        assert [(line["task"], line["subjects"]) for line in csv.DictReader(file)] == [
            ("cells/drawing/2d/disc", "6")
        ] * 2


def test_false_alarms_are_counted_apart_from_dice(
    sparse: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    monkeypatch.setattr(runs, "Collection", lambda path: sparse)
    plain, asked = (
        runs.run_benchmark(tmp_path, settings, ["nearest-copy", "mean-mask"], tmp_path / str(settings.absent), BY_FOUR)
        for settings in (SETTINGS, replace(SETTINGS, absent=4))
    )
    assert "false_alarms" not in plain
    assert asked["overall"] == plain["overall"]
    alarms = asked["false_alarms"]["overall"]
    assert alarms["nearest-copy"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "subjects": 4}
    with (tmp_path / "4/summary.csv").open() as file:
        assert next(csv.DictReader(file))["false_alarms"] == "1.0000"
    console = Console(file=io.StringIO(), width=200)
    console.print(score_table(asked))
    assert "false alarms, % of the queries without it │ 4 │ 100.0 (100.0, 100.0)" in console.file.getvalue()


@pytest.mark.parametrize("ensemble", [1, 2])
@pytest.mark.parametrize("batches", [0, 1, 4])
def test_a_killed_run_goes_on_to_the_same_files(run: Any, tmp_path: Path, batches: int, ensemble: int) -> None:
    settings = replace(SETTINGS, ensemble=ensemble)
    run("whole", settings)
    with pytest.raises(KeyboardInterrupt):
        run("killed", settings, track=killed_after(batches))
    with (tmp_path / "killed/rows.csv").open("a") as file:
        file.write("nearest-copy,cel")
    run("killed", settings)
    for name in ("rows.csv", "summary.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert without_costs(tmp_path / "killed") == without_costs(tmp_path / "whole")


def test_several_annotators_are_told_of(
    run: Any, annotated: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "annotators" not in run("other")
    assert not (tmp_path / "other/candidates.csv").exists()
    monkeypatch.setattr(runs, "Collection", lambda path: annotated)
    summary = run("whole")
    found = read_records(tmp_path / "whole/candidates.csv", Candidates)
    assert {(each.task, each.annotators) for each in found} == {("cells/drawing/2d/disc", 2)}
    by_subject: dict[str, list[float]] = {}
    for each in found:
        if each.predictor == "mean-mask":
            by_subject.setdefault(each.subject, []).append(each.energy_distance)
    told = summary["annotators"]["energy_distance"]["cells"]["mean-mask"]
    assert told["mean"] == pytest.approx(fmean(map(fmean, by_subject.values())))
    assert told["low"] < told["mean"] < told["high"]
    with pytest.raises(KeyboardInterrupt):
        run("killed", track=killed_after(2))
    run("killed")
    for name in ("rows.csv", "candidates.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def without_costs(out: Path) -> dict[str, Any]:
    """A summary, but for what differs from run to run."""
    summary = json.loads((out / "summary.json").read_text())
    for counts in summary["counts"].values():
        for name in ("seconds_per_query", "peak_mb", "batch"):
            assert counts.pop(name) >= 0
    return summary


def test_a_finished_run_computes_nothing_and_takes_a_new_predictor(run: Any) -> None:
    computed: list[int] = []

    def count(source: Iterable[list[Row]], total: int) -> list[list[Row]]:
        batches = list(source)
        computed.append(sum(map(len, batches)))
        assert computed[-1] == total
        return batches

    for names in (["mean-mask"], ["mean-mask"], ["mean-mask", "nearest-copy"]):
        run("out", names=names, track=count)
    assert computed == [12, 0, 12]


def test_a_large_table_is_read_at_the_start_and_at_the_end_alone(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run("out")
    read: list[str] = []
    parse = results.parse_records

    def noting(path: Path, content: bytes, kind: Any) -> Any:
        read.append(path.name)
        return parse(path, content, kind)

    monkeypatch.setattr(results, "parse_records", noting)
    run("out")
    assert read.count("rows.csv") == 2


def test_ensembles_are_reported_beside_single_draws(run: Any) -> None:
    totals: list[int] = []

    def watch(source: Iterable[list[Row]], total: int) -> Iterable[list[Row]]:
        totals.append(total)
        return source

    summary = run("out", replace(SETTINGS, ensemble=2), track=watch)
    assert list(summary["overall"]) == ["nearest-copy", "nearest-copy-x2", "mean-mask", "mean-mask-x2"]
    assert totals == [2 * (12 + 6)]
    counts = summary["counts"]["nearest-copy-x2"]
    assert (counts["rows"], counts["label_budget"]) == (6, 8)
    assert summary["counts"]["nearest-copy"]["label_budget"] == 4
    assert list(summary["difference"]["minus"]) == ["nearest-copy-x2", "mean-mask", "mean-mask-x2"]
    with pytest.raises(ValueError, match="expected ensemble = 2, got 1"):
        run("out")


def test_other_settings_are_refused(run: Any) -> None:
    run("out")
    with pytest.raises(ValueError, match="expected support_size = 4, got 5"):
        run("out", replace(SETTINGS, support_size=5))


def test_table_shows_datasets_the_mean_and_the_difference(run: Any) -> None:
    console = Console(width=120, file=io.StringIO())
    console.print(score_table(run("out")))
    text = console.file.getvalue()
    for words in ("cells", "mean over datasets", "nearest-copy minus it", "mean-mask"):
        assert words in text


def calls_until_killed(work: Callable[[], object], last: int | None = None) -> int:
    """Do some work, and count the functions that it calls; this process kills itself at the `last`."""
    calls = counting(1)

    def counted(_frame: object, event: str, _argument: object) -> None:
        if event in ("call", "c_call") and next(calls) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(None)
    return next(calls)


def test_ten_kills_leave_what_an_undisturbed_run_writes(run: Any, tmp_path: Path) -> None:
    """Killed for real, wherever it may be, from before the first row to after the last."""
    settings = replace(SETTINGS, draws=4, queries=6)
    total = calls_until_killed(partial(run, "whole", settings))
    moments, exits = random.Random(0), []
    for _ in range(10):
        arguments = (partial(run, "killed", settings), moments.randrange(1, total))
        child = get_context("fork").Process(target=calls_until_killed, args=arguments)
        child.start()
        child.join()
        exits.append(child.exitcode)
    assert exits[0] == -signal.SIGKILL
    run("killed", settings)
    assert (tmp_path / "killed/rows.csv").read_bytes() == (tmp_path / "whole/rows.csv").read_bytes()


def test_who_fails_is_named_and_nobody_else_is_harmed(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(FAILING)
    monkeypatch.syspath_prepend(tmp_path)
    names = ["mean-mask", "mine:crash", "mine:not_a_number"]
    summary = run("out", names=names)
    assert summary["failed"] == {
        "mine:crash": {"cells/drawing/2d/disc": "ZeroDivisionError: division by zero"},
        "mine:not_a_number": {
            "cells/drawing/2d/disc": "ValueError: Logits of predictor 'mine:not_a_number' are broken: "
            "expected numbers, got NaN. Check its weights."
        },
    }
    assert summary["overall"] == run("alone", names=["mean-mask"])["overall"]
    with pytest.raises(ValueError, match=r"Every predictor failed on every task: .*mine:crash on cells/.*division"):
        run("other", names=["mine:crash"])


FAILING = """
def crash(query_images, support_images, support_labels):
    return 1 / 0

def not_a_number(query_images, support_images, support_labels):
    return query_images * float("nan")
"""


def test_each_support_size_has_a_folder() -> None:
    assert runs.result_folders(None, "dev", [1, 4]) == {1: Path("runs/dev-S1"), 4: Path("runs/dev-S4")}
    assert runs.result_folders(Path("out"), "dev", [1, 4]) == {1: Path("out/S1"), 4: Path("out/S4")}
    assert runs.result_folders(Path("out"), "dev", [4]) == {4: Path("out")}


def test_a_list_leaves_nothing_to_set(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="The list decides what is scored"):
        runs.run_sizes(tmp_path, [Settings(seed=1)], [], None, Execution(), tmp_path / "list.json")


def test_failures_of_all_sizes_are_gathered() -> None:
    summaries = [{"failed": {"ours": {"a": "why"}}}, {"failed": {"ours": {"b": "because"}}}]
    assert runs.failures(summaries) == {("ours", "a"): "why", ("ours", "b"): "because"}
