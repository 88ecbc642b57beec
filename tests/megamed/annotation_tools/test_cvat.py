"""CVAT for images: elements as its documentation of the format shows them."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from megamed.annotation_tools import cvat
from megamed.annotation_tools.model import AnnotatedImage, SegmentedImage

DISC = "3, 5, 7, 7, 5, 9, 3, 11, 2, 11, 2, 12, 1, 12, 1, 26, 1, 12, 1, 12, 2, 11, 3, 9, 5, 7, 7, 5, 3"
"""The mask in the documentation's example: a disc in a box of 13 × 15."""


def read(folder: Path, elements: str, head: str = "") -> AnnotatedImage:
    path = folder / "annotations.XML"
    image = f'<image id="0" name="sub/a.png" width="60" height="45">{elements}</image>'
    path.write_text(
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{head}{image}</annotations>'
    )
    (found,) = cvat.read(path)
    return found


def test_a_polygon_and_a_box_lie_on_pixel_corners(tmp_path: Path) -> None:
    points = "3.00,5.00;13.00,5.00;13.00,9.00;3.00,9.00"
    polygon = f'<polygon label="car" source="manual" occluded="0" points="{points}" z_order="0"/>'
    corners = 'xtl="20.00" ytl="10.00" xbr="24.00" ybr="13.00"'
    box = f'<box label="sign" occluded="0" {corners} z_order="4"><attribute name="a">b</attribute></box>'
    image = read(tmp_path, polygon + box)
    assert (image.file_name, image.size) == ("sub/a.png", (45, 60))
    labels = image.labels()
    assert np.argwhere(labels["car"])[[0, -1]].tolist() == [[5, 3], [8, 12]]
    assert labels["car"].sum() == 40
    assert np.argwhere(labels["sign"])[[0, -1]].tolist() == [[10, 20], [12, 23]]
    assert image.notes == ("1 × box: a bounding box, filled",)


def test_a_mask_runs_along_its_rows(tmp_path: Path) -> None:
    image = read(tmp_path, f'<mask label="disc" rle="{DISC}" left="7" top="8" width="13" height="15" z_order="0"/>')
    disc = image.labels()["disc"][8:23, 7:20]
    assert disc.sum() == image.labels()["disc"].sum()
    assert disc[0].nonzero()[0].tolist() == [3, 4, 5, 6, 7]
    assert disc[1].nonzero()[0].tolist() == [2, 3, 4, 5, 6, 7, 8]
    assert disc[7].all()
    assert disc[14].nonzero()[0].tolist() == [5, 6, 7, 8, 9]


def test_ellipses_and_turned_boxes(tmp_path: Path) -> None:
    ellipse = '<ellipse label="e" cx="30" cy="20" rx="12" ry="6" rotation="90"/>'
    box = '<box label="b" xtl="10" ytl="10" xbr="30" ybr="14" rotation="90"/>'
    labels = read(tmp_path, ellipse + box).labels()
    assert labels["e"].sum() == pytest.approx(np.pi * 72, rel=0.04)
    assert np.ptp(np.nonzero(labels["e"])[0]) > np.ptp(np.nonzero(labels["e"])[1])
    assert np.argwhere(labels["b"])[[0, -1]].tolist() == [[2, 18], [21, 21]]


@pytest.mark.parametrize(
    ("element", "note"),
    [
        ('<polyline label="x" points="1,2;3,4"/>', "polyline left out: it has no inside"),
        ('<points label="x" points="1,2"/>', "points left out: it has no inside"),
        ('<mask label="x" rle="1, 2" left="0" top="0" width="13" height="15"/>', "runs that fill"),
        ('<mask label="x" rle="1" left="0" top="0" width="1000000" height="1000000"/>', "expected a mask of"),
        ('<polygon label="x" points="1,2;nonsense"/>', "polygon left out"),
        ('<polygon points="1,2;3,4;5,6"/>', "no 'label'"),
        ('<blob label="x"/>', "type that is not known"),
    ],
)
def test_one_bad_shape_does_not_lose_the_image(tmp_path: Path, element: str, note: str) -> None:
    image = read(tmp_path, f'{element}<polygon label="ok" points="0,0;4,0;4,4;0,4"/>')
    assert list(image.labels()) == ["ok"]
    assert len(image.notes) == 1
    assert note in image.notes[0]


def test_classes_and_groups(tmp_path: Path) -> None:
    head = "<meta><job><labels><label><name>cell</name><color>#aa0011</color></label></labels></job></meta>"
    box = '<polygon label="cell" points="{0},0;{1},0;{1},4;{0},4" group_id="{2}"/>'
    image = read(tmp_path, box.format(0, 2, 3) + box.format(10, 12, 3) + box.format(20, 21, 0), head)
    assert [(each.name, each.colour) for each in image.classes] == [("cell", "#aa0011")]
    assert [int(each.sum()) for each in image.instances()["cell"]] == [16, 4]


def test_tracks_and_entities_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "video.xml"
    path.write_text('<annotations><track id="0" label="car"><box frame="0"/></track></annotations>')
    with pytest.raises(ValueError, match=r"video.xml is no CVAT for images: .* got tracks of a video"):
        cvat.read(path)
    path.write_text('<!DOCTYPE a [<!ENTITY b "bbbb">]><annotations>&b;</annotations>')
    with pytest.raises(ValueError, match=r"video.xml defines entities"):
        cvat.read(path)


def test_a_mask_that_we_write_expands_in_its_box(tmp_path: Path) -> None:
    mask = np.zeros((9, 12), bool)
    mask[2:4, 3:7] = True
    mask[3, 4] = False
    cvat.write(tmp_path / "a.xml", [SegmentedImage("a.png", (9, 12), {"cell": mask})])
    element = ElementTree.parse(tmp_path / "a.xml").find("image/mask")
    assert element is not None
    assert [element.get(key) for key in ("left", "top", "width", "height", "rle")] == ["3", "2", "4", "2", "0, 5, 1, 2"]
