"""Drawings on the slices of a file of a volume: their planes, and how they lie in its array."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from megamed.annotation_tools import imagej
from megamed.annotation_tools.drawn import read_drawn
from megamed.annotation_tools.model import SegmentedImage
from megamed.readers.stored import Canvas, Geometry
from tests.tool_files import Drawing, Drawings, coco, label_studio, square

WIDTH, HEIGHT, SLICES = 10, 8, 4
VOLUME = (WIDTH, HEIGHT, SLICES)
BOX = square("lesion", 2, 3, 4)
"""Rows 3 to 6 and columns 2 to 5."""


def drawn_in(path: Path, shape: tuple[int, ...] = VOLUME) -> np.ndarray:
    (segment,) = read_drawn(path, Canvas(path.parent / "scan.nii.gz", shape, Geometry(np.eye(4)))).segments
    return segment.draw()


@pytest.mark.parametrize(
    ("name", "write"),
    [("scan_1.png", label_studio), ("scan_slice001.jpg", coco), ("Scan/001.png", coco), ("scan-z1.png", coco)],
)
def test_a_slice_is_known_by_the_number_behind_the_name(
    tmp_path: Path, name: str, write: Callable[[Path, Drawings], None]
) -> None:
    write(tmp_path, {name: Drawing((HEIGHT, WIDTH), (BOX,)), "other_2.png": Drawing((HEIGHT, WIDTH), (BOX,))})
    mask = drawn_in(next(tmp_path.glob("*.json")))
    assert mask.shape == VOLUME
    assert mask.sum() == 16
    assert mask[2:6, 3:7, 1].all()


def test_numbers_that_reach_the_number_of_slices_count_from_1(tmp_path: Path) -> None:
    names = {f"scan_{number}.png": Drawing((HEIGHT, WIDTH), (BOX,)) for number in (2, SLICES)}
    coco(tmp_path, names)
    assert drawn_in(next(tmp_path.glob("*.json"))).sum(axis=(0, 1)).tolist() == [0, 16, 0, 16]


def test_pictures_whose_rows_are_the_first_axis_are_told_by_their_size(tmp_path: Path) -> None:
    coco(tmp_path, {"scan_0.png": Drawing((WIDTH, HEIGHT), (square("lesion", 1, 3, 4),))})
    assert drawn_in(next(tmp_path.glob("*.json")))[3:7, 1:5, 0].all()


def test_selections_on_the_slices_of_a_stack_lie_as_they_were_shown(tmp_path: Path) -> None:
    pytest.importorskip("roifile")
    stack = np.zeros((SLICES, HEIGHT, WIDTH), bool)
    stack[2, 3:7, 2:6] = True
    imagej.write(path := tmp_path / "scan.zip", [SegmentedImage("scan", stack.shape, {"lesion": stack})])
    assert np.array_equal(drawn_in(path) > 0, stack.transpose(2, 1, 0))
    (note,) = read_drawn(path, Canvas(tmp_path / "scan.nii", VOLUME, Geometry(np.eye(4)))).notes
    assert note == "scan.zip was drawn on slices: they are taken for those along the last axis of the array"


@pytest.mark.parametrize("name", ["scan.nii.gz", "slices/scan.png", "Scan.jpg"])
def test_a_volume_of_one_slice_needs_no_number(tmp_path: Path, name: str) -> None:
    coco(tmp_path, {name: Drawing((HEIGHT, WIDTH), (BOX,)), "other.png": Drawing((HEIGHT, WIDTH), (BOX,))})
    assert drawn_in(next(tmp_path.glob("*.json")), (WIDTH, HEIGHT, 1))[2:6, 3:7, 0].sum() == 16


def test_a_drawing_of_no_slice_is_refused(tmp_path: Path) -> None:
    coco(tmp_path, {"scan.png": Drawing((HEIGHT, WIDTH), (BOX,))})
    with pytest.raises(ValueError, match="or slices by their numbers, got a volume"):
        drawn_in(next(tmp_path.glob("*.json")))
