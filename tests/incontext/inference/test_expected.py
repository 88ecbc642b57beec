"""What the examples let one expect, and which of them the others contradict."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from incontext import Segmenter
from incontext.inference.expected import Expected
from incontext.inference.left_out import LeftOut
from tests.incontext.test_segmenter import discs


def left_out(
    dice: list[list[float]], surprise: list[float] | None = None, misplaced: list[float] | None = None
) -> LeftOut:
    """Examples of one square, of which label and mask have 100 pixels; NaN where a class is not shown."""
    overlap = torch.tensor(dice)
    shown = ~overlap.isnan()
    counts = torch.stack([100 * overlap.nan_to_num(), torch.full_like(overlap, 100), 100.0 * shown], dim=-1)
    nats = (100 * torch.tensor(each or [0.0] * len(dice)) for each in (surprise, misplaced))
    of_label, of_place = (each[:, None].expand_as(overlap) * shown for each in nats)
    return LeftOut(
        examples=torch.arange(len(dice)),
        rows=torch.arange(len(dice)),
        counts=counts,
        soft_counts=counts,
        surprise=of_label,
        misplaced=of_place,
        brightness=shown.float(),
        annotated=torch.ones_like(shown),
    )


def test_dice_is_the_mean_over_examples_with_the_interval_of_student() -> None:
    found = Expected.of(left_out([[0.7], [0.8], [0.8], [0.9]]), [3])
    assert found is not None
    assert found.dice[3] == pytest.approx(0.8)
    assert found.interval[3] == pytest.approx((0.8 - 3.182 * 0.0408, 0.8 + 3.182 * 0.0408), abs=2e-3)
    assert found.told(3) == "0.80 ± 0.13"
    assert str(found) == "3: 0.80 ± 0.13"


def test_an_interval_stays_between_0_and_1() -> None:
    found = Expected.of(left_out([[1.0], [1.0], [1.0], [0.2]]), [1])
    assert found is not None
    assert found.interval[1][1] == 1


def test_fewer_than_four_examples_say_nothing() -> None:
    assert Expected.of(left_out([[0.7], [0.8], [0.8]]), [1]) is None


@pytest.mark.filterwarnings("error")
def test_judged_examples_that_show_nothing_say_nothing() -> None:
    assert Expected.of(left_out([[math.nan]] * 5), [1]) is None


def test_an_example_counts_for_the_classes_that_it_shows() -> None:
    found = Expected.of(left_out([[0.5, math.nan], [0.5, 0.9], [0.5, 0.9], [0.5, 0.9]]), [1, 2])
    assert found is not None
    assert found.dice == {1: 0.5}
    assert np.isnan(found.per_example[0, 1])


def test_what_the_others_contradict_is_suspect_worst_first() -> None:
    dice = [[0.9], [0.2], [0.9], [0.9], [0.88], [0.4], [0.9]]
    found = Expected.of(left_out(dice, [0.2, 3.0, 0.2, 0.25, 0.2, 2.0, 0.15]), [1])
    assert found is not None
    assert found.suspects == [1, 5]
    assert np.argsort(-found.contradiction)[:2].tolist() == [1, 5]


def test_a_label_that_fits_elsewhere_is_suspect() -> None:
    dice = [[0.9], [0.9], [0.8], [0.9], [0.9], [0.9]]
    found = Expected.of(left_out(dice, [0.2] * 6, [0.01, 0.0, 0.4, 0.01, 0.02, 0.0]), [1])
    assert found is not None
    assert found.suspects == [2]


def test_where_all_are_alike_none_is_suspect() -> None:
    found = Expected.of(left_out([[0.9], [0.89], [0.91], [0.9]], [0.2, 0.21, 0.2, 0.19]), [1])
    assert found is not None
    assert found.suspects == []


def test_an_empty_example_in_which_the_others_find_a_class_is_suspect() -> None:
    """Of three empty examples the classes are surely in the second, and of one class it is less sure in the first."""
    dice = [[math.nan] * 2] * 3 + [[0.9, 0.8]] * 4
    log_odds = torch.tensor([[1.2, -1.0], [2.0, 3.0], [-1.0, -3.0]] + [[5.0, 5.0]] * 4)
    found = Expected.of(left_out(dice), [1, 4], log_odds)
    assert found is not None
    assert (found.suspects, found.forgotten) == ([1], {1: 4})
    alone = Expected.of(left_out([each[:1] for each in dice]), [1], log_odds[:, :1])
    assert alone is not None
    assert (alone.suspects, alone.forgotten) == ([1, 0], {1: 1, 0: 1})


def test_what_the_others_hardly_find_is_not_called_forgotten() -> None:
    for dice, log_odds in ((0.4, 9.0), (0.9, 0.9), (0.9, math.nan)):
        found = Expected.of(left_out([[math.nan], *[[dice]] * 4]), [1], torch.full((5, 1), log_odds))
        assert found is not None
        assert not found.suspects


def test_an_example_that_shows_nothing_is_not_judged() -> None:
    found = Expected.of(left_out([[math.nan], [0.9], [0.9], [0.9], [0.9]], [9.0, 0.2, 0.2, 0.2, 0.2]), [1])
    assert found is not None
    assert found.suspects == []
    assert np.isnan(found.contradiction[0])


def test_labels_that_are_swapped_are_found_by_the_packaged_weights() -> None:
    images, labels = discs(8)
    labels[1], labels[6] = labels[6], labels[1]
    segmenter = Segmenter(device="cpu").fit(images, labels)
    assert segmenter.expected_ is not None
    assert {*segmenter.expected_.suspects} == {1, 6}
    assert segmenter.expected_.dice[1] < 0.95


def test_an_example_is_not_suspect_for_what_it_alone_shows() -> None:
    images, labels = discs(8)
    for label in labels[1:]:
        label[:8, :8] = 2
    labels[0][-6:, -6:] = 3
    found = Segmenter(device="cpu").fit(images, labels).expected_
    assert found is not None
    assert np.isnan(found.per_example[0]).tolist() == [False, True, True]
    assert not found.suspects


def test_an_example_that_alone_shows_a_class_is_not_said_to_show_nothing() -> None:
    left = left_out([[0.9, math.nan]] * 4 + [[math.nan, 0.0]])
    left.annotated[4, 1] = False
    found = Expected.of(left, [1, 2], torch.full((5, 2), 9.0))
    assert found is not None
    assert not found.suspects


def test_what_one_subject_alone_shows_is_neither_expected_nor_taken_off() -> None:
    images, labels = discs(8)
    labels[4:] = [np.zeros_like(each) for each in labels[4:]]
    segmenter = Segmenter(device="cpu").fit(images, labels, subjects=list("aaaabbcc"))
    assert segmenter.expected_ is None
    assert segmenter.predict(images[0]).masks[0].any()


def test_what_is_expected_is_of_the_examples_of_the_last_fit() -> None:
    images, labels = discs(6)
    segmenter = Segmenter(device="cpu").fit(images, labels)
    first = segmenter.expected_
    segmenter.fit(images[:5], labels[:5])
    assert first is not None
    assert segmenter.expected_ is not None
    assert (len(first.examples), len(segmenter.expected_.examples)) == (6, 5)
    assert segmenter.fit(images[:3], labels[:3]).expected_ is None


def test_a_stack_counts_as_its_planes_and_a_volume_as_one() -> None:
    images, labels = discs(6)
    stack = Segmenter(device="cpu").fit(np.stack(images), np.stack(labels))
    assert stack.fitted.pool.units.tolist() == [0, 1, 2, 3, 4, 5]
    assert stack.expected_ is not None


def test_subjects_are_left_out_as_a_whole(tmp_path: Path) -> None:
    torch.manual_seed(0)
    noise = [np.random.default_rng(seed).random((64, 64)).astype(np.float32) for seed in range(3)]
    masks = [image > 0.5 for image in noise]  # what one image shows tells of its twin alone
    images, labels = [*noise, *noise], [np.roll(each, 20) for each in (*masks, *masks)]
    alone = Segmenter(device="cpu").fit(images, labels).expected_
    told = Segmenter(device="cpu").fit(images, labels, subjects=["a", "b", "c"] * 2)
    assert alone is not None
    assert told.expected_ is not None
    assert told.expected_.examples == alone.examples
    assert told.expected_.dice[1] != alone.dice[1]
    told.save_task(tmp_path / "a.task")
    loaded = Segmenter.load_task(tmp_path / "a.task")
    assert loaded.expected_ is not None
    assert loaded.expected_.dice == told.expected_.dice
    first = loaded.add(*(each[0] for each in discs(1)))
    assert first.fitted.pool.subjects is not None
    assert first.fitted.pool.subjects.tolist() == [0, 1, 2, 0, 1, 2, 3]


def test_one_subject_is_as_none() -> None:
    images, labels = discs(5)
    found = [Segmenter(device="cpu").fit(images, labels, subjects=each).expected_ for each in (None, ["p1"] * 5)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].dice == found[1].dice


def test_subjects_that_do_not_fit_are_refused() -> None:
    images, labels = discs(3)
    with pytest.raises(ValueError, match=r"expected one for each of 3 images, got 2\. A stack"):
        Segmenter(device="cpu").fit(images, labels, subjects=["p1", "p2"])
