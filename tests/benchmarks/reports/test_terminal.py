"""Tables are wide enough for a pipe, and progress passes everything through."""

import json

import pytest
from rich.table import Table

from benchmarks.analysis.summary import size_table
from benchmarks.reports.terminal import show_json, show_tables, with_progress


def test_a_pipe_gets_a_wide_table(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("a predictor of a long name", *(f"column {number} of ten" for number in range(5)))
    show_tables(table, table)
    shown = capsys.readouterr().out
    assert shown.count("a predictor of a long name") == 2
    assert max(map(len, shown.splitlines())) > 80


def test_json_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"a": [1, 2]})
    assert json.loads(capsys.readouterr().out) == {"a": [1, 2]}


def test_progress_passes_batches_through_and_is_told_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(with_progress([[], []], 0)) == [[], []]
    captured = capsys.readouterr()
    assert not captured.out
    assert "scoring" in captured.err


def test_names_are_told_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["runs:brain:net", "runs[old]:ours", "[/b]", "_".join(["long"] * 30)]
    scores = {name: {"mean": 0.5, "low": 0.4, "high": 0.6, "subjects": 3} for name in names}
    show_tables(size_table({4: {"overall": scores}}))
    lines = [line.split("┃") for line in capsys.readouterr().out.splitlines() if line.startswith("┃")]
    shown = ["".join(cell.strip() for cell in column) for column in zip(*lines, strict=True)]
    assert shown[-5:-1] == names
