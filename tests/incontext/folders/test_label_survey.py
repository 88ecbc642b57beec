"""Values of labels are counted, and those that are no classes are told."""

import re

import numpy as np
import pytest

from incontext.folders.label_survey import ClassFacts, LabelSurvey


def findings(*labels: np.ndarray) -> LabelSurvey:
    found = LabelSurvey()
    for index, label in enumerate(labels):
        found.add(f"{index}.png", label, has_channels=label.ndim == 3)
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


def test_outlines_are_told() -> None:
    distance = np.hypot(*(np.mgrid[:60, :80] - np.array([30, 40])[:, None, None]))
    line = np.uint8(255 * (np.abs(distance - 20) < 0.8))
    (problem,) = findings(line, line).problems()
    assert problem.startswith("2 of 2 labels, such as 0.png, are closed thin lines")
    assert list(findings(np.uint8(255 * (distance < 20)), line).problems()) == []


def trimap(band_px: int) -> np.ndarray:
    distance = np.hypot(*(np.mgrid[:60, :80] - np.array([30, 40])[:, None, None]))
    return np.select([distance < 15, distance < 15 + band_px], [1, 3], 2).astype(np.uint8)


@pytest.mark.parametrize(("others", "values"), [((2,), [1]), ((9, 11), [1, 2, 3])])
def test_label_maps_are_trimaps_together(others: tuple[int, ...], values: list[int]) -> None:
    found = findings(*map(trimap, (2, *others)))
    assert [each.value for each in found.classes] == values
    assert any("0.png is a trimap" in note for note in found.all_notes()) == (values == [1])


@pytest.mark.parametrize("band_px", [2, 12])
def test_black_grey_and_white_are_told_as_two_classes(band_px: int) -> None:
    found = findings(np.array([0, 255, 0, 128], np.uint8)[trimap(band_px)])
    assert [each.value for each in found.classes] == [128, 255]
    assert found.all_notes()[0].startswith(
        "128 and 255 are read as two classes. If 128 is of pixels that nobody judged"
    )
    assert not findings(blocks(128)).all_notes()


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
            "one class in several ways, it seems: expected one value, got 1 in some",
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


def test_several_values_in_the_mask_of_a_class_are_told() -> None:
    found = LabelSurvey()
    found.add("a.png", blocks(1, 2), "liver")
    found.add("b.png", blocks(1, 0), "liver")
    assert found.all_notes() == ["a.png shows 1, 2: all of it is read as 'liver'."]


def test_numbers_beside_names_are_told_unless_the_numbers_have_names() -> None:
    found = findings(blocks(1, 2))
    found.add_drawn("a.json", {"organ": blocks(1, 0) > 0})
    (problem,) = found.problems()
    assert "got 1, 2 beside organ. Say which is which, such as --classes '1=organ,2=another'" in problem
    found.names |= {1: "Organ", 2: "tumour"}
    assert not list(found.problems())
    assert [(each.value, each.name, each.images) for each in found.classes] == [(1, "Organ", 2), (2, "tumour", 1)]


def test_the_only_number_is_taken_for_the_only_name() -> None:
    found = findings(blocks(255, 0))
    found.add_drawn("a.json", {"organ": blocks(1, 0) > 0})
    assert not list(found.problems())
    assert found.all_notes() == ["255 is taken for 'organ', the only class that has a name."]


def test_spellings_of_a_name_are_one_class() -> None:
    found = LabelSurvey()
    found.add_drawn("a.json", {"Organ": blocks(1, 0) > 0})
    found.add_drawn("b.json", {"organ ": blocks(1, 1) > 0})
    assert found.classes == [ClassFacts(None, "Organ", 2, 0.375)]
    assert found.all_notes() == ["'Organ', 'organ ' are read as one class, 'Organ': only their spelling differs."]


def test_a_class_that_is_drawn_nowhere_is_told() -> None:
    found = LabelSurvey()
    found.add_drawn("a.json", {"organ": blocks(1, 0) > 0})
    found.declared |= {"organ", "tumour"}
    assert found.all_notes() == ["'tumour' is the name of a class that was drawn on no image."]


def test_of_a_file_for_a_class_only_what_has_its_name_counts() -> None:
    found = LabelSurvey()
    masks = {"organ": blocks(1, 0) > 0, "tumour": blocks(0, 1) > 0}
    found.add_drawn("a.json", masks, "Organ")
    found.add_drawn("a.json", masks, "both")
    assert [(each.name, each.share) for each in found.classes] == [("both", 0.5), ("Organ", 0.25)]


def test_masks_of_one_value_each_number_one_class() -> None:
    found = findings(blocks(1, 0), blocks(254, 0), blocks(255, 0))
    (problem,) = found.problems()
    assert "expected one value, got 1, 254 in some and 255 in others" in problem


def test_the_largest_number_of_16_bits_is_that_of_8() -> None:
    wide = findings(blocks(1, 0).astype(np.uint16) * 65535)
    assert [each.value for each in wide.classes] == [255]


def test_many_classes_that_are_drawn_nowhere_are_told_at_once() -> None:
    found = LabelSurvey()
    found.declared = {f"class {number}" for number in range(300)}
    assert found.all_notes() == ["300 classes have a name and were drawn on no image, such as 'class 0'."]


@pytest.mark.parametrize(("outside", "inside"), [(1, 2), (255, 0)])
def test_a_background_that_is_not_0_is_told(outside: int, inside: int) -> None:
    label = np.full((20, 24), outside, np.uint8)
    label[5:12, 6:15] = inside
    (problem,) = findings(label, label).problems()
    assert problem.startswith(f"all labels have {outside} in their corners, such as 0.png: expected the background")


def test_more_classes_than_a_map_holds_are_foreseen() -> None:
    found = LabelSurvey()
    found.add_drawn("a.json", {f"class {number}": np.eye(3) for number in range(255)})
    assert not list(found.problems())
    found.add_drawn("b.json", {"class 255": np.eye(3)})
    assert any("256 classes: expected at most 255" in problem for problem in found.problems())
