"""Distances by hand, against scipy, and the same in any batch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from incontext.networks.distance import distance_transform, distances_at


def draw_features(seed: int, shape: tuple[int, int, int], density: float = 0.1) -> torch.Tensor:
    """Random pixels, at least one per image."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.rand(shape, generator=generator) < density
    features[:, seed % shape[1], seed % shape[2]] = True
    return features


def test_distances_by_hand() -> None:
    features = torch.zeros(1, 4, 5, dtype=torch.bool)
    features[0, 0, 0] = features[0, 3, 4] = True
    squares = [[0, 1, 4, 9, 9], [1, 2, 5, 5, 4], [4, 5, 5, 2, 1], [9, 9, 4, 1, 0]]
    assert torch.equal(distance_transform(features), torch.tensor([squares]).sqrt())


def test_spacing_by_hand() -> None:
    features = torch.zeros(1, 3, 3, dtype=torch.bool)
    features[0, 0, 0] = True
    distances = distance_transform(features, torch.tensor([[3.0, 4.0]]))
    assert distances[0, 0].tolist() == [0, 4, 8]
    assert distances[0, :, 0].tolist() == [0, 3, 6]
    assert distances[0, 1, 1] == 5


def test_without_features_all_is_infinitely_far() -> None:
    distances = distance_transform(torch.stack([torch.zeros(3, 4).bool(), torch.ones(3, 4).bool()]))
    assert distances[0].isinf().all()
    assert (distances[1] == 0).all()


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 2.3), (12.0, 0.05)], ids=str)
@pytest.mark.parametrize("shape", [(3, 20, 31), (2, 1, 9), (2, 9, 1), (1, 33, 16)], ids=str)
def test_equals_scipy(shape: tuple[int, int, int], spacing: tuple[float, float]) -> None:
    features = draw_features(sum(shape), shape, 0.02)
    ours = distance_transform(features, torch.tensor([spacing] * len(features)))
    theirs = np.stack([distance_transform_edt(~image.numpy(), sampling=spacing) for image in features])
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@given(seed=st.integers(0, 10**6), height=st.integers(1, 20), width=st.integers(1, 20), density=st.floats(0, 1))
@settings(max_examples=15, deadline=None)
def test_in_pixels_squares_are_whole_and_equal_scipys(seed: int, height: int, width: int, density: float) -> None:
    features = draw_features(seed, (2, height, width), density)
    squares = distance_transform(features).double().square()
    theirs = np.stack([distance_transform_edt(~image.numpy()) for image in features]) ** 2
    assert torch.equal(squares.round(), torch.from_numpy(theirs).round())


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_batched_equals_one_at_a_time_and_points_equal_the_transform(seed: int) -> None:
    features = draw_features(seed, (4, 11, 13))
    spacing = torch.rand(4, 2, generator=torch.Generator().manual_seed(seed)) + 0.1
    together = distance_transform(features, spacing)
    assert torch.equal(together, torch.cat([distance_transform(features[[i]], spacing[[i]]) for i in range(4)]))
    points = draw_features(seed + 1, (4, 11, 13), 0.3).nonzero()
    assert torch.equal(distances_at(points, features, spacing), together[tuple(points.T)])


def test_chunks_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    features = draw_features(7, (2, 10, 12))
    points = torch.ones_like(features).nonzero()
    whole = distance_transform(features), distances_at(points, features)
    monkeypatch.setattr("incontext.networks.distance.CHUNK", 200)
    assert torch.equal(distance_transform(features), whole[0])
    assert torch.equal(distances_at(points, features), whole[1])


def test_no_points_have_no_distances() -> None:
    features = draw_features(0, (2, 4, 4))
    assert distances_at(torch.zeros(0, 3, dtype=torch.long), features).shape == (0,)
