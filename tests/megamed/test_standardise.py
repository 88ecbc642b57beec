"""Intensities, slices, padding, resizing: by hand on small drawings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megamed.standardise import (
    binary_masks,
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
    first, second = np.zeros((2, 4, 4, 9), bool)
    first[:, :, 1], first[0, 0, 4], second[:2, :2, 7] = True, True, True
    assert informative_slices([first, second], 2) == [1, 4, 7]
    first[0, 0, 4] = False
    assert informative_slices([first, second], 2) == [1, 7]


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
    assert np.array_equal(standard_image(image / np.float32(255), 16), image)


def test_mask_keeps_half_covered_pixels() -> None:
    mask = np.zeros((8, 8), bool)
    mask[:, :4] = True
    assert standard_mask(mask, 4).tolist() == [[1, 1, 0, 0]] * 4


def test_thin_mask_vanishes() -> None:
    mask = np.zeros((64, 64), bool)
    mask[:, 30] = True
    assert not standard_mask(mask, 8).any()


def test_masks_are_unions_of_values_and_absent_ones_are_left_out() -> None:
    label = np.array([[0, 1], [2, 2]], np.uint8)
    masks = binary_masks(label, {"a": (1,), "b": (2,), "ab": (1, 2), "c": (3,)})
    assert {name: mask.astype(int).tolist() for name, mask in masks.items()} == {
        "a": [[0, 1], [0, 0]],
        "b": [[0, 0], [1, 1]],
        "ab": [[0, 1], [1, 1]],
    }
