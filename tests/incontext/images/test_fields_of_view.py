"""Masks of what a camera shows are told from masks of structures."""

import numpy as np
import pytest

from incontext.images.fields_of_view import is_field_of_view

ROWS, COLUMNS = np.mgrid[:60, :80]
SHOWN = (ROWS - 30) ** 2 + (COLUMNS - 40) ** 2 < 28**2
DISC = (ROWS - 30) ** 2 + (COLUMNS - 40) ** 2 < 22**2
NOISE = np.random.default_rng(0).normal(0, 4, SHOWN.shape)


@pytest.mark.parametrize("black", [0, -1000])
def test_a_mask_of_all_that_is_not_black_is_a_field_of_view(black: int) -> None:
    image = np.where(SHOWN, 120 + NOISE, 2 + NOISE / 4) + black
    assert is_field_of_view(image, SHOWN)
    assert not is_field_of_view(image, DISC)
    assert not is_field_of_view(image, ~SHOWN)


def test_structures_that_are_brighter_than_what_surrounds_them_are_none() -> None:
    image = np.where(DISC, 200, 90) + NOISE
    assert not is_field_of_view(image, DISC)
    assert not is_field_of_view(np.where(SHOWN, image, 0), DISC)
