"""Trimaps, told from other maps of three values by their thin band."""

import numpy as np
import pytest

from megamed.label_values import LabelRules, read_values
from megamed.trimaps import are_trimaps, is_trimap

ROWS, COLUMNS = np.indices((60, 80))
DISTANCE = np.hypot(ROWS - 30, COLUMNS - 40)


def trimap(radius: float, band_px: float) -> np.ndarray:
    """Draw a disc of 1 with a band of 3 around it on a ground of 2."""
    return np.where(radius > DISTANCE, 1, np.where(radius + band_px > DISTANCE, 3, 2)).astype(np.uint8)


@pytest.mark.parametrize(("radius", "band_px"), [(18, 1.2), (18, 3), (8, 2), (22, 4)])
def test_a_thin_band_between_two_others_makes_a_trimap(radius: float, band_px: float) -> None:
    assert is_trimap(trimap(radius, band_px))


@pytest.mark.parametrize(
    "label",
    [
        trimap(8, 18),
        np.digitize(ROWS, [20, 40]) + 1,
        np.where(trimap(18, 3) == 2, 0, trimap(18, 3)),
        np.where(ROWS > 30, trimap(18, 3), np.where(trimap(18, 3) == 3, 2, trimap(18, 3))),
        np.full((6, 8), 2),
        trimap(18, 3) + 1,
        np.where(ROWS == COLUMNS, 0, trimap(18, 3)),
    ],
    ids=["wide", "layers", "no ground", "half", "constant", "other values", "zeros"],
)
def test_other_maps_are_none(label: np.ndarray) -> None:
    assert not is_trimap(label)


def test_most_labels_decide_for_all() -> None:
    ground = np.full((60, 80), 2, np.uint8)
    assert are_trimaps([trimap(18, 3), trimap(10, 2), ground])
    assert not are_trimaps([trimap(18, 3), np.zeros_like(ground) + (DISTANCE > 20)])


def test_a_trimap_is_read_as_one_class_and_says_so() -> None:
    label = trimap(18, 3)
    reading = read_values(label, "a.png")
    assert np.array_equal(reading.values, label == 1)
    assert reading.unknown is not None
    assert np.array_equal(reading.unknown, label == 3)
    assert "a.png is a trimap" in reading.notes[0]


def test_grey_between_white_and_black_is_a_class_and_told() -> None:
    label = np.array([0, 255, 0, 128], np.uint8)[trimap(18, 3)]
    reading = read_values(label, "a.png")
    assert np.array_equal(reading.values, label)
    assert reading.unknown is None
    assert "128 as a thin band alone" in reading.notes[0]
    assert not read_values(np.where(label == 128, 255, label), "a.png").notes


def test_what_the_user_says_counts_first() -> None:
    label = trimap(18, 3)
    assert np.array_equal(read_values(label, "a.png", LabelRules(unknown=())).values, label)
