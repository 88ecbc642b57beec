"""Tracing: what is filled again equals what was traced, and rings are such that every tool accepts them."""

import numpy as np
import pytest
from jaxtyping import Bool
from scipy import ndimage

from megamed.outlines import keyhole, trace
from megamed.rasterise import fill_rings


def random_masks(seed: int) -> list[Bool[np.ndarray, "H W"]]:
    """Draw masks from coarse to fine: blobs with holes and islands, noise, and what touches the border."""
    rng = np.random.default_rng(seed)
    return [
        ndimage.gaussian_filter(rng.normal(size=shape), width) > 0.0
        for shape, width in (((40, 50), 4.0), ((33, 20), 2.0), ((20, 31), 1.0), ((17, 16), 0.3), ((1, 9), 0.0))
    ]


def filled(rings: list[np.ndarray], shape: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    return fill_rings([ring[:, ::-1] - 0.5 for ring in rings], shape)


@pytest.mark.parametrize("seed", range(6))
def test_filling_inverts_tracing(seed: int) -> None:
    for mask in random_masks(seed):
        polygons = trace(mask)
        assert np.array_equal(filled([ring for each in polygons for ring in each.rings], mask.shape), mask)
        assert np.array_equal(filled([keyhole(each) for each in polygons], mask.shape), mask)


@pytest.mark.parametrize("seed", range(4))
def test_a_polygon_is_a_connected_piece(seed: int) -> None:
    for mask in random_masks(seed):
        pieces, count = ndimage.label(mask)
        polygons = trace(mask)
        assert len(polygons) == count
        for polygon in polygons:
            piece = filled(list(polygon.rings), mask.shape)
            assert np.array_equal(piece, pieces == pieces[piece].min())


@pytest.mark.parametrize("seed", range(4))
def test_rings_are_simple_and_turn_at_every_corner(seed: int) -> None:
    for mask in random_masks(seed):
        for polygon in trace(mask):
            for ring in polygon.rings:
                assert len({tuple(corner) for corner in ring.tolist()}) == len(ring)
                steps = np.roll(ring, -1, axis=0) - ring
                assert (np.count_nonzero(steps, axis=1) == 1).all()
                assert ((steps[:, 0] == 0) != (np.roll(steps[:, 0], 1) == 0)).all()


def test_a_drawing_by_hand() -> None:
    mask = np.zeros((4, 5), bool)
    mask[0:3, 1:4] = True
    mask[1, 2] = False
    mask[3, 4] = True
    first, second = trace(mask)
    assert first.outer.tolist() == [[1, 0], [4, 0], [4, 3], [1, 3]]
    assert sorted(first.holes[0].tolist()) == [[2, 1], [2, 2], [3, 1], [3, 2]]
    assert second.outer.tolist() == [[4, 3], [5, 3], [5, 4], [4, 4]]
    assert trace(np.zeros((3, 3), bool)) == []


@pytest.mark.parametrize("seed", range(6))
def test_cuts_to_holes_run_along_the_edges_of_pixels(seed: int) -> None:
    for mask in random_masks(seed):
        for polygon in trace(mask):
            ring = keyhole(polygon)
            assert ((np.roll(ring, -1, axis=0) - ring) == 0).any(axis=1).all()
