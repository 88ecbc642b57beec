"""Results as text."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.analysis.summary import percent
from benchmarks.reports import FORMATS, Results, gather
from benchmarks.reports.page import render

Change = Callable[[Callable[[dict], object]], Path]


@pytest.fixture(scope="module")
def results(runs: Path) -> Results:
    return gather([runs])


def test_markdown_has_both_tables_and_the_hashes(results: Results):
    text = FORMATS["markdown"](results)
    first, second = results.ranking
    assert f"| examples per query | subjects | {first} | {second} |\n| --- | ---: | ---: | ---: |\n| 1 | " in text
    scores = results.main.summary["tasks"]["squares/drawing/2d/square"]
    subjects = scores[first]["subjects"]
    assert subjects > 1
    assert f"| squares/drawing/2d/square | {subjects} | {percent(scores[first])} | {percent(scores[second])} |" in text
    assert all(each.plan_hash in text for each in results.sizes.values())
    assert results.settings["collection_sha256"] in text


@pytest.mark.parametrize("form", ["markdown", "latex"])
def test_licences_are_told(results: Results, form: str) -> None:
    assert "icences: squares (CC0); tiles (CC0)" in FORMATS[form](results)
    assert "<dt>squares</dt><dd>CC0</dd>" in render(results)


def test_csv_is_long(results: Results):
    lines = list(csv.DictReader(FORMATS["csv"](results).splitlines()))
    assert len(lines) == 2 * 2 * (1 + 2 + 2)  # sizes, predictors, levels
    for line in lines:
        if (line["support_size"], line["level"], line["predictor"]) == ("3", "overall", "mean-mask"):
            assert float(line["dice"]) == pytest.approx(results.main.summary["overall"]["mean-mask"]["mean"], abs=1e-4)


def test_false_alarms_have_a_column_in_csv_and_a_table_elsewhere(change: Change) -> None:
    share, task = {"mean": 0.25, "low": 0.0, "high": 0.5, "subjects": 4}, "squares/drawing/2d/square"
    alarms = {"overall": {"mean-mask": share}, "tasks": {task: {"mean-mask": share}}}
    results = gather([change(lambda summary: summary.update(false_alarms=alarms))])
    lines = csv.DictReader(FORMATS["csv"](results).splitlines())
    told = {(line["name"], line["predictor"]): line["false_alarms"] for line in lines}
    assert told["", "mean-mask"] == told[task, "mean-mask"] == "0.2500"
    assert told["", "nearest-copy"] == told["squares", "mean-mask"] == ""
    assert f"| {task} | 4 | – | 25.0 (0.0, 50.0) |" in FORMATS["markdown"](results)
    assert "False alarms, \\% of the queries" in FORMATS["latex"](results)
    assert '<td data-value="25.0">25.0 (0.0, 50.0)</td>' in render(results)


def test_latex_escapes(results: Results):
    renamed = {"a_b&c": results.main.summary["overall"]["mean-mask"]}
    summary = results.main.summary | {"overall": renamed, "tasks": {"d_1/mr/2d/50%": renamed}}
    main = type(results.main)(summary, (), "hash")
    text = FORMATS["latex"](type(results)(results.settings, {3: main}, {}, {}))
    assert r"a\_b\&c" in text
    assert r"d\_1/mr/2d/50\% & " in text
    assert text.count(r"\begin{tabular}{lrr}") == text.count(r"\end{tabular}") == 2
