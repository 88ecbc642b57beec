"""Grey values as the screen gets them."""

import numpy as np
import pytest

from incontext.page import display
from incontext.page.display import Scale


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
