"""Label Studio: a brush stroke packed by its own converter, and results as its documentation shows them."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from megamed.annotation_tools import label_studio
from megamed.annotation_tools.drawn import read_drawn
from megamed.annotation_tools.model import AnnotatedImage, SegmentedImage
from megamed.annotation_tools.writers import write_files
from megamed.pairing import find_pairs
from megamed.propose import propose
from megamed.readers.stored import Canvas

BRUSH = Path(__file__).with_name("label_studio_brush.json")
"""Packed by `image2annotation` of label-studio-sdk 2.1.2 from the drawing below."""


def drawing() -> np.ndarray:
    y, x = np.mgrid[:30, :44]
    mask = ((y - 14) ** 2 + (x - 20) ** 2 < 150) & ~((y - 13) ** 2 + (x - 22) ** 2 < 20)
    mask[3:5, 40:44] = True
    return mask


def region(kind: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    sizes = {"original_width": 200, "original_height": 100, "image_rotation": 0}
    return {"id": "r", "type": kind, "from_name": "label", "to_name": "image", "value": value, **sizes, **more}


def read(folder: Path, *regions: Any, image: str = "a.png", **annotation: Any) -> AnnotatedImage:
    path = folder / "export.json"
    task = {"id": 1, "data": {"image": image}, "annotations": [{"id": 2, "result": list(regions), **annotation}]}
    path.write_text(json.dumps([task]))
    (found,) = label_studio.read(path)
    return found


def test_a_brush_stroke_that_its_converter_packed() -> None:
    (image,) = label_studio.read(BRUSH)
    assert (image.file_name, image.size) == ("slide 1.png", (30, 44))
    assert np.array_equal(image.labels()["Tumour"], drawing())


def test_coordinates_are_per_cent(tmp_path: Path) -> None:
    points = [[10, 20], [60, 20], [60, 50], [10, 50]]
    polygon = region("polygonlabels", {"points": points, "closed": True, "polygonlabels": ["Car"]})
    square = {"x": 5, "y": 10, "width": 10, "height": 20, "rotation": 0, "rectanglelabels": ["Box"]}
    oval = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "rotation": 0, "ellipselabels": ["Oval"]}
    image = read(tmp_path, polygon, region("rectanglelabels", square), region("ellipselabels", oval))
    labels = image.labels()
    assert image.size == (100, 200)
    assert np.argwhere(labels["Car"])[[0, -1]].tolist() == [[20, 20], [49, 119]]
    assert np.argwhere(labels["Box"])[[0, -1]].tolist() == [[10, 10], [29, 29]]
    assert labels["Oval"].sum() == pytest.approx(np.pi * 40 * 10, rel=0.02)


def test_a_box_turns_about_its_corner(tmp_path: Path) -> None:
    value = {"x": 50, "y": 50, "width": 10, "height": 40, "rotation": 90, "rectanglelabels": ["Box"]}
    labels = read(tmp_path, region("rectanglelabels", value)).labels()
    assert np.argwhere(labels["Box"])[[0, -1]].tolist() == [[50, 60], [69, 99]]


def test_a_label_may_stand_in_a_region_of_its_own(tmp_path: Path) -> None:
    shape = region("polygon", {"points": [[0, 0], [50, 0], [50, 50]]})
    assert list(read(tmp_path, shape, region("labels", {"labels": ["Nerve"]})).labels()) == ["Nerve"]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/upload/12/0a1b2c3d-my%20file.png", "my file.png"),
        ("/data/local-files/?d=sub/folder/a.png", "sub/folder/a.png"),
        ("s3://bucket/sub/a.png", "sub/a.png"),
        ("https://host/sub/a%201.png?token=1", "sub/a 1.png"),
        ("a.png", "a.png"),
    ],
)
def test_the_image_behind_an_address(tmp_path: Path, address: str, name: str) -> None:
    assert read(tmp_path, image=address).file_name == name


def test_each_annotator_gives_an_image(tmp_path: Path) -> None:
    shape = region("polygonlabels", {"points": [[0, 0], [50, 0], [50, 50]], "polygonlabels": ["A"]})
    annotations = [{"completed_by": {"email": "x@y"}, "result": [shape]}, {"completed_by": 4, "result": []}]
    annotations += [{"completed_by": 5, "was_cancelled": True, "result": [shape]}]
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"data": {"image": "a.png"}, "annotations": annotations}]))
    assert [(image.annotator, len(image.shapes)) for image in label_studio.read(path)] == [("x@y", 1), ("4", 0)]


def test_a_task_that_nobody_has_done_gives_no_image(tmp_path: Path) -> None:
    tasks = [
        {"data": {"image": "open.png"}, "annotations": [], "predictions": []},
        {"data": {"image": "skipped.png"}, "annotations": [{"result": [], "was_cancelled": True}]},
        {"data": {"image": "empty.png"}, "annotations": [{"result": []}]},
    ]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    assert [image.file_name for image in label_studio.read(tmp_path / "export.json")] == ["empty.png"]


def test_the_minimal_export(tmp_path: Path) -> None:
    sizes = {"original_width": 200, "original_height": 100}
    shape = {"points": [[0, 0], [50, 0], [50, 50], [0, 50]], "polygonlabels": ["A"], **sizes}
    path = tmp_path / "min.json"
    path.write_text(json.dumps([{"id": 1, "image": "/data/upload/1/0a1b2c3d-a.png", "tag": [shape]}]))
    assert label_studio.recognises(path)
    (image,) = label_studio.read(path)
    assert image.file_name == "a.png"
    assert image.labels()["A"].sum() == 5000


@pytest.mark.parametrize(
    ("bad", "note"),
    [
        (region("keypointlabels", {"x": 1, "y": 1, "keypointlabels": ["k"]}), "keypoint left out"),
        (region("brushlabels", {"rle": [0] * 30, "brushlabels": ["b"]}), "packed values"),
        (region("brushlabels", {"rle": "x", "brushlabels": ["b"]}), "brush left out"),
        (region("polygonlabels", {"polygonlabels": ["p"]}), "no 'points'"),
        (region("cubelabels", {"cubelabels": ["p"]}), "no 'x'"),
    ],
)
def test_one_bad_region_does_not_lose_the_image(tmp_path: Path, bad: Any, note: str) -> None:
    good = region("polygonlabels", {"points": [[0, 0], [50, 0], [50, 50], [0, 50]], "polygonlabels": ["ok"]})
    image = read(tmp_path, bad, good)
    assert list(image.labels()) == ["ok"]
    assert len(image.notes) == 1
    assert note in image.notes[0]


def test_a_turned_canvas_is_noted(tmp_path: Path) -> None:
    value = {"points": [[0, 0], [50, 0], [50, 50]], "polygonlabels": ["A"]}
    assert "turned by 90" in read(tmp_path, region("polygonlabels", value, image_rotation=90)).notes[0]


def test_a_brush_stroke_labels_its_image_in_a_folder_and_goes_back(tmp_path: Path) -> None:
    """The export names the upload; the folder has the file that was uploaded."""
    shutil.copy(BRUSH, tmp_path / "export.json")
    for number in (1, 2):
        Image.fromarray(np.full((30, 44), 40 * number, np.uint8)).save(tmp_path / f"slide {number}.png")
    first, second = find_pairs(tmp_path).pairs
    assert first.labels == {"": (tmp_path / "export.json",)}
    assert not second.labels
    card = propose(tmp_path).card
    assert (card.files.label, card.labels) == ("export.json", {1: "Tumour"})
    canvas = Canvas(first.image, drawing().shape)
    (stroke,) = read_drawn(tmp_path / "export.json", canvas).segments
    masks = {"Tumour": stroke.draw()[0] > 0}
    (path,) = write_files(tmp_path / "out", "labelstudio", [SegmentedImage("slide 1.png", drawing().shape, masks)])
    (back,) = read_drawn(path, canvas).segments
    assert back.name == stroke.name == "Tumour"
    for found in (stroke, back):
        assert np.array_equal(found.draw()[0], drawing())
