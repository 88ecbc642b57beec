"""Calibration and candidates by hand, and the laws that tie them to simpler scores."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.scoring.calibration_metrics import brier, measure_candidates
from benchmarks.scoring.metrics import overlap_measures
from incontext.networks.measures import dice, exact_mean


def draw_masks(seed: int, count: int) -> torch.Tensor:
    """Random (3, count, 4, 5) masks."""
    return torch.rand(3, count, 4, 5, generator=torch.Generator().manual_seed(seed)) < 0.4


def pixels(*values: float) -> torch.Tensor:
    """An image (1, 1, 1, W)."""
    return torch.tensor(values, dtype=torch.float32)[None, None, None]


def test_brier_by_hand() -> None:
    labels = pixels(1, 0, 1, 0) > 0
    assert brier(pixels(1, 0, 0.5, 0.5), labels).item() == 0.125
    assert brier(pixels(0, 1, 0, 1), labels).item() == 1


def test_exact_mean_does_not_depend_on_the_order() -> None:
    values = torch.rand(2, 1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(exact_mean(values, 1000), exact_mean(values.flip(1), 1000))
    assert exact_mean(values, 1000).tolist() == pytest.approx(values.mean(dim=1).tolist())


def test_candidates_by_hand() -> None:
    """Candidates of two pixels and of none, annotations of one pixel and of none, in images of two pixels."""
    candidates = torch.tensor([[[[True, True]], [[False, False]]]])
    annotations = torch.tensor([[[[True, False]], [[False, False]]]])
    figures = {name: values.item() for name, values in measure_candidates(candidates, annotations).items()}
    assert figures["best_dice"] == pytest.approx((2 / 3 + 1) / 2)
    # mean IoU across: (1/2 + 0 + 0 + 1) / 4 = 3/8; within either: (1 + 0 + 0 + 1) / 4 = 1/2
    assert figures["energy_distance"] == pytest.approx(1 / 2 + 1 / 2 - 2 * 3 / 8)
    # areas 2 and 0 against 1 and 0: (1 + 2 + 1 + 0) / 4 less half of (0 + 2 + 2 + 0) / 4
    assert figures["area_crps_px"] == pytest.approx(1 - 1 / 2)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_one_candidate_and_one_annotation_give_the_plain_scores(seed: int) -> None:
    masks, labels = draw_masks(seed, 1), draw_masks(seed + 1, 1)
    figures = measure_candidates(masks, labels)
    iou = overlap_measures(masks, labels)["iou"]
    assert figures["best_dice"].tolist() == pytest.approx(dice(masks, labels)[:, 0].tolist())
    assert figures["energy_distance"].tolist() == pytest.approx((2 * (1 - iou)).tolist())
    areas, true_areas = (each.sum(dim=(1, 2, 3)).float() for each in (masks, labels))
    assert torch.equal(figures["area_crps_px"], (areas - true_areas).abs())


@given(seed=st.integers(0, 10**6), order=st.permutations(range(4)))
@settings(max_examples=10, deadline=None)
def test_the_annotations_themselves_are_perfect_in_any_order(seed: int, order: list[int]) -> None:
    annotations = draw_masks(seed, 4)
    figures = measure_candidates(annotations[:, order], annotations)
    assert (figures["best_dice"] == 1).all()
    assert (figures["energy_distance"] == 0).all()


@given(seed=st.integers(0, 10**6), candidates=st.integers(1, 4), annotations=st.integers(1, 3))
@settings(max_examples=10, deadline=None)
def test_candidates_batched_equal_one_at_a_time(seed: int, candidates: int, annotations: int) -> None:
    masks, labels = draw_masks(seed, candidates), draw_masks(seed + 1, annotations)
    together = measure_candidates(masks, labels)
    alone = [measure_candidates(masks[[image]], labels[[image]]) for image in range(3)]
    assert all(torch.equal(values, torch.cat([one[name] for one in alone])) for name, values in together.items())
    assert (together["energy_distance"] >= -1e-6).all()
    assert (together["area_crps_px"] >= 0).all()
