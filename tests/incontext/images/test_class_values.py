"""A class has one value in all labels, be it named by the user, by a tool's file or by a list beside a label map."""

import numpy as np
import pytest

from incontext.images.class_values import ClassValues, numbered, one_class
from incontext.images.source_image import LabelCase


def label_map(*values: int, names: dict[int, str] | None = None) -> LabelCase:
    return LabelCase(np.array([[values]], np.uint8), names or {})


@pytest.mark.parametrize(
    ("stated", "values"),
    [
        ([{3: "a", 7: "b"}, {7: "b"}], {"a": 3, "b": 7}),
        ([{1: "b"}, {1: "a", 2: "b"}], {"a": 1, "b": 2}),
        ([{300: "a"}], {"a": 1}),
        ([{1: "Organ"}, {1: "organ "}], {"Organ": 1, "organ ": 1}),
        ([{1: "Organ", 2: "ORGAN", 3: "b"}], {"Organ": 1, "ORGAN": 1, "b": 2}),
        ([], {}),
    ],
)
def test_names_have_the_values_on_which_files_agree(stated: list[dict[int, str]], values: dict[str, int]) -> None:
    assert numbered(stated, 255) == values


def test_names_have_the_values_that_the_user_gives_them() -> None:
    stated = [{1: "tumour", 2: "Organ"}]
    assert numbered(stated, 255, {1: "organ"}) == {"Organ": 1, "tumour": 2}
    assert numbered(stated, 255, {1: "liver"}) == {"tumour": 1, "Organ": 2}  # 1 has another name now
    assert numbered(stated, 255, {1: "liver"}, has_maps=True) == {"Organ": 2, "tumour": 3}


def test_numbers_of_a_map_are_not_mixed_with_names() -> None:
    values = ClassValues({}, {"organ": 1})
    with pytest.raises(ValueError, match=r"a.png numbers its classes .* got 1, 2 beside organ. .*'1=organ,2=another'"):
        values.meant(label_map(0, 1, 2), "a.png")
    known = ClassValues({1: "tumour", 2: "organ"}, {"organ": 2})
    assert known.meant(label_map(0, 1, 2), "a.png").planes.tolist() == [[[0, 1, 2]]]


def test_the_only_number_is_the_only_name() -> None:
    values = ClassValues({}, {"organ": 1})
    meant = values.meant(label_map(0, 255), "a.png")
    assert meant.planes.tolist() == [[[0, 1]]]
    assert meant.notes == ("a.png shows one class, 255: it is taken for 'organ'.",)
    with pytest.raises(ValueError, match=r"b\.png numbers its classes"):
        values.meant(label_map(0, 3), "b.png")


def test_maps_that_name_their_values_are_numbered_alike() -> None:
    values = ClassValues()
    first = values.meant(label_map(1, 2, names={1: "liver", 2: "spleen"}), "a.nrrd")
    assert first.planes.tolist() == [[[1, 2]]]
    assert not first.notes
    second = values.meant(label_map(1, 2, 3, names={1: "Spleen", 2: "liver", 3: "aorta"}), "b.nrrd")
    assert second.planes.tolist() == [[[2, 1, 3]]]
    (note,) = second.notes
    assert note.endswith("renumbered by their names are 'Spleen' from 1 to 2, 'liver' from 2 to 1.")


def test_names_that_the_user_gives_count_instead_of_those_of_a_file() -> None:
    values = ClassValues({1: "liver"})
    assert values.meant(label_map(1, names={1: "Label 1"}), "a.nrrd").planes.tolist() == [[[1]]]
    assert values.meant(label_map(1, names={1: "Label one"}), "b.nrrd").planes.tolist() == [[[1]]]


def test_the_mask_of_a_class_has_what_is_called_so() -> None:
    label = label_map(0, 1, 2, names={1: "Organ", 2: "tumour"})
    assert one_class(label, "organ", "a.json").planes.tolist() == [[[0, 1, 0]]]
    overlapping = LabelCase(label.planes, label.names, masks={1: label.planes > 0, 2: label.planes == 2})
    assert one_class(overlapping, "organ", "a.json").planes.tolist() == [[[0, 1, 1]]]


def test_several_classes_in_the_mask_of_another_are_told() -> None:
    assert one_class(label_map(0, 1), "organ", "a.png").notes == ()
    assert one_class(label_map(0, 1, 2), "organ", "a.png").notes == ("a.png shows 1, 2: all of it is read as 'organ'.",)
    named = label_map(0, 1, 2, names={1: "cyst", 2: "tumour"})
    assert one_class(named, "organ", "a.json").notes == ("a.json shows cyst, tumour: all of it is read as 'organ'.",)
