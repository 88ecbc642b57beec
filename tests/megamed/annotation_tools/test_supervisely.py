"""Files of Supervisely: those that its documentation shows, and masks compressed by OpenCV's rules."""

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from megamed.annotation_tools import supervisely
from megamed.annotation_tools.model import SegmentedImage
from megamed.annotation_tools.tools import recognise
from megamed.pairing import find_pairs

SIZE = {"height": 12, "width": 16}


def save(path: Path, *objects: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"description": "", "tags": [], "size": SIZE, "objects": list(objects)}))
    return path


def bitmap(picture: Image.Image, left: int, top: int) -> dict[str, Any]:
    file = io.BytesIO()
    picture.save(file, "PNG")
    data = base64.b64encode(zlib.compress(file.getvalue())).decode()
    return {"classTitle": "tumour", "geometryType": "bitmap", "bitmap": {"data": data, "origin": [left, top]}}


@pytest.mark.parametrize("mode", ["1", "P", "RGBA", "P with opacity"])
def test_a_bitmap_lies_at_its_origin(tmp_path: Path, mode: str) -> None:
    pixels = np.array([[1, 0, 1], [1, 1, 0]], np.uint8)
    picture = Image.fromarray(pixels * 255).convert("1") if mode == "1" else Image.fromarray(pixels, "P")
    if mode == "P":
        picture.putpalette([0, 0, 0, 255, 255, 255])
    elif mode == "P with opacity":
        picture.putpalette([255, 0, 0, 255, 0, 0])
        picture.info["transparency"] = bytes([0, 255])
    elif mode == "RGBA":
        picture = Image.fromarray(np.dstack([np.full((2, 3, 3), 200, np.uint8), pixels * 255]))
    (image,) = supervisely.read(save(tmp_path / "a.png.json", bitmap(picture, 5, 7)))
    expected = np.zeros((12, 16), bool)
    expected[7:9, 5:8] = pixels
    assert np.array_equal(image.labels()["tumour"], expected)
    assert (image.file_name, image.size, image.notes) == ("a.png", (12, 16), ())


def test_polygons_have_holes_and_boxes_their_last_pixels(tmp_path: Path) -> None:
    points = {
        "exterior": [[1.5, 1.5], [9.5, 1.5], [9.5, 9.5], [1.5, 9.5]],
        "interior": [[[3, 3], [6, 3], [6, 6], [3, 6]]],
    }
    polygon = {"classTitle": "liver", "geometryType": "polygon", "points": points}
    rectangle = {
        "classTitle": "box",
        "geometryType": "rectangle",
        "points": {"exterior": [[2, 1], [4, 3]], "interior": []},
    }
    line = {"classTitle": "box", "geometryType": "line", "points": {"exterior": [[2, 1], [4, 3]], "interior": []}}
    (image,) = supervisely.read(save(tmp_path / "a.png.json", polygon, rectangle, line))
    labels = image.labels()
    assert labels["liver"].sum() == 8 * 8 - 3 * 3
    assert labels["liver"][2, 2]
    assert not labels["liver"][4, 4]
    assert labels["box"][1:4, 2:5].all()
    assert labels["box"].sum() == 9
    assert image.notes == ("1 × rectangle: a box, filled", "1 × line left out: it has no inside")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((12, 16)) > 0.7
    masks = {"a": mask, "nothing": np.zeros_like(mask)}
    supervisely.write(tmp_path / "a.png.json", [SegmentedImage("a.png", (12, 16), masks)])
    (image,) = supervisely.read(tmp_path / "a.png.json")
    assert np.array_equal(image.labels()["a"], mask)
    assert list(image.labels()) == ["a"]


def test_a_project_is_paired(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.png", "c.png"):
        (tmp_path / "ds0/img").mkdir(parents=True, exist_ok=True)
        Image.new("L", (16, 12), 90).save(tmp_path / "ds0/img" / name)
    save(tmp_path / "ds0/ann/a.jpg.json", bitmap(Image.new("1", (2, 2), 1), 5, 7))
    save(tmp_path / "ds0/ann/b.png.json")
    (tmp_path / "meta.json").write_text(json.dumps({"classes": [{"title": "tumour", "shape": "bitmap"}], "tags": []}))
    assert recognise(tmp_path / "ds0/ann/b.png.json") == "Supervisely"
    pairing = find_pairs(tmp_path)
    assert [pair.name for pair in pairing.labelled] == ["a.jpg", "b.png"]
    assert [pair.files[1].name for pair in pairing.labelled] == ["a.jpg.json", "b.png.json"]


def test_a_damaged_bitmap_is_left_out(tmp_path: Path) -> None:
    broken = bitmap(Image.new("1", (2, 2), 1), 5, 7)
    broken["bitmap"]["data"] = base64.b64encode(zlib.compress(b"no picture")).decode()
    (image,) = supervisely.read(save(tmp_path / "a.png.json", broken, bitmap(Image.new("1", (2, 2), 1), 5, 7)))
    assert image.labels()["tumour"].sum() == 4
    assert image.notes[0].startswith("1 × bitmap left out: ")
