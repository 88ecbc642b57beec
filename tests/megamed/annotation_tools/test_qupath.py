"""QuPath's GeoJSON, made by the library geojson and in the forms that QuPath has written over the years."""

import json
from pathlib import Path
from typing import Any

import geojson
import numpy as np
import pytest

from megamed.annotation_tools import qupath
from megamed.annotation_tools.model import SegmentedImage

OUTER = [(2, 1), (12, 1), (12, 9), (2, 9), (2, 1)]
HOLE = [(4, 3), (6, 3), (6, 5), (4, 5), (4, 3)]


def feature(geometry: Any, tissue: str | None = "Tumor", **properties: Any) -> geojson.Feature:
    classification = {"classification": {"name": tissue, "color": [200, 0, 0]}} if tissue else {}
    return geojson.Feature(geometry=geometry, properties={"objectType": "annotation", **classification, **properties})


def write(folder: Path, *features: Any) -> Path:
    path = folder / "slide.GeoJSON"
    path.write_text(geojson.dumps(geojson.FeatureCollection(list(features))))
    return path


def expected() -> np.ndarray:
    mask = np.zeros((12, 20), bool)
    mask[1:9, 2:12] = True
    mask[3:5, 4:6] = False
    return mask


def test_inner_rings_are_holes(tmp_path: Path) -> None:
    (image,) = qupath.read(write(tmp_path, feature(geojson.Polygon([OUTER, HOLE]))))
    assert (image.file_name, image.size, image.plane) == ("slide", None, None)
    assert np.array_equal(image.labels((12, 20))["Tumor"], expected())
    assert image.classes[0].colour == "#c80000"


def test_polygons_of_several_parts_are_one_object(tmp_path: Path) -> None:
    island = [(15, 0), (17, 0), (17, 2), (15, 2), (15, 0)]
    parts = geojson.MultiPolygon([[OUTER, HOLE], [island]])
    collection = geojson.GeometryCollection([geojson.Polygon([island]), geojson.Point((1, 1))])
    (image,) = qupath.read(write(tmp_path, feature(parts), feature(collection, "Other")))
    assert [int(each.sum()) for each in image.instances((12, 20))["Tumor"]] == [76 + 4]
    assert image.labels((12, 20))["Other"].sum() == 4
    assert image.notes == ("1 × Point left out: it has no inside",)


@pytest.mark.parametrize("form", ["list", "single", "collection"])
def test_forms_of_the_document(tmp_path: Path, form: str) -> None:
    one = json.loads(geojson.dumps(feature(geojson.Polygon([OUTER, HOLE]))))
    one["properties"]["classification"] = {"name": "Tumor", "colorRGB": -3670016}
    document = {"list": [one], "single": one, "collection": {"type": "FeatureCollection", "features": [one]}}[form]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document))
    assert qupath.recognises(path)
    (image,) = qupath.read(path)
    assert np.array_equal(image.labels((12, 20))["Tumor"], expected())
    assert image.classes[0].colour == "#c80000"


def test_what_has_no_class_is_called_by_its_name(tmp_path: Path) -> None:
    square = geojson.Polygon([OUTER])
    (image,) = qupath.read(write(tmp_path, feature(square, None, name="region 1"), feature(square, None)))
    assert list(image.labels((12, 20))) == ["region 1", "annotation"]


def test_planes_are_kept_apart(tmp_path: Path) -> None:
    shapes = [feature(geojson.Polygon([OUTER])) for _ in range(2)]
    for z, each in enumerate(shapes):
        each["geometry"]["plane"] = {"c": -1, "z": z, "t": 0}
    assert [image.plane for image in qupath.read(write(tmp_path, *shapes))] == [0, 1]


def test_one_bad_shape_does_not_lose_the_image(tmp_path: Path) -> None:
    bad = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1]]]}, "properties": None}
    none = {"type": "Feature", "geometry": None, "properties": {}}
    (image,) = qupath.read(write(tmp_path, bad, none, feature(geojson.Polygon([OUTER]))))
    assert list(image.labels((12, 20))) == ["Tumor"]
    assert len(image.notes) == 2


def test_what_we_write_is_valid_geojson(tmp_path: Path) -> None:
    qupath.write(tmp_path / "a.geojson", [SegmentedImage("a.png", (12, 20), {"Tumor": expected()})])
    (found,) = geojson.loads((tmp_path / "a.geojson").read_text())["features"]
    assert found.is_valid
    assert len(found["geometry"]["coordinates"]) == 2


def test_masks_of_a_level_are_written_at_full_resolution(tmp_path: Path) -> None:
    mask = expected()
    qupath.write(tmp_path / "a.geojson", [SegmentedImage("a.svs", mask.shape, {"Tumor": mask}, full_size=(48, 80))])
    (image,) = qupath.read(tmp_path / "a.geojson")
    assert np.array_equal(image.labels((48, 80))["Tumor"], mask.repeat(4, 0).repeat(4, 1))


def test_what_is_ignored_is_unknown(tmp_path: Path) -> None:
    (image,) = qupath.read(write(tmp_path, feature(geojson.Polygon([OUTER, HOLE]), "Ignore*")))
    assert (image.labels((12, 20)), image.classes, len(image.unknown)) == ({}, (), 1)


def test_a_derived_class_has_the_names_of_its_parts(tmp_path: Path) -> None:
    derived = {"names": ["Tumor", "CD3"], "color": [0, 0, 200]}
    (image,) = qupath.read(write(tmp_path, feature(geojson.Polygon([OUTER]), None, classification=derived)))
    assert [each.name for each in image.classes] == ["Tumor: CD3"]


def test_an_image_on_which_nothing_was_drawn(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert qupath.recognises(path)
    (image,) = qupath.read(path)
    assert image.labels((12, 20)) == {}
