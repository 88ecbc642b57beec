"""Dice and calibration error by hand, for masks and for areas, and the same in any batch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from incontext.networks.measures import calibration_error, dice, dice_of_areas, exact_mean


def mask(*rows: str) -> torch.Tensor:
    """A drawing (H, W); `#` is foreground."""
    return torch.tensor([[pixel == "#" for pixel in row] for row in rows])


@pytest.mark.parametrize(
    ("masks", "label", "expected"),
    [
        (mask("##.", "..."), mask("##.", "..."), 1),
        (mask("#..", "..."), mask("##.", "..."), 2 / 3),
        (mask("..#", "..."), mask("##.", "..."), 0),
        (mask("...", "..."), mask("##.", "..."), 0),
        (mask("...", "..."), mask("...", "..."), 1),
    ],
    ids=["equal", "inside", "apart", "mask empty", "both empty"],
)
def test_dice_by_hand(masks: torch.Tensor, label: torch.Tensor, expected: float) -> None:
    assert dice(masks, label).item() == pytest.approx(expected)
    assert dice(masks[None, None], label[None, None]).shape == (1, 1)


def test_the_precision_of_areas_is_that_of_dice() -> None:
    assert dice_of_areas(*torch.tensor([3.0, 7.0], dtype=torch.float64)).item() == 6 / 7
    assert dice_of_areas(*torch.tensor([3, 7])).item() == pytest.approx(6 / 7, abs=1e-7)


def test_calibration_error_by_hand() -> None:
    # Bin of 0.9: three pixels of which two are foreground, 3 · |0.9 - 2/3| = 0.7. Bin of 0.2: one, background, 0.2.
    probabilities, labels = torch.tensor([[0.9, 0.9, 0.9, 0.2]]), torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    assert calibration_error(probabilities, labels, bins=5).item() == pytest.approx(0.9 / 4)
    assert calibration_error(probabilities, labels, bins=1).item() == pytest.approx(0.9 / 4)  # all err upwards
    sure, right = torch.tensor([[0.0, 1.0]]), torch.tensor([[False, True]])
    assert calibration_error(sure, right).item() == 0
    assert calibration_error(sure, ~right).item() == 1


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_images_batched_equal_one_at_a_time_and_their_definition(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.rand(3, 1, 5, 7, generator=generator)
    labels = torch.rand(3, 1, 5, 7, generator=generator) < probabilities
    together = calibration_error(probabilities, labels, bins=4)
    assert torch.equal(together, torch.cat([calibration_error(probabilities[[i]], labels[[i]], 4) for i in range(3)]))
    for error, image, label in zip(together, probabilities.double(), labels, strict=True):
        bins = [(image >= edge / 4) & (image < (edge + 1) / 4) for edge in range(4)]
        expected = sum((image[inside] - label[inside].double()).sum().abs() for inside in bins) / image.numel()
        assert error.item() == pytest.approx(float(expected), abs=1e-6)


def test_a_mean_of_nothing_is_not_a_number() -> None:
    assert exact_mean(torch.zeros(1, 3), torch.tensor([0])).isnan().all()
