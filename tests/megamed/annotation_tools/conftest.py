"""Masks drawn at random, coarse and fine, with holes and islands."""

from collections.abc import Callable

import numpy as np
import pytest
from jaxtyping import Bool
from scipy import ndimage


@pytest.fixture
def draw() -> Callable[..., Bool[np.ndarray, "H W"]]:
    """Draw a mask; the same seed, size and width of details give the same one."""

    def drawn(seed: int, size: tuple[int, int] = (45, 60), width: float = 3.0) -> Bool[np.ndarray, "H W"]:
        noise = np.random.default_rng(seed).normal(size=size)
        return np.asarray(ndimage.gaussian_filter(noise, width) > 0.02)

    return drawn
