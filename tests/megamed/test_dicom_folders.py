"""Folders of DICOM files as archives deliver them: series apart from what only shows where they were taken."""

from pathlib import Path

import numpy as np
import pytest

from megamed.pairing import find_pairs
from tests.dicom_files import series_affine, write_series

AFFINE = series_affine(np.eye(3), (3.0, 1.0, 1.0), (0.0, 0.0, 0.0))
LOCALISER = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


@pytest.mark.parametrize(
    ("slices", "images"), [(5, ["a", "b"]), (1, ["a/scan/0.dcm", "a/scout/0.dcm", "b/scan/0.dcm"])]
)
def test_localisers_beside_series_are_left_out(tmp_path: Path, slices: int, images: list[str]) -> None:
    write_series(tmp_path / "a" / "scan", np.zeros((slices, 4, 6), int), AFFINE)
    write_series(tmp_path / "a" / "scout", np.zeros((1, 4, 6), int), AFFINE, ImageType=LOCALISER)
    write_series(tmp_path / "b" / "scan", np.zeros((slices, 4, 6), int), AFFINE)
    found = find_pairs(tmp_path)
    assert [pair.image.relative_to(tmp_path).as_posix() for pair in found.pairs] == images
    note = "a/scout is left out, for it only shows where the other series were taken."
    assert (note in found.notes) == (slices > 1)


def test_pictures_beside_the_slices_of_a_series_are_no_images(tmp_path: Path) -> None:
    write_series(tmp_path / "p" / "scan", np.zeros((5, 4, 6), int), AFFINE)
    (tmp_path / "q").mkdir()
    for name in ("p/scan/preview.jpg", "p/scan/mask.png", "q/photo.png"):
        (tmp_path / name).touch()
    found = find_pairs(tmp_path)
    assert [pair.image.relative_to(tmp_path).as_posix() for pair in found.pairs] == ["p/scan", "q/photo.png"]
    assert "p/scan/preview.jpg is left out, for it is a picture beside the slices of a series." in found.notes
