"""Uncertainty against disagreement, on a few pixels by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scoring.disagreement import (
    area_under_curve,
    correlation,
    disagreement,
    near_border,
    unsure_where_people_disagree,
)  # fmt: skip

LABELS = torch.tensor([[[1, 1, 0, 0]], [[1, 0, 0, 0]], [[1, 1, 1, 0]], [[1, 0, 0, 0]]], dtype=torch.bool)


def test_disagreement_is_the_variance_of_the_labels() -> None:
    assert disagreement(LABELS).tolist() == [[0, 1, 0.75, 0]]


def test_area_under_the_curve_is_the_share_of_pairs_in_order() -> None:
    positive = np.array([True, True, False, False])
    assert area_under_curve(np.array([3.0, 2.0, 1.0, 0.0]), positive) == 1
    assert area_under_curve(np.array([3.0, 0.0, 1.0, 2.0]), positive) == 0.5
    assert area_under_curve(np.array([1.0, 1.0, 1.0, 0.0]), positive) == 0.75, "ties count half"
    assert area_under_curve(np.ones(4), np.ones(4, bool)) is None
    assert area_under_curve(np.ones(4), np.zeros(4, bool)) is None


@given(st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=12))
def test_area_under_the_curve_knows_no_scale_and_turns_with_the_sign(pixels: list[tuple[int, bool]]) -> None:
    values, positive = np.array([float(each[0]) for each in pixels]), np.array([each[1] for each in pixels])
    area = area_under_curve(values, positive)
    if area is not None:
        pairs = [(a > b) + (a == b) / 2 for a in values[positive] for b in values[~positive]]
        assert area == pytest.approx(np.mean(pairs))
        assert area_under_curve(np.exp(values), positive) == pytest.approx(area)
        assert area_under_curve(-values, positive) == pytest.approx(1 - area)


def test_what_is_the_same_everywhere_has_no_correlation() -> None:
    assert correlation(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0])) == pytest.approx(1)
    assert correlation(np.ones(3), np.arange(3.0)) is None
    assert correlation(np.arange(1.0), np.arange(1.0)) is None


def test_a_band_lies_on_either_side_of_the_border() -> None:
    label = torch.zeros(9, 9, dtype=torch.bool)
    label[2:7, 2:7] = True
    band = near_border(label, 1)
    assert band[4].tolist() == [False, True, True, True, False, True, True, True, False]
    assert band[1, 1]
    assert not near_border(torch.zeros_like(label), 1).any()


def test_uncertainty_is_judged_where_it_counts() -> None:
    unsure = torch.tensor([[0.9, 0.5, 0.4, 0.1]])
    everywhere = torch.ones(1, 4, dtype=torch.bool)
    assert unsure_where_people_disagree(unsure, LABELS, everywhere)[0] == 0.5
    counted = torch.tensor([[False, True, True, True]])
    area, related = unsure_where_people_disagree(unsure, LABELS, counted)
    assert area == 1
    assert related == pytest.approx(np.corrcoef([0.5, 0.4, 0.1], [1, 0.75, 0])[0, 1])
