"""Filling contours: drawings by hand, and the laws that holds, islands and neighbours obey."""

import numpy as np
import pytest

from megamed.rasterise import fill_even_odd, fill_parts, fill_rings


def box(top: float, left: float, bottom: float, right: float) -> np.ndarray:
    """Draw a box along the edges of its pixels, from the first of them to beyond the last."""
    return np.array([(top, left), (top, right), (bottom, right), (bottom, left)], float) - 0.5


def drawn(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((12, 12), bool)
    for top, left, bottom, right in boxes:
        mask[top:bottom, left:right] ^= True
    return mask


def test_fill_is_even_odd_at_pixel_centres() -> None:
    triangle = np.array([(0.0, 0.0), (4.0, 0.0), (0.0, 4.0)])
    expected = np.add.outer(np.arange(5), np.arange(5)) < 4
    assert np.array_equal(fill_even_odd(triangle, (5, 5)), expected)
    assert np.array_equal(fill_even_odd(triangle[::-1], (5, 5)), expected)
    assert not fill_even_odd(triangle + 0.1, (5, 5))[0].any()


def test_halves_of_a_polygon_share_no_pixel() -> None:
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    circle = 8 + 6.3 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    halves = [fill_even_odd(half, (17, 17)) for half in (circle[:21], np.concatenate([circle[20:], circle[:1]]))]
    assert not (halves[0] & halves[1]).any()
    assert np.array_equal(halves[0] | halves[1], fill_even_odd(circle, (17, 17)))
    assert np.array_equal(fill_even_odd(circle, (9, 9)), fill_even_odd(circle, (17, 17))[:9, :9])


def test_an_edge_meets_the_same_pixels_from_both_sides() -> None:
    ends = np.random.default_rng(0).uniform(-3, 15, (200, 2, 2))
    for first, last in ends:
        assert not fill_even_odd(np.stack([first, last]), (12, 12)).any()


def test_a_ring_within_a_ring_is_a_hole_and_in_it_an_island() -> None:
    boxes = [(1, 1, 11, 11), (3, 3, 9, 9), (5, 5, 7, 7)]
    rings = [box(*each) for each in boxes]
    assert np.array_equal(fill_rings(rings, (12, 12)), drawn(*boxes))
    assert np.array_equal(fill_parts(rings[::-1], (12, 12)), drawn(*boxes))


def test_parts_that_cross_or_repeat_are_united() -> None:
    rings = [box(1, 1, 6, 6), box(4, 4, 9, 9), box(1, 1, 6, 6)]
    assert np.array_equal(fill_parts(rings, (12, 12)), drawn((1, 1, 6, 6)) | drawn((4, 4, 9, 9)))


def test_what_lies_outside_of_the_grid_is_cut_off() -> None:
    assert np.array_equal(fill_rings([box(-5, -5, 4, 40)], (12, 12)), drawn((0, 0, 4, 12)))
    assert not fill_rings([box(20, 20, 30, 30)], (12, 12)).any()
    assert not fill_rings([], (12, 12)).any()


def test_many_edges_are_worked_on_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(1).uniform(0, 40, (300, 2))
    expected = fill_even_odd(points, (40, 40))
    monkeypatch.setattr("megamed.rasterise.MAX_CROSSINGS", 50)
    assert np.array_equal(fill_even_odd(points, (40, 40)), expected)


def test_points_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="expected finite points, got 1 others"):
        fill_even_odd(np.array([(0, 0), (4, 0), (0, np.nan)]), (5, 5))
