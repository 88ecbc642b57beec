"""LabelMe: files as its documentation shows them, and what real ones have beside."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from megamed.annotation_tools import labelme
from megamed.annotation_tools.model import AnnotatedImage, SegmentedImage


def png(mask: np.ndarray, **options: Any) -> str:
    file = io.BytesIO()
    Image.fromarray(mask, **options).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def read(folder: Path, *shapes: Any, **changes: Any) -> AnnotatedImage:
    path = folder / "photo.json"
    document = {
        "version": "5.4.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": "..\\images\\photo.jpg",
        "imageData": None,
        "imageHeight": 40,
        "imageWidth": 50,
    }
    path.write_text(json.dumps({key: value for key, value in (document | changes).items() if value != "missing"}))
    (image,) = labelme.read(path)
    return image


def shape(kind: str | None, points: list, **more: Any) -> dict[str, Any]:
    return {"label": "shelf", "points": points, "group_id": None, "shape_type": kind, "flags": {}} | more


def test_a_polygon_lies_on_pixel_corners(tmp_path: Path) -> None:
    image = read(tmp_path, shape("polygon", [[3, 5], [13, 5], [13, 9], [3, 9]]))
    assert image.file_name == "../images/photo.jpg"
    assert image.size == (40, 50)
    expected = np.zeros((40, 50), bool)
    expected[5:9, 3:13] = True
    assert np.array_equal(image.labels()["shelf"], expected)


def test_rectangles_and_circles_are_filled(tmp_path: Path) -> None:
    image = read(tmp_path, shape("rectangle", [[13, 9], [3, 5]]), shape("circle", [[25, 20], [35, 20]], label="disc"))
    assert image.labels()["shelf"].sum() == 40
    assert image.labels()["disc"].sum() == pytest.approx(np.pi * 100, rel=0.01)
    assert image.notes == ("1 × rectangle: a box, filled",)


@pytest.mark.parametrize(
    "stored", [np.array([[1, 0, 1], [1, 1, 1]], bool), np.array([[9, 0, 1], [255, 1, 1]], np.uint8)]
)
def test_a_mask_lies_at_its_first_point(tmp_path: Path, stored: np.ndarray) -> None:
    image = read(tmp_path, shape("mask", [[7, 4], [9, 5]], mask=png(stored)))
    assert np.argwhere(image.labels()["shelf"]).tolist() == [[4, 7], [4, 9], [5, 7], [5, 8], [5, 9]]


def test_a_group_is_one_object(tmp_path: Path) -> None:
    boxes = [
        [[0, 0], [4, 0], [4, 4], [0, 4]],
        [[9, 0], [12, 0], [12, 3], [9, 3]],
        [[20, 20], [22, 20], [22, 22], [20, 22]],
    ]
    image = read(
        tmp_path, *(shape("polygon", each, group_id=group) for each, group in zip(boxes, (1, 1, None), strict=True))
    )
    assert [int(each.sum()) for each in image.instances()["shelf"]] == [25, 4]


@pytest.mark.parametrize(
    ("bad", "note"),
    [
        (shape("linestrip", [[0, 0], [9, 9]]), "linestrip left out: it has no inside"),
        (shape("point", [[0, 0]]), "point left out: it has no inside"),
        (shape("hexagon", [[0, 0], [9, 9], [3, 4]]), "type that is not known"),
        (shape("polygon", [[0, 0], [9, 9]]), "three or more points"),
        (shape("mask", [[0, 0], [9, 9]], mask="bm8="), "cannot identify"),
        ({"points": [[0, 0]]}, "no 'label'"),
        (shape("polygon", [[0, 0], [9, 0], [9, 9]], label=None), "polygon left out: it has no label"),
        (None, "shape left out"),
    ],
)
def test_one_bad_shape_does_not_lose_the_image(tmp_path: Path, bad: Any, note: str) -> None:
    image = read(tmp_path, bad, shape("polygon", [[0, 0], [4, 0], [4, 4], [0, 4]]))
    assert image.labels()["shelf"].sum() == 16
    assert len(image.notes) == 1
    assert note in image.notes[0]


def test_keys_that_older_files_lack(tmp_path: Path) -> None:
    bare = {"label": "shelf", "points": [[0, 0], [4, 0], [4, 4], [0, 4]]}
    image = read(tmp_path, bare, imageHeight="missing", imageWidth="missing", imagePath="missing", version="missing")
    assert (image.file_name, image.size) == ("photo", None)
    assert image.labels((9, 9))["shelf"].sum() == 16


def test_what_we_write_has_the_keys_that_labelme_demands(tmp_path: Path) -> None:
    mask = np.zeros((9, 12), bool)
    mask[1:8, 1:6] = True
    mask[3:5, 2:4] = False
    mask[2:4, 8:11] = True
    labelme.write(tmp_path / "a.json", [SegmentedImage("a.png", (9, 12), {"cell": mask})])
    document = json.loads((tmp_path / "a.json").read_text())
    assert {"version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth"} == set(document)
    ring, square = document["shapes"]
    assert [ring["shape_type"], square["shape_type"]] == ["mask", "polygon"]
    (left, top), (right, bottom) = ring["points"]
    stored = np.asarray(Image.open(io.BytesIO(base64.b64decode(ring["mask"]))))
    assert stored.shape == (bottom - top + 1, right - left + 1)
    assert np.array_equal(stored, mask[top : bottom + 1, left : right + 1])
    assert square["points"] == [[8, 2], [11, 2], [11, 4], [8, 4]]


def test_labels_that_name_no_class(tmp_path: Path) -> None:
    corners = [[3, 5], [13, 5], [13, 9], [3, 9]]
    none = [shape("polygon", corners, label=label) for label in ("__ignore__", "_background_")]
    image = read(tmp_path, shape("rotation", corners, direction=0.0), *none)
    assert {name: int(mask.sum()) for name, mask in image.labels().items()} == {"shelf": 40}
    assert [each.name for each in image.classes] == ["shelf"]
    assert len(image.unknown) == 1
    assert image.notes == ("1 × polygon left out: it is of _background_",)
