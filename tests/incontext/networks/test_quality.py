"""Predicted Dice by hand and by law."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from incontext.networks.quality import QualityModel, expected_log_odds, soft_counts

MODEL = QualityModel(bias=-1.0, confidence=1.0, coverage=0.5, flag_below=0.6)


def test_expected_precision_and_recall_by_hand() -> None:
    # Two pixels in the mask hold 0.9 + 0.7 of the 2.0 in the image: precision 0.8, recall 0.8.
    probabilities, masks = torch.tensor([[0.9, 0.7, 0.3, 0.1]]), torch.tensor([[True, True, False, False]])
    counts = soft_counts(probabilities, masks)
    torch.testing.assert_close(counts, torch.tensor([[1.6, 2.0, 2.0]]))
    assert expected_log_odds(counts)[0].tolist() == pytest.approx([math.log(4), math.log(4)], rel=1e-5)
    # Odds 4 · 4 ** 0.5 / e.
    odds = 8 / math.e
    assert MODEL.predict(probabilities, masks).item() == pytest.approx(odds / (1 + odds), rel=1e-5)


def test_an_empty_mask_and_a_certain_one_are_judged_too() -> None:
    probabilities, masks = torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[False, False], [True, False]])
    empty, certain = MODEL.predict(probabilities, masks).tolist()
    assert 0 < empty < 0.01 < 0.9 < certain < 1
    assert MODEL.flags(torch.tensor([empty, certain, 0.6])).tolist() == [True, False, False]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), sharper=st.floats(1.1, 3))
def test_surer_probabilities_of_the_same_mask_raise_expected_precision_and_recall(seed: int, sharper: float) -> None:
    logits = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    unsure, sure = (expected_log_odds(soft_counts((scale * logits).sigmoid(), logits > 0)) for scale in (1.0, sharper))
    assert (sure > unsure).all()


def test_a_volume_is_judged_as_a_whole_and_no_order_of_its_planes_matters() -> None:
    torch.manual_seed(0)
    volume = torch.rand(1, 5, 8, 8)
    whole = MODEL.predict(volume, volume > 0.5)
    torch.testing.assert_close(MODEL.predict(volume.flip(1), volume.flip(1) > 0.5), whole)
    torch.testing.assert_close(MODEL.predict(volume.reshape(1, 1, 40, 8), volume.reshape(1, 1, 40, 8) > 0.5), whole)


def test_soft_counts_of_parts_add_up() -> None:
    probabilities = torch.rand(2, 6, 8, generator=torch.Generator().manual_seed(0))
    masks = probabilities > 0.5
    parts = soft_counts(probabilities[:, :2], masks[:, :2]) + soft_counts(probabilities[:, 2:], masks[:, 2:])
    torch.testing.assert_close(parts, soft_counts(probabilities, masks))


def test_a_model_is_json_and_back() -> None:
    model = MODEL.model_copy(update={"measured": {"spearman": 0.8, "spearman_within": None}})
    assert QualityModel.model_validate_json(model.model_dump_json()) == model
