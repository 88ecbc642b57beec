"""Entries are of the whole list, of its images and examples, and of masks that there can be."""

import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from benchmarks.board.entry import Submission, rows_of
from benchmarks.board.verification import Candidate, asked_of, check_list, impossible, refuse_other_images
from benchmarks.plans.frozen_lists import FrozenList, FrozenTask
from benchmarks.scoring.metrics import measure
from benchmarks.scoring.results import Row

PATH = Path("entry.json")


@pytest.fixture
def candidate(entry: Submission) -> Candidate:
    return Candidate(PATH, entry, tuple(rows_of(PATH, entry)))


def test_an_entry_of_the_list_is_taken(candidate: Candidate, frozen: FrozenList) -> None:
    check_list(candidate, frozen)


def test_another_list_is_refused(candidate: Candidate, frozen: FrozenList) -> None:
    with pytest.raises(ValueError, match=r"entry\.json is of another list"):
        check_list(candidate, frozen.model_copy(update={"skipped": {"a/b/2d/c": "why"}}))


def test_training_on_its_datasets_is_refused(candidate: Candidate, frozen: FrozenList) -> None:
    about = candidate.entry.about.model_copy(update={"trained_on": ("circles", "Squares\N{ZERO WIDTH SPACE} ")})
    trained = replace(candidate, entry=candidate.entry.model_copy(update={"about": about}))
    with pytest.raises(ValueError, match=r"entry\.json was trained on squares"):
        check_list(trained, frozen)


@pytest.mark.parametrize("versions", [{}, {"incontext-seg": "1", "torch": "2", "numpy": " "}])
def test_an_entry_tells_what_it_was_computed_with(
    candidate: Candidate, frozen: FrozenList, versions: dict[str, str]
) -> None:
    silent = replace(candidate, entry=candidate.entry.model_copy(update={"versions": versions}))
    with pytest.raises(ValueError, match=r"does not tell what it was computed with: .* got none of .*numpy\."):
        check_list(silent, frozen)


def altered(candidate: Candidate, **fields: object) -> Candidate:
    first, *others = candidate.rows
    return replace(candidate, rows=(replace(first, **fields), *others))


def test_predictions_are_those_of_the_list(candidate: Candidate, frozen: FrozenList) -> None:
    with pytest.raises(ValueError, match="lacks predictions: expected 8, lacks squares/drawing/2d/square"):
        check_list(replace(candidate, rows=candidate.rows[1:]), frozen)
    with pytest.raises(ValueError, match="lacks predictions: expected 8"):
        check_list(replace(candidate, rows=()), frozen)
    more = (*candidate.rows, replace(candidate.rows[0], draw=7))
    with pytest.raises(ValueError, match="has unasked predictions: expected 8"):
        check_list(replace(candidate, rows=more), frozen)
    for fields in ({"support_size": 3}, {"support_hash": "00000000"}):
        with pytest.raises(ValueError, match="was shown other examples"):
            check_list(altered(candidate, **fields), frozen)


def test_no_row_counts_twice_or_for_another_dataset(candidate: Candidate, frozen: FrozenList) -> None:
    twice = (replace(candidate.rows[0], predictor="another", dice=1.0), *candidate.rows)
    with pytest.raises(ValueError, match="repeats predictions: expected 8 rows, got 9"):
        check_list(replace(candidate, rows=twice), frozen)
    with pytest.raises(ValueError, match="has a row of another dataset: expected squares, got easy"):
        check_list(altered(candidate, dataset="easy"), frozen)


def test_better_rows_are_no_masks(candidate: Candidate, frozen: FrozenList) -> None:
    better = min(1.0, candidate.rows[0].dice + 0.01)
    assert better != candidate.rows[0].dice
    with pytest.raises(ValueError, match="has a row that no mask has"):
        check_list(altered(candidate, dice=better), frozen)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0), (0.7, 2.5), (0.002, 0.001), (1 / 3, 1 / 3)])
def test_every_mask_is_possible(seed: int, spacing_mm: tuple[float, float]) -> None:
    generator = torch.Generator().manual_seed(seed)
    shares = torch.rand(40, 1, 1, 1, generator=generator).round(decimals=1)  # some empty, some full
    probabilities = torch.rand(40, 1, 64, 64, generator=generator) * shares * 2
    labels = torch.rand(40, 1, 64, 64, generator=generator) < shares.flip(0)
    for masks in (probabilities >= 0.5, labels, labels.roll(1, 3), labels & (torch.arange(64) < 40)):
        for values in measured(masks, labels, probabilities, spacing_mm):
            assert not impossible(row(**values))


def measured(
    masks: torch.Tensor, labels: torch.Tensor, probabilities: torch.Tensor, spacing_mm: tuple[float, float]
) -> list[dict[str, float]]:
    found = measure(masks, labels, probabilities, torch.tensor(spacing_mm).expand(len(masks), 2))
    shown = {name: values.double().round(decimals=6).tolist() for name, values in found.items()}
    shown |= {"mask_px": masks.sum((1, 2, 3)).tolist(), "label_px": labels.sum((1, 2, 3)).tolist()}
    return [dict(zip(shown, values, strict=True)) for values in zip(*shown.values(), strict=True)]


def row(**fields: float) -> Row:
    return Row("p", "d", "d/m/2d/l", "s", "c", 0, 2, "00000000", **fields)  # type: ignore[arg-type]


