"""Whose work an annotator's is."""

import pytest

from megamed.annotators import person_of


@pytest.mark.parametrize(
    ("annotator", "person"),
    [
        ("expert1_amira", "expert1"),
        ("expert1_imagej", "expert1"),
        ("Ann ITK-SNAP", "Ann"),
        ("reader_1", "reader_1"),
        ("reader_2", "reader_2"),
        ("ann-b", "ann-b"),
        ("imagej", "imagej"),
    ],
)
def test_a_tool_is_no_part_of_a_person(annotator: str, person: str) -> None:
    assert person_of(annotator) == person
