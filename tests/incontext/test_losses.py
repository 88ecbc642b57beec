"""Losses by hand on drawings of a few pixels."""

import math

import pytest
import torch

from incontext.losses import dice_bce_loss, hard_dice

LABEL = torch.tensor([[1.0, 1.0], [0.0, 0.0]])


def test_a_sure_and_right_answer_costs_nothing():
    assert dice_bce_loss(40 * (2 * LABEL - 1), LABEL).item() == pytest.approx(0, abs=1e-6)


def test_an_undecided_answer_costs_what_the_formula_says():
    # Probabilities 0.5: overlap 1, squares 1 + 2; Dice (2 + 1) / (3 + 1); cross-entropy log 2.
    assert dice_bce_loss(torch.zeros(2, 2), LABEL).item() == pytest.approx(0.25 + math.log(2), rel=1e-6)


def test_images_count_equally():
    logits = torch.stack([torch.zeros(2, 2), 40 * (2 * LABEL - 1)])
    both = dice_bce_loss(logits, torch.stack([LABEL, LABEL]))
    assert both.item() == pytest.approx((0.25 + math.log(2)) / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("mask", "label", "expected"),
    [
        ([[1, 1], [0, 0]], [[1, 1], [0, 0]], 1.0),
        ([[1, 0], [0, 0]], [[1, 1], [0, 0]], 2 / 3),
        ([[0, 0], [0, 0]], [[1, 1], [0, 0]], 0.0),
        ([[0, 0], [0, 0]], [[0, 0], [0, 0]], 1.0),
    ],
)
def test_hard_dice(mask, label, expected):
    logits = 2 * torch.tensor(mask).float() - 1
    assert hard_dice(logits, torch.tensor(label).float()).item() == pytest.approx(expected)
