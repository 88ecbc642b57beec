"""Entries come back as they were sealed, or are refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.board.entry import About, Submission, about_of, make_entry, read_entry, rows_of, write_entry
from benchmarks.plans.frozen_lists import FrozenList
from benchmarks.scoring.results import append_rows, read_rows


def test_an_entry_comes_back_with_the_rows_of_its_predictor(entry: Submission, run: Path, tmp_path: Path) -> None:
    write_entry(tmp_path / "entry.json", entry)
    assert read_entry(tmp_path / "entry.json") == entry
    expected = [row for row in read_rows(run / "rows.csv") if row.predictor == "nearest-copy"]
    assert list(map(repr, rows_of(tmp_path, entry))) == list(map(repr, expected))  # NaN is no equal of its own
    assert entry.predictions == len(expected) == 8


def changed(value: Any) -> Any:
    if isinstance(value, dict):
        key = next(iter(value), "new")
        return {**value, key: changed(value.get(key, ""))}
    if isinstance(value, list):
        return [*value, "more"]
    return value + 1 if isinstance(value, float) else f"{value}x"


@pytest.mark.parametrize("field", [name for name in Submission.model_fields if name not in ("format", "about")])
def test_a_change_of_any_field_is_refused(entry: Submission, field: str, tmp_path: Path) -> None:
    plain = entry.model_dump(mode="json")
    (tmp_path / "entry.json").write_text(json.dumps(plain | {field: changed(plain[field])}))
    with pytest.raises(ValueError, match=r"entry\.json (was changed|is not signed)"):
        read_entry(tmp_path / "entry.json")


def test_a_changed_row_is_refused_also_with_its_hash_made_anew(entry: Submission, tmp_path: Path) -> None:
    row = entry.rows.splitlines()[1]
    forged = entry.model_copy(update={"rows": entry.rows.replace(row, row.replace(",0.", ",0.9", 1))})
    hashed = forged.sealed(Ed25519PrivateKey.generate()).sha256
    write_entry(tmp_path / "entry.json", forged.model_copy(update={"sha256": hashed}))
    with pytest.raises(ValueError, match=r"entry\.json was changed"):
        read_entry(tmp_path / "entry.json")
    other = forged.sealed(Ed25519PrivateKey.generate())
    write_entry(tmp_path / "other.json", other.model_copy(update={"signature": entry.signature}))
    with pytest.raises(ValueError, match=r"other\.json is not signed by its key"):
        read_entry(tmp_path / "other.json")


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"<html>", b"\xff\xfe", b'{"format": "another"}'])
def test_what_is_no_entry_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "entry.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"entry\.json is no entry: .*Make one with `incontext-bench submit`"):
        read_entry(tmp_path / "entry.json")


def test_it_is_told_what_a_predictor_was_trained_on(run: Path, frozen: FrozenList, tmp_path: Path) -> None:
    assert make_entry(run, frozen, "mean-mask", About(name="mean")).about.trained_on is None
    told = make_entry(run, frozen, "mean-mask", about_of(name="mean", trained_on=["b", "a"]))
    assert told.about.trained_on == ("a", "b")
    assert about_of(name="mean", trained_on=["nothing"]).trained_on == ()


@pytest.mark.parametrize(
    "told",
    [
        {"name": " "},
        {"name": "x" * 61},
        {"name": "a\nb"},
        {"name": "a\x1b[31m"},
        {"name": "\N{HANGUL FILLER}"},
        {"name": "a", "link": "ftp://b"},
        {"name": "a", "by": "b\0"},
        {"name": "a", "note": "\N{RIGHT-TO-LEFT OVERRIDE}b"},
    ],
)
def test_no_entry_is_described_in_a_way_that_a_page_cannot_show(told: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="The entry cannot be described so"):
        about_of(trained_on=None, **told)


def test_nothing_is_not_said_beside_datasets() -> None:
    with pytest.raises(ValueError, match=r"--trained-on contradicts itself: .* got it beside b"):
        about_of(name="mean", trained_on=["nothing", "b"])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fingerprint", "f" * 201),
        ("date", "2026\n"),
        ("versions", {"torch": "2\0"}),
        ("costs", {"seconds_per_query": 1e300}),
    ],
)
def test_what_no_page_can_show_is_no_entry(entry: Submission, field: str, value: Any, tmp_path: Path) -> None:
    (tmp_path / "entry.json").write_text(json.dumps(entry.model_dump(mode="json") | {field: value}))
    with pytest.raises(ValueError, match=rf"entry\.json is no entry: {field}"):
        read_entry(tmp_path / "entry.json")


def test_an_ensemble_was_trained_on_what_its_predictor_was(run: Path, frozen: FrozenList, tmp_path: Path) -> None:
    for name in ("rows.csv", "costs.csv", "settings.json", "summary.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    rows = [row for row in read_rows(run / "rows.csv") if row.predictor == "mean-mask" and not row.draw]
    means = [replace(row, predictor="mean-mask-x2", ensemble=2) for row in rows]
    settings, summary = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("settings", "summary"))
    append_rows(tmp_path / "rows.csv", means)
    summary["predictors"]["mean-mask"]["provenance"] = {"datasets": ["squares"]}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    single, mean = (make_entry(tmp_path, frozen, name, About(name="a")) for name in ("mean-mask", "mean-mask-x2"))
    assert mean.about.trained_on == single.about.trained_on == ("squares",)
    assert mean.fingerprint == settings["predictors"]["mean-mask"]
    seconds = single.costs.seconds_per_query or 0
    assert mean.costs.seconds_per_query == pytest.approx(2 * seconds, abs=1e-6)


def test_a_folder_without_a_run_is_named(frozen: FrozenList, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no results: expected settings\.json there"):
        make_entry(tmp_path / "none", frozen, None, About(name="a"))


def test_runs_of_another_list_or_predictor_are_refused(run: Path, frozen: FrozenList) -> None:
    with pytest.raises(ValueError, match="was not scored by this list"):
        make_entry(run, frozen.model_copy(update={"plan_hash": "0"}), "mean-mask", About(name="a"))
    for name in ("median-mask", None):
        with pytest.raises(ValueError, match="expected one of mean-mask, nearest-copy"):
            make_entry(run, frozen, name, About(name="a"))
