"""Cells of text are harmless in a spreadsheet, and come back as they were."""

import csv
import io
import json
from pathlib import Path

import pytest

from benchmarks.analysis.statistics import Interval
from benchmarks.analysis.summary import write_task_csv
from benchmarks.experiments.bench import Coordinates, Findings, Point
from benchmarks.experiments.finding_tables import comma_separated
from benchmarks.scoring.results import Row, append_rows, read_rows
from megamed.cells import original, safe, safe_line

NAMES = [
    "=1+1",
    "+1",
    "@sum",
    "-2+3",
    "'=x",
    "''=x",
    "'quoted'",
    "a\nb",
    "\t=1",
    "\r\n",
    "\x1b[31m",
    "\x7f",
    "心",
    "p1",
]
HARMFUL = tuple("=+@-\t\r\n\x1b")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_harmless_and_comes_back(name: str) -> None:
    assert not safe(name).startswith(HARMFUL)
    assert safe(name).isprintable()
    assert original(safe(name)) == name


def test_plain_names_and_numbers_stay() -> None:
    assert safe_line(["heart/mr/axial/lv", "p1:0", "-0.25", "nan", -1, 0.5]) == [
        *("heart/mr/axial/lv", "p1:0", "-0.25", "nan"), -1, 0.5
    ]  # fmt: skip


def test_rows_of_strange_names_survive_the_file(tmp_path: Path) -> None:
    rows = [Row(name, "d", "d/m/2d/l", name, name, 0, 1, "0a1b2c3d", 1, 1, 0.5) for name in NAMES]
    append_rows(tmp_path / "rows.csv", rows)
    assert [row.key for row in read_rows(tmp_path / "rows.csv")] == [row.key for row in rows]
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 1 + len(rows)


def cells(text: str) -> list[str]:
    return [cell for line in csv.reader(io.StringIO(text, newline="")) for cell in line]


def test_the_other_tables_are_harmless(tmp_path: Path) -> None:
    value = {"mean": 0.5, "low": 0.4, "high": 0.6}
    row = Row("=p", "=d", "=d/m/2d/l", "s", "c", 0, 1, "0a1b2c3d", 1, 1, 0.5)
    write_task_csv(tmp_path / "summary.csv", [row], {"tasks": {row.task: {row.predictor: value}}})
    point = Point(Coordinates("=x", "+series", "@panel"), Interval(0.5, 0.4, 0.6), about="-a\nb")
    for text in ((tmp_path / "summary.csv").read_text(), comma_separated(Findings([point], {}))):
        assert json.dumps([cell for cell in cells(text) if cell.startswith(HARMFUL)]) == "[]"
        assert "'=" in text
