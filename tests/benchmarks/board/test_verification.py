"""Entries are of the whole list, of its images and examples, and of masks that there can be."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.board.entry import Submission, rows_of
from benchmarks.board.verification import Candidate, asked_of, check_list, impossible, refuse_other_images
from benchmarks.plans.frozen_lists import FrozenList, FrozenTask
from benchmarks.scoring.metrics import overlap_measures
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
    about = candidate.entry.about.model_copy(update={"trained_on": ("circles", "squares")})
    trained = replace(candidate, entry=candidate.entry.model_copy(update={"about": about}))
    with pytest.raises(ValueError, match=r"entry\.json was trained on squares"):
        check_list(trained, frozen)


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
def test_every_mask_is_possible(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    shares = torch.rand(40, 1, 1, 1, generator=generator).round(decimals=1)  # some empty, some full
    probabilities = torch.rand(40, 1, 64, 64, generator=generator) * shares * 2
    labels = torch.rand(40, 1, 64, 64, generator=generator) < shares.flip(0)
    masks = probabilities >= 0.5
    found = {name: values.tolist() for name, values in areas_and_overlaps(masks, labels).items()}
    for values in zip(*found.values(), strict=True):
        assert not impossible(row(**dict(zip(found, values, strict=True))))


def areas_and_overlaps(masks: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    measured = overlap_measures(masks, labels)
    shown = {name: measured[name].double().round(decimals=6) for name in ("dice", "iou", "sensitivity", "precision")}
    areas = {"mask_px": masks.sum((1, 2, 3)), "label_px": labels.sum((1, 2, 3))}
    return areas | shown


def row(**fields: float) -> Row:
    return Row("p", "d", "d/m/2d/l", "s", "c", 0, 2, "00000000", **fields)  # type: ignore[arg-type]


HALF = {"mask_px": 100, "label_px": 100, "dice": 0.5, "iou": 0.333333, "sensitivity": 0.5, "precision": 0.5}


@pytest.mark.parametrize(
    "fields",
    [
        {"iou": 0.4},
        {"dice": 0.505},
        {"sensitivity": 0.6},
        {"precision": 0.6},
        {"dice": math.nan},
        {"precision": math.nan},
        {"mask_px": 10, "dice": 0.909091, "iou": 0.833333, "sensitivity": 0.5, "precision": 5.0},
        {"mask_px": 0, "label_px": 0},
        {"mask_px": 0, "dice": 1.0},
    ],
)
def test_other_rows_are_not(fields: dict[str, float]) -> None:
    assert not impossible(row(**HALF))
    assert impossible(row(**HALF | fields))


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
