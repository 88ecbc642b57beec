"""Spellings of a class's name are one; what differs in more than its spelling is not."""

import pytest

from megamed.class_names import name_key, one_spelling, spelling_notes


@pytest.mark.parametrize("other", ["left kidney", "Left Kidney ", "LEFT  KIDNEY", "\tleft kidney"])
def test_case_and_blanks_do_not_count(other: str) -> None:
    assert name_key(other) == name_key("Left kidney")


def test_forms_of_letters_do_not_count() -> None:
    assert name_key("ne\u0301vus") == name_key("n\u00e9vus") != name_key("nevus")


def test_the_first_spelling_is_the_name_and_the_others_are_told() -> None:
    names = ["Organ", "T1+", "organ ", "T1-"]
    assert one_spelling(names) == {"Organ": "Organ", "organ ": "Organ", "T1+": "T1+", "T1-": "T1-"}
    assert list(spelling_notes(names)) == [
        "'Organ', 'organ ' are read as one class, 'Organ': only their spelling differs."
    ]
