"""Close-ups show what is labelled, all of it, and as many times as large as they are told to."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from incontext.images.close_ups import extent, magnified
from megamed.unknown import UNKNOWN

ROWS, COLUMNS = np.mgrid[:64, :64]


def disc(row: int, column: int, radius: int) -> np.ndarray:
    return (np.hypot(ROWS - row, COLUMNS - column) <= radius).astype(np.uint8)


@given(st.integers(0, 63), st.integers(0, 63), st.integers(2, 12), st.sampled_from([1.4, 2.0, 2.5]))
def test_a_close_up_shows_the_whole_structure_from_nearby(
    row: int, column: int, radius: int, magnification: float
) -> None:
    label = disc(row, column, radius)
    image, shown = magnified(label * 200, label, magnification)
    assert image.shape == shown.shape == (64, 64)
    assert shown.sum() == pytest.approx(label.sum() * (64 / round(64 / magnification)) ** 2, rel=0.1, abs=4 * radius)
    assert (image[shown == 1] > 0).all()
    assert image.max() == 200


def test_at_its_own_size_an_image_stays_as_it_is() -> None:
    image, label = ROWS.astype(np.uint8), disc(20, 30, 5)
    for before, after in zip((image, label), magnified(image, label, 1.0), strict=True):
        np.testing.assert_array_equal(before, after)


def test_around_an_image_that_is_shown_from_afar_nobody_knows_what_there_is() -> None:
    image, shown = magnified(ROWS.astype(np.uint8), disc(20, 30, 8), 0.5)
    assert image.shape == shown.shape == (64, 64)
    assert (shown[16:48, 16:48] == 1).sum() == pytest.approx(disc(20, 30, 8).sum() / 4, abs=1)
    assert (shown == UNKNOWN).sum() == 64**2 - 32**2
    assert (image[:15] == 0).all()
    assert (image[49:] == 63).all()


def test_one_of_a_pair_is_shown_alone_and_of_many_all() -> None:
    pair = disc(32, 12, 8) | disc(32, 52, 7)
    assert extent(pair) == 17 / 64
    assert magnified(pair, pair, 2.0)[1].sum() == pytest.approx(4 * disc(32, 12, 8).sum(), abs=2)
    many = np.maximum.reduce([disc(row, column, 3) for row in (10, 50) for column in (12, 50)])
    assert extent(many) == 47 / 64


@pytest.mark.parametrize("value", [0, UNKNOWN])
def test_the_middle_is_shown_where_nothing_is_labelled(value: int) -> None:
    label = np.full((64, 64), value, np.uint8)
    assert extent(label) == 1
    image, _ = magnified(ROWS.astype(np.uint8), label, 2.0)
    assert image[0, 0] == pytest.approx(16, abs=1)
    assert image[-1, 0] == pytest.approx(47, abs=1)
