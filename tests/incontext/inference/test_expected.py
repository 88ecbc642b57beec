"""What the examples let one expect, and which of them the others contradict."""

import math

import numpy as np
import pytest
import torch

from incontext import Segmenter
from incontext.inference.expected import Expected
from incontext.inference.leave_one_out import LeftOut
from tests.incontext.test_segmenter import discs


def left_out(dice: list[list[float]], surprise: list[float] | None = None) -> LeftOut:
    """Examples of one square, of which label and mask have 100 pixels; NaN where a class is not shown."""
    overlap = torch.tensor(dice)
    shown = ~overlap.isnan()
    counts = torch.stack([100 * overlap.nan_to_num(), torch.full_like(overlap, 100), 100.0 * shown], dim=-1)
    apart = torch.zeros(len(dice)) if surprise is None else 100 * torch.tensor(surprise)
    return LeftOut(
        examples=torch.arange(len(dice)),
        rows=torch.arange(len(dice)),
        counts=counts,
        soft_counts=counts,
        surprise=apart[:, None].expand_as(overlap) * shown,
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


def test_where_all_are_alike_none_is_suspect() -> None:
    found = Expected.of(left_out([[0.9], [0.89], [0.91], [0.9]], [0.2, 0.21, 0.2, 0.19]), [1])
    assert found is not None
    assert found.suspects == []


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