AREAS = {"mask_px": 100, "label_px": 100, "area_error": 0.0}
OVERLAP = {"dice": 0.5, "iou": 0.333333, "sensitivity": 0.5, "precision": 0.5}
DISTANCES = {"hd": 5.0, "hd95": 4.0, "assd": 1.0, "nsd_1": 0.6, "nsd_2": 0.8}
HALF = AREAS | OVERLAP | DISTANCES | {"ece": 0.1, "brier": 0.1}
SAME = {"dice": 1.0, "iou": 1.0, "sensitivity": 1.0, "precision": 1.0}
NEAR = {"hd": 0.0, "hd95": 0.0, "assd": 0.0, "nsd_1": 1.0, "nsd_2": 1.0}
MISSED = {"mask_px": 0, "area_error": -2.0, "dice": 0.0, "iou": 0.0, "sensitivity": 0.0, "precision": 0.0}
APART = {"hd": 90.0, "hd95": 90.0, "assd": 90.0, "nsd_1": 0.0, "nsd_2": 0.0}


@pytest.mark.parametrize("fields", [{}, SAME | NEAR, MISSED | APART, NEAR])
def test_such_rows_there_are(fields: dict[str, float]) -> None:
    assert not impossible(row(**HALF | fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"iou": 0.4},
        {"dice": 0.505},
        {"sensitivity": 0.6},
        {"precision": 0.6},
        {"dice": math.nan},
        {"precision": math.nan},
        {
            "mask_px": 10,
            "area_error": -1.636364,
            "dice": 0.909091,
            "iou": 0.833333,
            "sensitivity": 0.5,
            "precision": 5.0,
        },
        {"mask_px": 0, "label_px": 0},
        {"mask_px": 0, "area_error": -2.0, "dice": 1.0},
        {"area_error": 0.1},
        {"hd": 0.0},
        {"hd": math.inf},
        {"hd95": 6.0},
        {"hd95": math.nan},
        {"assd": 6.0},
        {"assd": 0.3},
        {"nsd_1": 0.9},
        {"nsd_1": 0.6, "nsd_2": 1.0},
        {"hd": 1.5, "hd95": 1.5},
        {"ece": math.nan},
        {"brier": math.inf},
        SAME,
        MISSED,
        MISSED | APART | {"hd95": 0.0},
        MISSED | APART | {"nsd_2": 1.0},
    ],
)
def test_other_rows_are_not(fields: dict[str, float]) -> None:
    assert impossible(row(**HALF | fields))


def test_an_entry_is_of_one_predictor(candidate: Candidate, frozen: FrozenList) -> None:
    with pytest.raises(ValueError, match=r"of several predictors: expected rows of one, got another 1, nearest-copy 1"):
        check_list(altered(candidate, predictor="another"), frozen)
    *rows, last = candidate.rows
    with pytest.raises(ValueError, match=r"of several predictors: .* got nearest-copy 1, nearest-copy 2"):
        check_list(replace(candidate, rows=(*rows, replace(last, ensemble=2))), frozen)


def test_ensembles_are_those_of_the_list(candidate: Candidate, frozen: FrozenList) -> None:
    known = {(row.task, row.case): row for row in candidate.rows}
    rows = tuple(
        replace(known[task, case], draw=draw, ensemble=2, **asdict(asked))
        for (task, case, draw), asked in asked_of(frozen, 2).items()
    )
    with pytest.raises(ValueError, match="ensembles that the list does not ask for: expected means of 1 draws, got 2"):
        check_list(replace(candidate, rows=rows), frozen)
    asking = frozen.model_copy(update={"settings": replace(frozen.settings, ensemble=2)})
    entry = candidate.entry.model_copy(update={"list_sha256": asking.hash})
    check_list(replace(candidate, entry=entry, rows=rows), asking)


@pytest.mark.parametrize("date", ["", "later", "2026-02-31", "20260101", "x" * 1000])
def test_a_date_is_a_date(candidate: Candidate, frozen: FrozenList, date: str) -> None:
    dated = replace(candidate, entry=candidate.entry.model_copy(update={"date": date}))
    with pytest.raises(ValueError, match=r"entry\.json has no date: expected one like 2026-01-31, got"):
        check_list(dated, frozen)


def test_ensembles_are_asked_once_for_their_draws(frozen: FrozenList) -> None:
    episodes = ((0, 0, (1, 2)), (0, 1, (2, 3)), (0, 2, (1, 3)), (0, 3, (1, 2)))
    task = FrozenTask(cases=("a", "b", "c", "d"), episodes=episodes)
    asked = asked_of(frozen.model_copy(update={"tasks": {"t": task}}), 2)
    assert {name: each.support_size for name, each in asked.items()} == {("t", "a", 0): 4, ("t", "a", 1): 4}
    assert len(asked_of(frozen.model_copy(update={"tasks": {"t": task}}), 1)) == 4


def test_the_images_of_most_entries_count(candidate: Candidate) -> None:
    task, cases = next(iter(candidate.entry.contents.items()))
    contents = {task: {**cases, next(iter(cases)): "00000000"}}
    other = Candidate(Path("other.json"), candidate.entry.model_copy(update={"contents": contents}), candidate.rows)
    third = replace(candidate, path=Path("third.json"))
    assert list(refuse_other_images([other, candidate, third])) == [Path("other.json")]
    assert list(refuse_other_images([candidate, other])) == [Path("other.json")]
    other_label = altered(candidate, label_px=candidate.rows[0].label_px + 1)
    assert list(refuse_other_images([other_label, third, replace(third, path=Path("fourth.json"))])) == [PATH]
    assert refuse_other_images([]) == {}
