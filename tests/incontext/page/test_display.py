"""Grey values as the screen gets them."""

import io

import numpy as np
import pytest
from PIL import Image

from incontext.page import display
from incontext.page.display import MOST_ASPECT, THUMBNAIL_PX, Scale, ScreenImage


@pytest.mark.parametrize("pixels", [1, 7, 50, 10**6])
@pytest.mark.parametrize("bits", [8, 16])
def test_images_are_scaled_in_parts_as_in_one(monkeypatch: pytest.MonkeyPatch, bits: int, pixels: int) -> None:
    monkeypatch.setattr(display, "PIXELS_AT_A_TIME", pixels)
    values = np.random.default_rng(0).normal(0, 300, (11, 7)).astype(np.float32)
    scale, largest = Scale(-500.0, 400.0, (-500.0, 400.0), bits), 2**bits - 1
    expected = np.clip(np.round((values.astype(np.float64) + 500) * (largest / 900)), 0, largest)
    numbers = scale.numbers(values)
    assert numbers.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert np.array_equal(numbers, expected)
    assert np.array_equal(scale.numbers(values.T), expected.T)
    assert np.array_equal(scale.numbers(values[:0]), expected[:0])


@pytest.mark.parametrize("size", [(3, 2000), (2000, 3), (1, 7), (300, 2000), (40, 60)])
def test_thumbnails_of_long_images_show_their_middle(size: tuple[int, int]) -> None:
    plane = np.zeros(size, np.uint8)
    middle = size[0] // 2, size[1] // 2
    plane[
        middle[0] - size[0] // 8 : middle[0] + size[0] // 8 + 1, middle[1] - size[1] // 8 : middle[1] + size[1] // 8 + 1
    ] = 255
    image = ScreenImage(plane[None], Scale(0.0, 255.0, (0.0, 255.0)))
    with Image.open(io.BytesIO(image.thumbnail())) as picture:
        shown = np.asarray(picture)
    assert max(shown.shape) <= THUMBNAIL_PX
    assert max(shown.shape) <= MOST_ASPECT * min(shown.shape) + 1
    assert shown[shown.shape[0] // 2, shown.shape[1] // 2] > 200
