"""Values of labels are counted, and those that are no classes are told."""

import re

import numpy as np
import pytest

from incontext.folders.label_survey import ClassFacts, LabelSurvey


def findings(*labels: np.ndarray) -> LabelSurvey:
    found = LabelSurvey()
    for index, label in enumerate(labels):
        found.add(f"{index}.png", label)
    return found


def blocks(*values: int) -> np.ndarray:
    """Squares of 8 × 8 pixels beside one another, in a picture of 16 rows."""
    label = np.zeros((16, 8 * len(values)), np.uint8)
    label[:8] = np.repeat(np.array(values, np.uint8), 8)
    return label


def smoothed() -> np.ndarray:
    distance = np.hypot(*(np.mgrid[:60, :80] - np.array([30, 40])[:, None, None]))
    return (255 * (15.5 - distance).clip(0, 1)).astype(np.uint8)


def test_classes_are_counted() -> None:
    found = findings(blocks(1, 2), blocks(1, 1))
    assert found.classes == [ClassFacts(1, "1", 2, 0.375), ClassFacts(2, "2", 1, 0.25)]
    assert list(found.problems()) == []


def test_masks_of_classes_are_counted_by_name() -> None:
    found = LabelSurvey()
    found.add("a.png", blocks(255, 0), "liver")
    found.add("b.png", blocks(0, 0), "liver")
    assert found.classes == [ClassFacts(None, "liver", 1, 0.25)]
    assert list(found.problems()) == []


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ([blocks(1), blocks(0)], r"1 of 2 labels are empty, such as 1\.png"),
        (
            [smoothed(), blocks(255)],
            r"1 of 2 labels have smoothed edges, such as 0\.png.*Cut them off: label > 127\.5",
        ),
        (
            [blocks(*range(1, 13)), blocks(*range(1, 12))],
            "numbers of objects: expected classes, got up to 12.*label > 0",
        ),
        (
            [blocks(1, 255), blocks(1, 1)],
            "255 stands apart from the classes of 1 labels, such as 0.png: it is taken for pixels",
        ),
        (
            [blocks(1, 1), blocks(255, 255)],
            "one class in two ways, it seems: expected one value, got 1 in some",
        ),
        ([np.zeros((4, 4, 3), np.uint8) + np.arange(3, dtype=np.uint8)], "0.png: .*--colours '#000102=1'; black is"),
        ([np.full((4, 4), 0.5)], r"0\.png is no label map: expected whole numbers, got values from 0\.5"),
        ([np.full((4, 4), -2)], r"0\.png is no label map: expected numbers from 0, got -2"),
        ([blocks(*range(3, 240, 3))], "labels hold 79 values, from 3 to 237"),
    ],
    ids=["empty", "smoothed", "objects", "void", "two ways", "colours", "fractions", "negative", "many"],
)
def test_what_is_no_class_is_told(labels: list[np.ndarray], problem: str) -> None:
    (found,) = findings(*labels).problems()
    assert re.search(problem, found), found


@pytest.mark.parametrize(
    "labels",
    [[blocks(255)], [blocks(1, 2, 4)], [blocks(*range(1, 9))] * 2, [blocks(0, 3), blocks(255 - 250, 3)]],
    ids=["white", "few", "eight in each", "gaps"],
)
def test_ordinary_classes_are_fine(labels: list[np.ndarray]) -> None:
    assert list(findings(*labels).problems()) == []
