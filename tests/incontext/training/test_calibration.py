"""Temperatures and calibration errors by hand and by law."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from incontext.networks.quality import QualityModel
from incontext.training.calibration import (
    Judged,
    calibrate,
    fit_quality,
    fit_temperature,
    judge,
    reliability,
    spearman,
)
from incontext.training.episodes import DevTask


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
    # Of a mask that is all foreground, probabilities of 3/4 expect what it has: Dice 2 · 3 / (4 + 3).
    quality = QualityModel(**found["quality"])
    assert quality.measured == {}
    assert quality.predict(torch.full((1, 4), 0.75), torch.ones(1, 4) > 0).item() == pytest.approx(6 / 7, abs=0.01)


def test_nothing_to_calibrate_on_is_an_error() -> None:
    with pytest.raises(ValueError, match="tasks are missing: expected a dataset of the role dev, got none"):
        calibrate(Overconfident(), [])


def foreseen(dataset: str, truth: QualityModel, count: int = 300, seed: int = 0) -> Judged:
    """Masks whose Dice is what a model says."""
    log_odds = 2 * torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))
    return Judged(dataset, log_odds, truth.dice_from(log_odds))


TRUTH = QualityModel(bias=-0.5, confidence=0.6, coverage=0.3, flag_below=0.5)


@pytest.mark.parametrize("bias", [-2.5, 2.5])
def test_predicted_dice_is_right_on_average_however_good_the_masks_are(bias: float) -> None:
    """The score equation of the bias, which no penalty may change."""
    judged = foreseen("one", TRUTH.model_copy(update={"bias": bias}))
    predicted = fit_quality([judged]).dice_from(judged.log_odds)
    assert predicted.mean().item() == pytest.approx(judged.dice.mean().item(), abs=2e-3)


def test_what_dice_follows_from_is_found_again() -> None:
    found = fit_quality([foreseen("one", TRUTH), foreseen("two", TRUTH, seed=1)])
    for name in ("bias", "confidence", "coverage"):
        assert getattr(found, name) == pytest.approx(getattr(TRUTH, name), abs=0.05)
    assert found.measured["spearman"] > 0.99
    assert found.measured["spearman_within"] > 0.99
    assert found.measured["error"] < 0.02
    assert found.measured["masks"] == 600


def test_expectations_that_fail_on_another_dataset_do_not_count() -> None:
    inverse = QualityModel(bias=0.0, confidence=-1.0, coverage=-1.0, flag_below=0.5)
    found = fit_quality([foreseen("true", TRUTH), foreseen("inverted", inverse, seed=1)])
    assert found.measured["spearman"] < -0.5  # each is judged by what the other taught


def test_datasets_weigh_the_same_whatever_they_bring() -> None:
    other = QualityModel(bias=1.0, confidence=0.2, coverage=0.2, flag_below=0.5)
    few = fit_quality([foreseen("few", TRUTH), foreseen("many", other, seed=1)])
    many = fit_quality([foreseen("few", TRUTH), *[foreseen("many", other, seed=1)] * 9])
    assert (few.bias, few.confidence, few.coverage) == (many.bias, many.confidence, many.coverage)


def test_reliability_by_hand() -> None:
    # Poor are 0.1, 0.5 and 0.2, of which the first two are flagged, and 0.9 is flagged too.
    judged = [
        Judged("one", torch.zeros(3, 2), torch.tensor([0.1, 0.5, 0.9])),
        Judged("two", torch.zeros(2, 2), torch.tensor([0.2, 0.8])),
    ]
    found = reliability(judged, [torch.tensor([0.2, 0.3, 0.5]), torch.tensor([0.7, 0.7])])
    assert found["spearman_within"] == 1  # of the first alone: the second's predictions are equal
    assert found["error"] == pytest.approx((0.1 + 0.2 + 0.4 + 0.5 + 0.1) / 5)
    assert found["caught"] == found["poor_if_flagged"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["flagged"] == 0.6
    assert found["masks"] == 5
    # Ranks 1, 3, 5, 2, 4 and 1, 2, 3, 4.5, 4.5: their products sum to 4, their squares to 10 and 9.5.
    assert found["spearman"] == pytest.approx(4 / math.sqrt(95), abs=1e-4)


@pytest.mark.parametrize("dice", [0.0, 1.0], ids=["all wrong", "all right"])
def test_masks_of_one_dice_can_be_fitted_too(dice: float) -> None:
    judged = [Judged(name, foreseen(name, TRUTH).log_odds, torch.full((300,), dice)) for name in ("one", "two")]
    found = fit_quality(judged)
    assert found.measured["spearman"] is found.measured["spearman_within"] is None
    assert found.measured["error"] < 0.1
    assert found.measured["caught"] == (None if dice else 1)


def test_judging_by_hand() -> None:
    # The mask is the upper row, of which the label shows the left half: Dice 2 / 3.
    logits = torch.tensor([[2.0, 2.0], [-2.0, -2.0]]).reshape(1, 1, 2, 2)
    label = torch.tensor([[1.0, 0.0], [0.0, 0.0]]).reshape(1, 1, 2, 2)
    judged = judge(DevTask("rows", label[None], label[None], label, label), logits)
    assert judged.dice.tolist() == pytest.approx([2 / 3])
    assert judged.log_odds.tolist() == [pytest.approx([2.0, 2.0], abs=1e-5)]


def test_rank_correlation_by_hand() -> None:
    # Ranks 1, 2.5, 2.5, 4 and 2, 1, 3, 4: their products sum to 3, their squares to 4.5 and 5.
    assert spearman(torch.tensor([1.0, 5, 5, 9]), torch.tensor([2.0, 1, 3, 4])) == pytest.approx(3 / math.sqrt(22.5))
    assert spearman(torch.tensor([1.0, 2, 3]), torch.tensor([8.0, 1, 0])) == pytest.approx(-1)
    assert spearman(torch.tensor([1.0, 1, 1]), torch.tensor([8.0, 1, 0])) is None
    assert spearman(torch.tensor([1.0]), torch.tensor([8.0])) is None
