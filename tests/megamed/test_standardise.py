"""Intensities, slices, padding, resizing: by hand on small drawings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megamed.standardise import (
    Standard,
    display_plane,
    display_spacing,
    informative_slices,
    pad_to_square,
    resize,
    slicing_axes,
    standard_image,
    standard_mask,
    unit_range,
)


def test_ct_is_clipped_in_hounsfield_units() -> None:
    hu = np.array([-2000, -500, 250, 1000, 3000], np.int16)
    assert unit_range(hu, "CT (contrast)") == pytest.approx([0, 0, 0.5, 1, 1])


def test_mr_is_clipped_to_percentiles_of_positive_values() -> None:
    mr = np.concatenate([np.zeros(500), np.arange(1, 1001)]).astype(np.float32)
    low, high = np.percentile(np.arange(1, 1001), (0.5, 99.5))
    got = unit_range(mr, "MRI T1")
    assert got[0] == 0
    assert got[999] == pytest.approx((500 - low) / (high - low))
    assert got[-1] == got[-3] == 1


@pytest.mark.parametrize("modality", ["CT", "MRI", "OCT", "ultrasound"])
def test_eight_bits_are_only_stretched(modality: str) -> None:
    assert unit_range(np.array([10, 20, 30], np.uint8), modality) == pytest.approx([0, 0.5, 1])


def test_oct_is_not_ct() -> None:
    assert unit_range(np.array([0, 3000, 6000], np.uint16), "retinal OCT") == pytest.approx([0, 0.5, 1])


@pytest.mark.parametrize("values", [[1.0, np.nan], [1.0, np.inf], [2.0, 2.0]])
def test_image_without_content_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"not finite|constant"):
        unit_range(np.array(values, np.float32), "X-ray")


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "axes"),
    [
        ((64, 64, 60), (1.0, 1.0, 1.0), [0, 1, 2]),
        ((64, 64, 60), (1.0, 1.0, 1.9), [0, 1, 2]),
        ((64, 64, 60), (1.0, 1.0, 2.0), [2]),
        ((64, 64, 60), (5.0, 1.0, 1.0), [0]),
        ((64, 15, 64), (1.0, 1.0, 1.0), [1]),
        ((64, 16, 64), (1.0, 1.0, 1.0), [0, 1, 2]),
    ],
)
def test_thick_volumes_are_sliced_through_plane(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], axes: list[int]
) -> None:
    assert slicing_axes(shape, spacing_mm) == axes


def test_slices_are_the_middle_and_each_largest() -> None:
    areas = np.array([[0, 16, 0, 0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 4, 0]])
    assert informative_slices(areas) == [1, 4, 7]
    areas[0, 4] = 0
    assert informative_slices(areas) == [1, 7]


def test_every_nth_labelled_slice_is_kept() -> None:
    areas = np.array([[0, 5, 5, 9, 5, 5, 5, 5, 0]])
    assert informative_slices(areas, every_nth=3) == [3, 4, 6]
    assert informative_slices(areas, every_nth=1) == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("change", [{"size_px": 0}, {"every_nth": 0}])
def test_impossible_standard_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="standard is impossible"):
        Standard(**change)


def test_planes_are_shown_as_radiologists_do() -> None:
    volume = np.zeros((2, 3, 4), np.uint8)  # axes run right, anterior, superior
    volume[1, 2, 3] = 9  # right, anterior, superior corner
    for axis, shape in enumerate([(4, 3), (4, 2), (3, 2)]):
        plane = display_plane(volume, axis, volume.shape[axis] - 1)
        assert plane.shape == shape
        assert plane[0, 0] == 9


def test_spacing_follows_the_plane() -> None:
    assert display_spacing((1.0, 2.0, 3.0), 0) == (3.0, 2.0)
    assert display_spacing((1.0, 2.0, 3.0), 2) == (2.0, 1.0)


def test_padding_centres_the_image() -> None:
    assert pad_to_square(np.ones((1, 3), np.uint8)).tolist() == [[0, 0, 0], [1, 1, 1], [0, 0, 0]]


def test_padding_is_square_in_millimetres() -> None:
    assert pad_to_square(np.ones((4, 4)), (2.0, 1.0)).shape == (4, 8)
    assert pad_to_square(np.ones((4, 8)), (2.0, 1.0)).shape == (4, 8)
    assert pad_to_square(np.ones((4, 4)), (1.005, 1.0)).shape == (4, 4)


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.2, 5), st.floats(0.2, 5))
def test_padding_keeps_every_pixel(height: int, width: int, row_mm: float, column_mm: float) -> None:
    padded = pad_to_square(np.ones((height, width)), (row_mm, column_mm))
    assert padded.sum() == height * width


def test_reduction_is_antialiased() -> None:
    stripes = np.tile(np.array([0.0, 1.0], np.float32), (16, 8))
    assert resize(stripes, 4)[1:-1, 1:-1] == pytest.approx(0.5, abs=0.01)


def test_image_of_the_final_size_is_kept() -> None:
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(standard_image(image / np.float32(255), Standard(16)), image)


def test_mask_keeps_half_covered_pixels() -> None:
    mask = np.zeros((8, 8), bool)
    mask[:, :4] = True
    assert standard_mask(mask, Standard(4)).tolist() == [[1, 1, 0, 0]] * 4


def test_thin_mask_vanishes_unless_its_area_is_kept() -> None:
    mask = np.zeros((64, 64), bool)
    mask[:, 30] = True
    assert not standard_mask(mask, Standard(8, label_resize="antialias")).any()
    assert standard_mask(mask, Standard(8))[:, 3].all()


def test_nearest_keeps_what_covers_the_centre() -> None:
    mask = np.zeros((64, 64), bool)
    mask[:, 4] = True  # the centre of the first of eight pixels
    assert standard_mask(mask, Standard(8, label_resize="nearest"))[:, 0].all()


def test_stretching_fills_the_square() -> None:
    stretched = Standard(4, fit="stretch")
    assert standard_mask(np.ones((2, 8), bool), stretched).all()
    assert standard_mask(np.ones((2, 8), bool), Standard(4)).tolist() == [[0] * 4, [1] * 4, [1] * 4, [0] * 4]
    assert (standard_image(np.ones((2, 8), np.float32), stretched) == 255).all()


def test_equal_area_keeps_a_thin_line_whole() -> None:
    mask = np.zeros((64, 64), bool)
    mask[np.arange(64), np.arange(64)] = mask[np.arange(63), np.arange(1, 64)] = True  # two of eight pixels wide
    assert not standard_mask(mask, Standard(8, label_resize="antialias")).any()
    kept = standard_mask(mask, Standard(8))
    assert kept.sum() == 2
    assert not np.triu(kept, 2).any()


@given(st.integers(0, 2**32 - 1), st.integers(8, 40))
def test_equal_area_is_equal(seed: int, size: int) -> None:
    mask = np.random.default_rng(seed).random((size, size)) < 0.3
    for size_px in (size, 2 * size):
        kept = standard_mask(mask, Standard(size_px))
        assert kept.mean() == pytest.approx(mask.mean(), abs=0.06)
    assert np.array_equal(standard_mask(mask, Standard(size)), mask)


def test_equal_area_of_nothing_is_nothing() -> None:
    assert not standard_mask(np.zeros((9, 9), bool), Standard(4)).any()
