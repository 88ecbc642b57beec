"""Temperatures and calibration errors by hand and by law."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from incontext.calibration import calibrate, expected_calibration_error, fit_temperature
from incontext.episodes import DevTask


def coins(logit: float, heads: int, tosses: int) -> tuple[Tensor, Tensor]:
    """Pixels of one logit, of which some are foreground."""
    return torch.full((tosses,), logit), (torch.arange(tosses) < heads).float()


@pytest.mark.parametrize(("logit", "heads"), [(3.0, 7), (-3.0, 3), (0.1, 9), (40.0, 6)])
def test_temperature_by_hand(logit: float, heads: int) -> None:
    # Ten pixels of one logit are best predicted by their frequency: sigmoid(logit / T) = heads / 10.
    frequency = heads / 10
    expected = logit / math.log(frequency / (1 - frequency))
    assert fit_temperature(*coins(logit, heads, 10)) == pytest.approx(expected, rel=1e-4)


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(0.2, 5), seed=st.integers(0, 99))
def test_scaled_logits_need_the_scaled_temperature_and_no_other_is_better(scale: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(400, generator=generator)
    labels = (torch.rand(400, generator=generator) < logits.sigmoid()).float()
    temperature = fit_temperature(logits, labels)
    assert fit_temperature(scale * logits, labels) == pytest.approx(scale * temperature, rel=1e-3)
    best = binary_cross_entropy_with_logits(logits / temperature, labels)
    for other in (0.9 * temperature, 1.1 * temperature):
        assert binary_cross_entropy_with_logits(logits / other, labels) >= best


def test_calibration_error_by_hand() -> None:
    # Bin of 0.9: three pixels of which two are foreground, 3 · |0.9 - 2/3| = 0.7. Bin of 0.2: one, background, 0.2.
    probabilities, labels = torch.tensor([0.9, 0.9, 0.9, 0.2]), torch.tensor([1.0, 1.0, 0.0, 0.0])
    assert expected_calibration_error(probabilities, labels, bins=5) == pytest.approx(0.9 / 4)
    assert expected_calibration_error(probabilities, labels, bins=1) == pytest.approx(0.9 / 4)  # all err upwards
    assert expected_calibration_error(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0])) == 0
    assert expected_calibration_error(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])) == 1


class Overconfident(nn.Module):
    """Right in three of four pixels, and sure of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.tensor(5.0))

    def encode_support(self, support_images: Tensor, support_labels: Tensor) -> Tensor:
        return support_labels

    def segment(self, query_images: Tensor, code: Tensor) -> Tensor:
        return self.logit.expand_as(query_images)


def test_calibrating_mends_overconfidence() -> None:
    labels = torch.tensor([1.0, 1, 1, 0]).reshape(1, 1, 2, 2)
    task = DevTask("coins", labels[None], labels[None], torch.zeros(1, 1, 2, 2), labels)
    found = calibrate(Overconfident(), [task])
    assert found["temperature"] == pytest.approx(5 / math.log(3), abs=1e-3)
    assert found["ece_before"] == pytest.approx(1 / (1 + math.exp(-5)) - 0.75, abs=1e-4)
    assert found["ece_after"] == pytest.approx(0, abs=1e-4)
    assert found["datasets"] == ["coins"]


def test_nothing_to_calibrate_on_is_an_error() -> None:
    with pytest.raises(ValueError, match="tasks are missing: expected a dataset of the role dev, got none"):
        calibrate(Overconfident(), [])
