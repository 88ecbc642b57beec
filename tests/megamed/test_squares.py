"""Windows by hand, and what no header may ask for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megamed.squares import Box, letterbox, level_of_equal_area, positive_percentiles

SIDES, MILLIMETRES = st.integers(1, 40), st.floats(0.2, 5)


@given(st.tuples(SIDES, SIDES), st.tuples(MILLIMETRES, MILLIMETRES))
def test_a_letterbox_shows_the_whole_image_in_its_middle(shape: tuple[int, int], pixel_mm: tuple[float, float]) -> None:
    box = letterbox(shape, pixel_mm)
    assert box.within(shape) == (slice(0, shape[0]), slice(0, shape[1]))
    above, left = -box.top, -box.left
    assert 0 <= box.height - shape[0] - 2 * above <= 1
    assert 0 <= box.width - shape[1] - 2 * left <= 1
    assert box.cut(np.ones(shape)).sum() == shape[0] * shape[1]


def test_a_letterbox_is_square_in_millimetres() -> None:
    assert letterbox((1, 3)) == Box(-1, 0, 3, 3)
    assert letterbox((4, 4), (2.0, 1.0)) == Box(0, -2, 4, 8)
    assert letterbox((4, 4), (1.005, 1.0)) == Box(0, 0, 4, 4)


def test_a_window_shows_its_part_and_black_beyond_the_edge() -> None:
    image = np.arange(1, 10, dtype=np.uint8).reshape(3, 3)
    assert Box(1, 0, 2, 2).cut(image).tolist() == [[4, 5], [7, 8]]
    over = Box(-1, 2, 2, 2).cut(image)
    assert over.tolist() == [[0, 0], [3, 0]]
    assert over.dtype == np.uint8


@pytest.mark.parametrize(
    ("shape", "pixel_mm"), [((30_000, 1), (1.0, 1.0)), ((40, 40), (1e6, 1.0)), ((40, 40), (1e-308, 1.0))]
)
def test_an_image_too_oblong_is_refused(shape: tuple[int, int], pixel_mm: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"image is too oblong: expected a square of at most 268435456 pixels"):
        letterbox(shape, pixel_mm)


@pytest.mark.parametrize("side_mm", [0.0, -1.0, float("nan"), float("inf")])
def test_a_pixel_without_a_size_is_refused(side_mm: float) -> None:
    with pytest.raises(ValueError, match="pixels have no size: expected millimetres above 0, got"):
        letterbox((4, 4), (side_mm, 1.0))


def test_a_large_image_is_not_oblong() -> None:
    assert letterbox((20_000, 20_000)) == Box(0, 0, 20_000, 20_000)


def test_as_many_pixels_reach_the_level_as_the_area_has() -> None:
    coverage = np.array([[0.9, 0.6], [0.4, 0.1]])  # an area of two pixels
    assert level_of_equal_area(coverage) == 0.6
    assert level_of_equal_area(coverage / 5) == np.inf  # less than half a pixel
    assert level_of_equal_area(coverage / 5, least_px=1) == 0.9 / 5


def test_percentiles_are_those_of_positive_values_if_there_are_any() -> None:
    assert positive_percentiles(np.array([-9.0, 0.0, 1.0, 1.0])).tolist() == [1, 1]
    assert positive_percentiles(np.array([-3.0, -3.0])).tolist() == [-3, -3]
