"""VIA: projects and exports of versions 1 and 2, as JSON and as CSV, in the forms that its documentation shows."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megamed.annotation_tools import via
from megamed.annotation_tools.model import AnnotatedImage, SegmentedImage

POLYGON = {"name": "polygon", "all_points_x": [3, 9, 9, 3], "all_points_y": [2, 2, 7, 7]}


def region(shape: Any, **attributes: Any) -> dict[str, Any]:
    return {"shape_attributes": shape, "region_attributes": attributes}


def entry(*regions: Any) -> dict[str, Any]:
    return {"filename": "a.png", "size": 123, "regions": list(regions), "file_attributes": {}}


def read(folder: Path, *regions: Any) -> AnnotatedImage:
    path = folder / "via_region_data.JSON"
    path.write_text(json.dumps({"a.png123": entry(*regions)}))
    (image,) = via.read(path)
    return image


def test_a_polygon_lies_on_pixel_corners(tmp_path: Path) -> None:
    image = read(tmp_path, region(POLYGON, name="polyp"))
    assert (image.file_name, image.size, image.notes) == ("a.png", None, ())
    labels = image.labels((12, 14))
    assert np.argwhere(labels["polyp"])[[0, -1]].tolist() == [[2, 3], [6, 8]]
    assert labels["polyp"].sum() == 30


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        ({"name": "rect", "x": 3, "y": 2, "width": 6, "height": 5}, 30),
        ({"name": "circle", "cx": 40, "cy": 40, "r": 20}, np.pi * 400),
        ({"name": "ellipse", "cx": 40, "cy": 40, "rx": 30, "ry": 10}, np.pi * 300),
        ({"name": "ellipse", "cx": 40, "cy": 40, "rx": 30, "ry": 10, "theta": 1.5}, np.pi * 300),
    ],
)
def test_other_shapes(tmp_path: Path, shape: dict[str, Any], area: float) -> None:
    assert read(tmp_path, region(shape, a="x")).labels((80, 80))["x"].sum() == pytest.approx(area, rel=0.02)


def test_the_class_among_the_attributes(tmp_path: Path) -> None:
    regions = [
        region(POLYGON, colour="red", Label="polyp"),
        region(POLYGON, tissue={"fat": True, "skin": False}),
        region(POLYGON, tissue=""),
        region(POLYGON),
    ]
    image = read(tmp_path, *regions)
    assert [shape.class_name for shape in image.shapes] == ["polyp", "fat", "region", "region"]
    assert image.notes == ("1 × region with several attributes: its class is 'Label'",)


def test_projects_and_the_regions_of_version_1(tmp_path: Path) -> None:
    path = tmp_path / "project.json"
    first = entry() | {"regions": {"0": region(POLYGON, a="x"), "1": region(POLYGON, a="y")}}
    path.write_text(json.dumps({"_via_settings": {}, "_via_img_metadata": {"a.png123": first}, "_via_attributes": {}}))
    (image,) = via.read(path)
    assert list(image.labels((12, 14))) == ["x", "y"]


def test_a_table(tmp_path: Path) -> None:
    path = tmp_path / "via_export.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        table = csv.writer(file)
        table.writerow(["#filename", *via.COLUMNS[1:]])
        table.writerow(["a.png", 123, "{}", 2, 0, json.dumps(POLYGON), '{"name":"polyp"}'])
        table.writerow(["a.png", 123, "{}", 2, 1, "{broken", "{}"])
        table.writerow(["b.png", 99, "{}", 0, 0, "{}", "{}"])
    assert via.recognises(path)
    first, second = via.read(path)
    assert first.labels((12, 14))["polyp"].sum() == 30
    assert len(first.notes) == 1
    assert (second.file_name, second.shapes) == ("b.png", ())


@pytest.mark.parametrize(
    "bad",
    [
        region({"name": "point", "cx": 1, "cy": 2}),
        region({"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1, 2]}),
        region({"name": "spiral"}),
        region(None),
        7,
    ],
)
def test_one_bad_region_does_not_lose_the_image(tmp_path: Path, bad: Any) -> None:
    image = read(tmp_path, bad, region(POLYGON, a="ok"))
    assert list(image.labels((12, 14))) == ["ok"]
    assert len(image.notes) == 1


def test_a_file_that_we_write_is_keyed_as_by_via(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"12345")
    via.write(tmp_path / "out.json", [SegmentedImage("a.png", (4, 4), {"x": np.eye(4, dtype=bool)})])
    document = json.loads((tmp_path / "out.json").read_text())
    assert list(document) == ["a.png5"]
    assert len(document["a.png5"]["regions"]) == 4
