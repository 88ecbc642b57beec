"""An image → the network's grid and back."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from incontext.images.resampling import label_to_square, to_square, to_user_grid
from megamed.squares import Box, letterbox, resize
from megamed.standardise import Standard, pad_to_square, standard_image, standard_mask


@pytest.mark.parametrize("shape", [(70, 41), (31, 64), (32, 32), (9, 12), (1, 3)])
def test_grid_is_the_collection_s(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    np.testing.assert_array_equal(to_square(image, 32), resize(pad_to_square(image), 32))
    mask = image > 0.4
    np.testing.assert_array_equal(label_to_square(mask, 32), standard_mask(mask, Standard(size_px=32)))


def test_thin_structure_does_not_vanish() -> None:
    mask = np.zeros((64, 64), dtype=bool)
    mask[20] = True
    square = label_to_square(mask, 8)
    assert np.flatnonzero(square.any(axis=1)).tolist() == [2]


def test_absent_class_stays_absent() -> None:
    assert not label_to_square(np.zeros((4, 6), dtype=bool), 8).any()


def whole(square: np.ndarray | torch.Tensor, shape: tuple[int, int]) -> np.ndarray:
    return to_user_grid(torch.as_tensor(square)[None], letterbox(shape), slice(0, shape[0]), slice(0, shape[1]))[
        0
    ].numpy()


@pytest.mark.parametrize("shape", [(100, 60), (61, 99), (16, 16), (7, 30)])
def test_there_and_back_is_in_place(shape: tuple[int, int]) -> None:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    image = (rows / max(shape) + columns / max(shape)).astype(np.float32) / 2
    back = whole(to_square(image, 128).copy(), shape)
    inner = (slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(back[inner], image[inner], atol=0.02)


@pytest.mark.parametrize("shape", [(40, 64), (200, 90), (9, 17), (1, 5)])
def test_back_is_bilinear_resizing_with_the_padding_cut_off(shape: tuple[int, int]) -> None:
    square = torch.rand(1, 1, 32, 32)
    side, box = max(shape), letterbox(shape)
    expected = F.interpolate(square, size=(side, side), mode="bilinear", antialias=True)[0, 0]
    shown = expected[-box.top : shape[0] - box.top, -box.left : shape[1] - box.left]
    np.testing.assert_allclose(whole(square[0, 0], shape), shown, atol=1e-5)


def test_any_part_of_the_way_back_is_that_part() -> None:
    square, box = torch.rand(2, 16, 16), Box(-3, 5, 50, 40)
    all_of_it = to_user_grid(square, box, slice(0, 47), slice(5, 45))
    part = to_user_grid(square, box, slice(11, 20), slice(30, 41))
    torch.testing.assert_close(part, all_of_it[:, 11:20, 25:36])


@pytest.mark.parametrize("pixel_mm", [(1.0, 1.0), (3.0, 1.0), (0.7, 0.7), (1.0, 2.5), (1.0, 1.005)])
@pytest.mark.parametrize("shape", [(30, 70), (64, 41), (20, 20)])
def test_pixels_of_two_sizes_lie_as_in_a_collection(shape: tuple[int, int], pixel_mm: tuple[float, float]) -> None:
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    square = to_square(image, 32, letterbox(shape, pixel_mm))
    np.testing.assert_array_equal(square, resize(pad_to_square(image, pixel_mm), 32))
    standard = standard_image(image, Standard(size_px=32), pixel_mm)
    np.testing.assert_array_equal(np.rint(square * 255), standard)


def test_a_window_shows_its_part_and_black_beyond_the_edge() -> None:
    image = np.arange(1.0, 37.0).reshape(6, 6).astype(np.float32)
    np.testing.assert_allclose(to_square(image, 3, Box(2, 1, 3, 3)), image[2:5, 1:4])
    over = to_square(image, 4, Box(-2, 4, 4, 4))
    np.testing.assert_allclose(over[2:, :2], image[:2, 4:])
    assert over.sum() == image[:2, 4:].sum()
