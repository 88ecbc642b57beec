"""Signed distances on drawings of a few pixels."""

import pytest
import torch

from incontext.inference.signed_distance import DEPTH, signed_distance


def test_signed_distance_counts_from_the_edge():
    label = torch.zeros(1, 16, 16)
    label[0, :, 6:9] = 1
    column = signed_distance(label)[0, 7]
    assert (16 * column[5:10]).tolist() == [-0.5, 0.5, 1.5, 0.5, -0.5]
    assert column[0] == pytest.approx(-DEPTH)  # 5.5 of 16 pixels
    assert (signed_distance(torch.zeros(1, 16, 16)) == -DEPTH).all()
    assert (signed_distance(torch.ones(1, 16, 16)) == DEPTH).all()


def test_signed_distance_is_euclidean():
    label = torch.zeros(1, 64, 48)
    label[0, 30, 20] = 1
    distances = signed_distance(label)[0]
    assert 64 * distances[34, 23] == pytest.approx(0.5 - 5)
    assert 64 * distances[26, 17] == pytest.approx(0.5 - 5)
    assert 64 * distances[30, 20] == pytest.approx(0.5)
