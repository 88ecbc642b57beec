"""Folders of classes whose names are spelt in several ways are one class."""

import unicodedata
from pathlib import Path

import pytest

from megamed.pairing import find_pairs


@pytest.mark.parametrize("other", ["nävus", "NÄVUS", "Nävus ", unicodedata.normalize("NFD", "Nävus")])
def test_a_class_is_one_however_it_is_spelt(tmp_path: Path, other: str) -> None:
    for name in ("images/1.png", "images/2.png", "labels/Nävus/1.png", f"labels/{other}/2.png", "labels/b/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_pairs(tmp_path)
    assert len(found.classes) == 2
    assert [len(pair.labels) for pair in found.pairs] == [2, 1]
    assert any("are read as one class" in note for note in found.notes) == (other.casefold() == "nävus")
