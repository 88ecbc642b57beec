"""What cannot hold the masks of an image is told before anything is read twice."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from incontext.folders.mask_targets import check_targets, possible_kinds
from megamed.pairing import ImagePair
from megamed.vocabulary import WrittenTool

PAGES = [Image.fromarray(np.full((6, 8), value, np.uint8)) for value in (0, 90, 200)]


def picture(folder: Path) -> Path:
    PAGES[0].save(folder / "a.png")
    return folder / "a.png"


def film(folder: Path) -> Path:
    PAGES[0].save(folder / "a.gif", save_all=True, append_images=PAGES[1:])
    return folder / "a.gif"


def page(folder: Path) -> Path:
    PAGES[0].save(folder / "a.tif")
    return folder / "a.tif"


def stack(folder: Path) -> Path:
    PAGES[0].save(folder / "a.tif", save_all=True, append_images=PAGES[1:])
    return folder / "a.tif"


def pyramid(folder: Path) -> Path:
    with tifffile.TiffWriter(folder / "a.tif") as file:
        file.write(np.zeros((64, 64), np.uint8), subfiletype=0)
        file.write(np.zeros((32, 32), np.uint8), subfiletype=1)
    return folder / "a.tif"


def series(folder: Path) -> Path:
    (folder / "scan").mkdir()
    return folder / "scan"


def volume(folder: Path) -> Path:
    return folder / "a.nii.gz"


def damaged(folder: Path) -> Path:
    (folder / "a.png").write_bytes(b"")
    return folder / "a.png"


@pytest.mark.parametrize(
    ("make", "kinds"),
    [
        (picture, {"image"}),
        (film, {"stack"}),
        (page, {"image"}),
        (stack, {"stack"}),
        (pyramid, {"image"}),
        (series, {"volume"}),
        (volume, {"volume"}),
        (damaged, {"image", "stack", "volume"}),
    ],
)
def test_kinds_are_told_by_names_and_headers(tmp_path: Path, make, kinds: set[str]) -> None:
    assert possible_kinds(make(tmp_path)) == kinds


@pytest.mark.parametrize(
    ("make", "suffix", "tool", "error"),
    [
        (
            picture,
            ".bogus",
            None,
            r"mask format is unknown: expected one of \.dcm, (?!.*\.nii, .*\.nii,).*, got \.bogus",
        ),
        (picture, ".jpg", None, r"mask format is unknown"),
        (picture, ".nii.gz", None, r"a.png cannot have a mask in \.nii\.gz: expected one of \.png, \.bmp, \.tif"),
        (volume, ".png", None, r"a.nii.gz cannot have a mask in \.png: expected one of \.nii\.gz, \.nii"),
        (volume, ".dcm", None, r"cannot have a mask in \.dcm"),
        (stack, ".png", None, r"cannot have a mask in \.png: expected one of \.tif, \.tiff"),
        (volume, None, "coco", r"COCO cannot hold the mask of a.nii.gz: expected a picture, got a volume"),
        (stack, None, "yolo", r"YOLO cannot hold the mask of a.tif: expected a picture, got a stack of planes"),
        (picture, None, "slicer", r"3D Slicer cannot hold the mask of a.png: expected a volume, got a picture"),
    ],
)
def test_what_cannot_hold_a_mask_is_refused(
    tmp_path: Path, make, suffix: str | None, tool: WrittenTool | None, error: str
) -> None:
    image = make(tmp_path)
    with pytest.raises(ValueError, match=error):
        check_targets([ImagePair(image, image.name)], suffix, [tool] if tool else [])


@pytest.mark.parametrize(
    ("make", "suffix", "tool"),
    [
        (picture, ".bmp", "labelme"),
        (pyramid, ".tif", "coco"),
        (stack, ".tif", "imagej"),
        (series, ".dcm", "slicer"),
        (series, ".nii.gz", "itksnap"),
        (volume, ".nrrd", "slicer"),
        (damaged, ".png", "coco"),
    ],
)
def test_what_can_hold_a_mask_is_not(tmp_path: Path, make, suffix: str, tool: WrittenTool) -> None:
    image = make(tmp_path)
    check_targets([ImagePair(image, image.name)], suffix, [tool])
