"""ITK-SNAP's label descriptions, in the form that its documentation shows."""

from pathlib import Path

import pytest

from megamed.annotation_tools import itksnap
from megamed.annotation_tools.model import LabelClass

DESCRIPTION = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
# Where:
#    IDX:   Zero-based index
################################################
    0     0    0    0        0  0  0    "Clear Label"
    1   255    0    0        1  1  1    "Left hippocampus"
   17     0  255   10      0.5  1  0    "Läsion (klein)"
"""


def test_values_have_names_and_colours(tmp_path: Path) -> None:
    path = tmp_path / "labels.TXT"
    path.write_text(DESCRIPTION, encoding="utf-8-sig")
    assert itksnap.recognises(path)
    assert itksnap.read_classes(path) == [
        LabelClass("Left hippocampus", 1, "#ff0000"),
        LabelClass("Läsion (klein)", 17, "#00ff0a"),
    ]


def test_reading_inverts_writing(tmp_path: Path) -> None:
    classes = [LabelClass("liver", 4, "#102030"), LabelClass("big tumour", 2, "#ffffff")]
    itksnap.write_classes(tmp_path / "a.txt", classes)
    assert itksnap.recognises(tmp_path / "a.txt")
    assert itksnap.read_classes(tmp_path / "a.txt") == classes


def test_a_class_without_a_value_is_numbered(tmp_path: Path) -> None:
    itksnap.write_classes(tmp_path / "a.txt", [LabelClass("a"), LabelClass("b")])
    assert [each.value for each in itksnap.read_classes(tmp_path / "a.txt")] == [1, 2]


def test_a_malformed_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(DESCRIPTION + "18 0 0 liver\n")
    with pytest.raises(ValueError, match=r"a.txt is malformed: expected .* on line 11, got '18 0 0 liver'"):
        itksnap.read_classes(tmp_path / "a.txt")
