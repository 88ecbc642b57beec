"""Rows survive files, kills and changed settings."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scoring.results import Row, append_rows, claim_folder, drop_torn_line, read_rows, shared_rows

METRICS = (0.123456, 0.07, 0.1, 0.2, -0.25, 9.5, 4.123106, 2.5, 0.3, 0.4, 0.0123, 0.0456)
ROWS = [
    Row("ours", "heart", "heart/mr/axial/lv", 'p1, "left"', f"p1:{image}", draw, 4, "0a1b2c3d", 90, 81, *METRICS)
    for image in range(2)
    for draw in range(3)
]


def test_rows_survive_the_file(tmp_path: Path) -> None:
    append_rows(tmp_path / "rows.csv", ROWS[:4])
    append_rows(tmp_path / "rows.csv", ROWS[4:])
    assert read_rows(tmp_path / "rows.csv") == ROWS


def test_no_file_no_rows(tmp_path: Path) -> None:
    assert read_rows(tmp_path / "rows.csv") == []


def test_a_torn_line_is_dropped_and_appending_goes_on(tmp_path: Path) -> None:
    whole, torn = tmp_path / "whole.csv", tmp_path / "torn.csv"
    append_rows(whole, ROWS)
    lines = whole.read_bytes().splitlines(keepends=True)
    torn.write_bytes(b"".join(lines[:3]) + lines[3][:20])
    assert read_rows(torn) == ROWS[:2]
    drop_torn_line(torn)
    append_rows(torn, ROWS[2:])
    assert torn.read_bytes() == whole.read_bytes()


def test_a_torn_header_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("predictor,data")
    drop_torn_line(path)
    append_rows(path, ROWS)
    assert read_rows(path) == ROWS


def test_another_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("name,age\nada,36\n")
    with pytest.raises(ValueError, match=r"rows\.csv has the wrong columns: expected"):
        read_rows(tmp_path / "rows.csv")


def test_a_folder_belongs_to_its_settings_and_takes_new_predictors(tmp_path: Path) -> None:
    claim_folder(tmp_path / "run", {"seed": 0}, {"ours": "abc"})
    claim_folder(tmp_path / "run", {"seed": 0}, {"mean-mask": "mean-mask"})
    claim_folder(tmp_path / "run", {"seed": 0}, {"ours": "abc"})
    with pytest.raises(ValueError, match=r"run holds results of another run: expected seed = 0, got 1\."):
        claim_folder(tmp_path / "run", {"seed": 1}, {"ours": "abc"})
    with pytest.raises(ValueError, match="expected predictor ours = abc, got def"):
        claim_folder(tmp_path / "run", {"seed": 0}, {"ours": "def"})


def test_a_folder_of_before_goes_on_as_what_it_was(tmp_path: Path) -> None:
    """It does not say that its supports were per query, since there was nothing else."""
    (tmp_path / "settings.json").write_text('{"seed": 0, "predictors": {}}')
    claim_folder(tmp_path, {"seed": 0, "supports": "per-query"}, {})
    with pytest.raises(ValueError, match="expected supports = per-query, got shared"):
        claim_folder(tmp_path, {"seed": 0, "supports": "shared"}, {})


def test_runs_are_compared_on_what_they_share(tmp_path: Path) -> None:
    for name, rows in (("a", ROWS[:4]), ("b", [replace(row, dice=0.5) for row in ROWS[2:]])):
        (tmp_path / name).mkdir()
        append_rows(tmp_path / name / "rows.csv", rows)
    shared = shared_rows([tmp_path / "a", tmp_path / "b"])
    assert [row.predictor for row in shared] == [f"{tmp_path / name}:ours" for name in "aabb"]
    assert {row.key[1:] for row in shared} == {row.key[1:] for row in ROWS[2:4]}


def test_ensembles_are_compared_beside_single_draws(tmp_path: Path) -> None:
    together = [
        replace(row, predictor="ours-x3", draw=0, ensemble=3, support_hash="ffff0000") for row in ROWS if row.draw == 0
    ]
    others = [replace(row, predictor="copy") for row in ROWS if row.case == "p1:1"]
    for name, rows in (("a", [*ROWS, *together]), ("b", others)):
        (tmp_path / name).mkdir()
        append_rows(tmp_path / name / "rows.csv", rows)
    assert len(shared_rows([tmp_path / "a"])) == 6 + 2
    shared = shared_rows([tmp_path / "a", tmp_path / "b"])
    assert {row.predictor: row.ensemble for row in shared} == {"ours": 1, "ours-x3": 3, "copy": 1}
    assert {row.case for row in shared} == {"p1:1"}
    assert len(shared) == 3 + 1 + 3


def test_runs_with_nothing_in_common_are_refused(tmp_path: Path) -> None:
    for name, rows in (("a", ROWS[:3]), ("b", ROWS[3:])):
        (tmp_path / name).mkdir()
        append_rows(tmp_path / name / "rows.csv", rows)
    with pytest.raises(ValueError, match="share no prediction"):
        shared_rows([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(ValueError, match="has no results"):
        shared_rows([tmp_path / "a", tmp_path / "missing"])
