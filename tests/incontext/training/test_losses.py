"""Losses by hand on drawings of a few pixels."""

import math

import pytest
import torch

from incontext.training.losses import LossConfig, hard_dice, segmentation_loss

LABEL = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
EXPECTED_PIXELS = {
    LossConfig(pixel_weight=0): 0,
    LossConfig(): math.log(2) / 10,
    LossConfig(pixel_weight=1): math.log(2),
    LossConfig(pixel="focal", pixel_weight=1): math.log(2) / 4,
}


@pytest.mark.parametrize("config", EXPECTED_PIXELS, ids=str)
def test_a_sure_and_right_answer_costs_nothing(config):
    assert segmentation_loss(40 * (2 * LABEL - 1), LABEL, config).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("config", "pixels"), EXPECTED_PIXELS.items(), ids=map(str, EXPECTED_PIXELS))
def test_an_undecided_answer_costs_what_the_formula_says(config, pixels):
    # Probabilities 0.5: overlap 1, squares 1 + 2; Dice (2 + 1) / (3 + 1); cross-entropy log 2, off by a half.
    assert segmentation_loss(torch.zeros(2, 2), LABEL, config).item() == pytest.approx(0.25 + pixels, rel=1e-6)


def test_images_count_equally():
    logits = torch.stack([torch.zeros(2, 2), 40 * (2 * LABEL - 1)])
    both = segmentation_loss(logits, torch.stack([LABEL, LABEL]), LossConfig(pixel_weight=1))
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


def test_what_is_drawn_on_an_empty_label_costs_the_logarithm_of_its_cross_entropy():
    config = LossConfig(pixel_weight=0, empty_weight=0.5)
    logits, nothing = torch.zeros(2, 2), torch.zeros(2, 2)
    assert segmentation_loss(logits, nothing, config).item() == pytest.approx(0.5 * math.log(1 + 4 * math.log(2)))
    assert segmentation_loss(logits, LABEL, config).item() == pytest.approx(0.25)
    both = segmentation_loss(torch.stack([logits, logits]), torch.stack([nothing, LABEL]), config)
    assert both.item() == pytest.approx((0.5 * math.log(1 + 4 * math.log(2)) + 0.25) / 2)


def test_a_sure_mask_where_nothing_is_still_learns():
    logits = torch.full((8, 8), 9.0, requires_grad=True)
    for weight, least, most in ((0.0, 0, 1e-4), (1.0, 0.1, 1)):
        config = LossConfig(pixel_weight=0, empty_weight=weight)
        (gradient,) = torch.autograd.grad(segmentation_loss(logits, torch.zeros(8, 8), config), logits)
        assert least <= gradient.sum() < most
