"""Runs of pixels are another way to write the pixels of a plane."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from incontext.page.runs import Runs, indices_at

PLANES = hnp.arrays(np.uint8, (5, 7), elements=st.integers(0, 3))


@given(PLANES, PLANES)
def test_runs_between_two_planes_make_one_of_the_other(before: np.ndarray, after: np.ndarray) -> None:
    told = Runs.between(before, after).told()
    found = Runs.parse(told, before.size)
    made = before.copy()
    made.reshape(-1)[found.indices] = found.values
    assert np.array_equal(made, after)
    assert len(found.indices) == np.count_nonzero(before != after)
    assert np.array_equal(indices_at(found.places), found.indices)


def test_runs_join_neighbouring_pixels_of_one_value() -> None:
    plane = np.array([[0, 1, 1, 2], [2, 0, 0, 1]], np.uint8)
    assert Runs.between(np.zeros_like(plane), plane).told() == {1: [1, 2, 7, 1], 2: [3, 2]}


@pytest.mark.parametrize(
    "runs", [{1: [0]}, {1: [-1, 2]}, {1: [8, 3]}, {1: [0, 0]}, {300: [0, 1]}, {1: [0, 2**62]}, {1: [0, 9], 2: [0, 9]}]
)
def test_what_leaves_the_plane_is_refused(runs: dict[int, list[int]]) -> None:
    with pytest.raises(ValueError, match=r"runs? "):
        Runs.parse(runs, 10)
