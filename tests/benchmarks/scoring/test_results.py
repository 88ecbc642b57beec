"""Rows survive files, kills and changed settings."""

import csv
import os
from dataclasses import replace
from math import isnan
from pathlib import Path

import pytest

from benchmarks.scoring.results import (
    Row,
    append_rows,
    claim_folder,
    claimed,
    drop_torn_line,
    prepare_table,
    read_rows,
    shared_rows,
)

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


@pytest.mark.parametrize(
    ("name", "value"), [("dice", 1.1), ("nsd_1", 5.0), ("ece", -3.0), ("brier", 1.5), ("hd", -1.0), ("area_error", 2.5)]
)
def test_a_value_that_no_metric_has_is_refused(tmp_path: Path, name: str, value: float) -> None:
    append_rows(tmp_path / "rows.csv", [replace(ROWS[0], **{name: value})])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"rows.csv is damaged in line 2: expected {name} from "):
        read_rows(tmp_path / "rows.csv")


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


def rewritten(path: Path, without: str = "", added: str = "") -> list[dict[str, str]]:
    """Change the columns of a table as another version would have written it; its lines as they are then."""
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    for line in lines:
        line.pop(without, None)
        line.update({added: "0.5"} if added else {})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return lines


def test_rows_from_before_a_metric_are_read_and_lack_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    append_rows(path, ROWS)
    rewritten(path, without="nsd_2")
    found = read_rows(path)
    assert all(isnan(row.nsd_2) for row in found)
    assert [replace(row, nsd_2=each.nsd_2) for row, each in zip(found, ROWS, strict=True)] == ROWS


def test_a_table_from_before_a_metric_goes_on_with_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "rows.csv"
    append_rows(path, ROWS[:3])
    rewritten(path, without="nsd_2")
    prepare_table(path, Row)
    assert "rows.csv: 3 rows of an earlier version lack nsd_2" in caplog.text
    append_rows(path, ROWS[3:])
    assert [isnan(row.nsd_2) for row in read_rows(path)] == [True] * 3 + [False] * 3
    caplog.clear()
    content = path.read_bytes()
    prepare_table(path, Row)
    assert not caplog.text
    assert path.read_bytes() == content


def test_a_table_of_a_later_version_is_read_and_never_written(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    append_rows(path, ROWS)
    rewritten(path, added="topology")
    assert read_rows(path) == ROWS
    with pytest.raises(ValueError, match=r"rows\.csv was written by a later version: .* got also \['topology'\]"):
        prepare_table(path, Row)


def test_a_damaged_cell_is_named_by_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    append_rows(path, ROWS[:2])
    path.write_text(path.read_text().replace("0.123456", "naught"))
    with pytest.raises(ValueError, match=r"rows\.csv is damaged in line 2: .*'naught'.* Restore it"):
        read_rows(path)


@pytest.mark.parametrize("content", ["", '{"seed": 0', '{"seed": 0}', "[]"])
def test_damaged_settings_are_named_with_the_remedy(tmp_path: Path, content: str) -> None:
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(ValueError, match=r"settings\.json is damaged: .* Restore it from a copy, or choose another"):
        claim_folder(tmp_path, {"seed": 0}, {})


def test_settings_are_written_under_the_lock_and_all_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    with claimed(folder, {"seed": 0}, {"ours": "abc"}):
        settings = (folder / "settings.json").read_text()
        with pytest.raises(ValueError, match="expected to run there alone"), claimed(folder, {"seed": 0}, {"it": "d"}):
            pass
        assert (folder / "settings.json").read_text() == settings

    def full(_: int) -> None:
        msg = "disk full"
        raise OSError(msg)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"), claimed(folder, {"seed": 0}, {"other": "abc"}):
        pass
    assert (folder / "settings.json").read_text() == settings


def test_rows_without_their_settings_are_not_added_to(tmp_path: Path) -> None:
    claim_folder(tmp_path, {"seed": 0}, {})
    (tmp_path / "rows.csv").touch()
    (tmp_path / "settings.json").unlink()
    with pytest.raises(ValueError, match="rows of unknown settings"):
        claim_folder(tmp_path, {"seed": 5}, {})


@pytest.mark.parametrize("name", ["summary.json", "summary.csv"])
def test_a_summary_of_somebody_else_is_not_replaced(tmp_path: Path, name: str) -> None:
    for known in (False, True):
        if known:
            with claimed(tmp_path, {"seed": 0}, {}):
                pass
        (tmp_path / name).write_text("mine")
        refused = pytest.raises(ValueError, match=rf"{name} is somebody's own: .* Move it away, or write elsewhere")
        with refused, claimed(tmp_path, {"seed": 0}, {}):
            pass
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()


def test_a_full_disk_ends_a_run_which_goes_on_later(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with claimed(tmp_path, {"seed": 0}, {}):
        append_rows(tmp_path / "rows.csv", ROWS[:1])
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "rows.csv").stat().st_size + 50, before[1]))
        try:
            with pytest.raises(OSError, match=r"rows\.csv cannot be written: .* then give the same command again\."):
                append_rows(tmp_path / "rows.csv", ROWS[1:])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert read_rows(tmp_path / "rows.csv") == ROWS[:1]
    with claimed(tmp_path, {"seed": 0}, {}):
        append_rows(tmp_path / "rows.csv", ROWS[1:])
    assert read_rows(tmp_path / "rows.csv") == ROWS
