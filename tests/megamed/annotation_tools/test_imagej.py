"""ImageJ against roifile: each kind of selection, archives, and what is no selection."""

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import roifile

from megamed.annotation_tools import imagej
from megamed.annotation_tools.model import SegmentedImage

SQUARE = np.array([[3, 2], [9, 2], [9, 7], [3, 7]], np.int32)


def square() -> np.ndarray:
    mask = np.zeros((12, 14), bool)
    mask[2:7, 3:9] = True
    return mask


def archive(folder: Path, *rois: roifile.ImagejRoi, name: str = "RoiSet.ZIP") -> Path:
    roifile.roiwrite(folder / name, rois, mode="w", name=[f"{index:04}" for index in range(len(rois))])
    return folder / name


@pytest.mark.parametrize("points", [SQUARE, SQUARE.astype(np.float32)], ids=["whole", "subpixel"])
def test_a_traced_selection_lies_on_pixel_corners(tmp_path: Path, points: np.ndarray) -> None:
    roifile.ImagejRoi.frompoints(points, name="nucleus").tofile(tmp_path / "cell 1.roi")
    (image,) = imagej.read(tmp_path / "cell 1.roi")
    assert (image.file_name, image.size, image.plane) == ("cell 1", None, None)
    assert np.array_equal(image.labels((12, 14))["nucleus"], square())


def test_rectangles_and_ovals(tmp_path: Path) -> None:
    box = {"top": 2, "left": 3, "bottom": 7, "right": 9}
    rectangle = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.RECT, name="box", **box)
    oval = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.OVAL, name="oval", top=0, left=0, bottom=10, right=14)
    (image,) = imagej.read(archive(tmp_path, rectangle, oval))
    labels = image.labels((12, 14))
    assert np.array_equal(labels["box"], square())
    assert labels["oval"].sum() == pytest.approx(np.pi * 35, rel=0.05)


def test_paths_of_a_composite_are_holes_by_even_odd(tmp_path: Path) -> None:
    path = [0, 3, 2, 1, 9, 2, 1, 9, 7, 1, 3, 7, 4, 0, 4, 3, 1, 5, 3, 1, 5, 4, 1, 4, 4, 4]
    roi = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.RECT, name="ring", top=2, left=3, bottom=7, right=9)
    roi.multi_coordinates = np.array(path, np.float32)
    roi.shape_roi_size = len(path)
    expected = square()
    expected[3, 4] = False
    (image,) = imagej.read(archive(tmp_path, roi))
    assert np.array_equal(image.labels((12, 14))["ring"], expected)


def test_names_of_classes(tmp_path: Path) -> None:
    names = ["nucleus", "nucleus-1", "0001-0002-0003", "0004-0005", "x"]
    rois = [roifile.ImagejRoi.frompoints(SQUARE, name=name) for name in names]
    rois[3].group = 2
    rois[4].props = "class: membrane\n"
    path = tmp_path / "slide_RoiSet.zip"
    roifile.roiwrite(path, rois, mode="w", name=names)
    (image,) = imagej.read(path)
    assert image.file_name == "slide"
    assert [shape.class_name for shape in image.shapes] == ["nucleus", "nucleus", "roi", "group 2", "membrane"]


def test_positions_are_planes(tmp_path: Path) -> None:
    first = roifile.ImagejRoi.frompoints(SQUARE, name="a", position=0)
    second = roifile.ImagejRoi.frompoints(SQUARE, name="a", z=4)
    assert [image.plane for image in imagej.read(archive(tmp_path, first, second))] == [0, 4]


def test_lines_and_damaged_selections_are_noted(tmp_path: Path) -> None:
    line = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.LINE, name="axis", x2=5.0)
    path = archive(tmp_path, line, roifile.ImagejRoi.frompoints(SQUARE, name="a"))
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("broken.roi", b"Iout" + b"\0" * 100)
        file.writestr("short.roi", b"Iout")
        lying = bytearray(roifile.ImagejRoi.frompoints(SQUARE, name="b").tobytes())
        lying[16:18] = struct.pack(">H", 60000)
        file.writestr("lying.roi", bytes(lying))
    images = imagej.read(path)
    assert [shape.class_name for image in images for shape in image.shapes] == ["a"]
    assert len([note for image in images for note in image.notes]) == 4


def test_archives_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path, *[roifile.ImagejRoi.frompoints(SQUARE, name="a")] * 3)
    monkeypatch.setattr(imagej, "MAX_MEMBERS", 2)
    with pytest.raises(ValueError, match=r"RoiSet.ZIP holds no selections of ImageJ: .* expected at most 2 selections"):
        imagej.read(path)


def test_roifile_reads_what_we_write(tmp_path: Path, draw: Callable[..., np.ndarray]) -> None:
    masks = {"nucleus": draw(0), "cyto/plasm": draw(1)}
    imagej.write(tmp_path / "a.zip", [SegmentedImage("a.png", (45, 60), masks)])
    rois = roifile.roiread(tmp_path / "a.zip")
    assert [roi.name for roi in rois] == list(masks)
    areas = [sum(signed_area(path) for path in roi.coordinates(multi=True)) for roi in rois]
    assert areas == [mask.sum() for mask in masks.values()]


def signed_area(path: np.ndarray) -> float:
    x, y = path.astype(float).T
    return float(x[:-1] @ y[1:] - x[1:] @ y[:-1]) / 2
