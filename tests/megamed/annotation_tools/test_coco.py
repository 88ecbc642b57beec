"""COCO against pycocotools: both run-length codes, polygons, and our files as it reads them."""

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from megamed.annotation import masks_of
from megamed.annotation_tools import coco
from megamed.annotation_tools.drawn import read_drawn
from megamed.annotation_tools.model import AnnotatedImage, SegmentedImage
from megamed.labels import read_annotations
from megamed.layouts import Case, LabelSource
from megamed.readers.source import Source
from megamed.readers.stored import Canvas
from megamed.schema import DatasetCard
from megamed.unknown import UNKNOWN

SIZE = (45, 60)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def read(folder: Path, *annotations: dict[str, Any], **image: Any) -> AnnotatedImage:
    """Read a file of one image of 45 × 60 with annotations of the category 7."""
    path = folder / "instances.JSON"
    document = {
        "images": [{"id": 3, "file_name": "sub/a.png", "height": 45, "width": 60} | image],
        "categories": [{"id": 7, "name": "polyp", "color": [255, 0, 10]}, {"id": 9, "name": "never drawn"}],
        "annotations": [{"id": 5, "image_id": 3, "category_id": 7} | each for each in annotations],
    }
    path.write_text(json.dumps(document))
    return coco.read(path)[0]


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * float((first & second).sum()) / float(first.sum() + second.sum())


@pytest.mark.parametrize("seed", range(8))
def test_both_run_lengths_are_those_of_pycocotools(tmp_path: Path, draw: Callable[..., np.ndarray], seed: int) -> None:
    mask = draw(seed)
    compressed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    lengths = np.diff(np.flatnonzero(np.diff(np.r_[2, mask.ravel("F"), 2])))
    counts = [0, *lengths.tolist()] if mask[0, 0] else lengths.tolist()
    for stored in (compressed["counts"].decode(), counts):
        image = read(tmp_path, {"segmentation": {"size": [45, 60], "counts": stored}})
        assert np.array_equal(image.labels()["polyp"], mask)


@pytest.mark.parametrize("seed", range(8))
def test_polygons_are_filled_as_by_pycocotools(tmp_path: Path, seed: int) -> None:
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radii = np.random.default_rng(seed).uniform(9, 20, 40)
    points = np.stack([30 + radii * np.cos(angles), 22 + radii * np.sin(angles)], axis=1).ravel().tolist()
    theirs = coco_mask.decode(coco_mask.frPyObjects([points], 45, 60))[..., 0].astype(bool)
    assert dice(read(tmp_path, {"segmentation": [points]}).labels()["polyp"], theirs) > 0.97
    corners = [10, 5, 40, 5, 40, 30, 25, 30, 25, 20, 10, 20]
    theirs = coco_mask.decode(coco_mask.frPyObjects([corners], 45, 60))[..., 0].astype(bool)
    assert np.array_equal(read(tmp_path, {"segmentation": [corners]}).labels()["polyp"], theirs)


@pytest.mark.parametrize("seed", range(8))
def test_pycocotools_reads_what_we_write(tmp_path: Path, draw: Callable[..., np.ndarray], seed: int) -> None:
    whole = np.zeros(SIZE, bool)
    whole[4:9, 5:20] = whole[30:33, 2:4] = True
    ring = whole.copy()
    ring[6, 8] = False
    masks = {"ragged": draw(seed), "whole": whole, "ring": ring}
    coco.write(tmp_path / "ours.json", [SegmentedImage("a.png", SIZE, masks)])
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(tmp_path / "ours.json"))
    names = {each["id"]: each["name"] for each in theirs.loadCats(theirs.getCatIds())}
    for annotation in theirs.loadAnns(theirs.getAnnIds()):
        mask = masks[names[annotation["category_id"]]]
        assert np.array_equal(theirs.annToMask(annotation).astype(bool), mask)
        assert annotation["area"] == mask.sum()
    assert [type(each["segmentation"]) for each in theirs.loadAnns(theirs.getAnnIds())][1:] == [list, dict]


def test_what_the_file_states(tmp_path: Path) -> None:
    image = read(tmp_path, {"segmentation": [[10, 10, 40, 12, 30, 40]]})
    assert (image.file_name, image.size) == ("sub/a.png", SIZE)
    assert [(each.name, each.value, each.colour) for each in image.classes] == [
        ("polyp", 7, "#ff000a"),
        ("never drawn", 9, None),
    ]
    assert list(image.labels()) == ["polyp"]


def test_a_polygon_within_another_is_a_hole_and_those_that_cross_are_united(tmp_path: Path) -> None:
    outer, inner = [0, 0, 20, 0, 20, 20, 0, 20], [5, 5, 10, 5, 10, 10, 5, 10]
    assert read(tmp_path, {"segmentation": [inner, outer]}).labels()["polyp"].sum() == 400 - 25
    crossing = [10, 10, 30, 10, 30, 30, 10, 30]
    assert read(tmp_path, {"segmentation": [outer, crossing]}).labels()["polyp"].sum() == 700


def test_annotations_are_objects(tmp_path: Path) -> None:
    first, second = [0, 0, 4, 0, 4, 4, 0, 4], [2, 2, 9, 2, 9, 9, 2, 9]
    image = read(tmp_path, {"segmentation": [first], "id": 1}, {"segmentation": [second], "id": 2})
    assert [int(each.sum()) for each in image.instances()["polyp"]] == [16, 49]


@pytest.mark.parametrize(
    ("segmentation", "note"),
    [
        ([[1, 2, 3, 4]], "three or more points"),
        ([[1, 2, 3, 4, 5]], "pairs"),
        ([["a", 2, 3, 4, 5, 6]], "convert"),
        ([[1, 2, 3, 4, 5, float("nan")]], "finite"),
        ({"size": [45, 60], "counts": [3]}, "runs that fill"),
        ({"size": [10**6, 10**6], "counts": [10**12]}, "as the image"),
        ({"counts": [3]}, "no 'size'"),
        ("text", "indices"),
        (None, "bounding box only"),
        ([], "bounding box only"),
    ],
)
def test_one_bad_shape_does_not_lose_the_image(tmp_path: Path, segmentation: Any, note: str) -> None:
    good = {"segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]}
    image = read(tmp_path, {"segmentation": segmentation}, good)
    assert image.labels()["polyp"].sum() == 16
    assert len(image.notes) == 1
    assert note in image.notes[0]


def test_run_lengths_without_an_image_size_are_bounded(tmp_path: Path) -> None:
    bomb = {"segmentation": {"size": [10**6, 10**6], "counts": [10**12]}}
    image = read(tmp_path, bomb, height=None, width=None)
    assert "expected a mask of 1 to" in image.notes[0]


def test_missing_keys_and_unknown_categories(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    shape = {"image_id": 1, "category_id": 4, "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]}
    path.write_text(json.dumps({"images": [{"id": 1, "file_name": "a.png"}], "annotations": [shape]}))
    (image,) = coco.read(path)
    assert image.size is None
    assert list(image.labels((9, 9))) == ["category 4"]
    path.write_text(json.dumps({"annotations": []}))
    with pytest.raises(ValueError, match=r"x.json names no images"):
        coco.read(path)
    path.write_text(json.dumps({"images": 3}))
    with pytest.raises(ValueError, match=r"x.json is malformed: expected an object with a list of images"):
        coco.read(path)


def test_pixels_of_a_crowd_are_unknown_but_for_its_objects(tmp_path: Path) -> None:
    """Nobody outlined what is in a crowd; pycocotools leaves it out of scores for the same reason."""
    crowd, polyp = np.zeros((2, *SIZE), bool)
    crowd[5:25, 10:40], polyp[20:30, 30:50] = True, True
    encoded = coco_mask.encode(np.asfortranarray(crowd.astype(np.uint8)))
    stored = {"size": [45, 60], "counts": encoded["counts"].decode()}
    square = [30, 20, 50, 20, 50, 30, 30, 30]
    image = read(tmp_path, {"id": 1, "segmentation": stored, "iscrowd": 1}, {"id": 2, "segmentation": [square]})
    assert list(image.labels()) == ["polyp"]
    assert np.array_equal(image.labels()["polyp"], polyp)
    drawn = read_drawn(tmp_path / "instances.JSON", Canvas(Path("a.png"), SIZE))
    assert drawn.unknown is not None
    assert np.array_equal(drawn.unknown.draw()[0], crowd)
    np.save(tmp_path / "a.npy", np.zeros(SIZE, np.uint8))
    label = LabelSource(Source((tmp_path / "instances.JSON",)))
    case = Case("a", {"endoscopy": Source((tmp_path / "a.npy",))}, (label,), "a")
    card = DatasetCard(id="drawn", modality="endoscopy", labels={1: "polyp", 2: "never drawn"})
    masks = masks_of(read_annotations(case, card, np.zeros(SIZE, np.uint8)), card.masks)
    assert np.array_equal(masks["polyp"], np.where(polyp, 1, np.where(crowd, UNKNOWN, 0)))
    assert np.array_equal(masks["never-drawn"], np.where(crowd, UNKNOWN, 0))


def test_of_more_categories_than_label_values_those_that_are_drawn_count(tmp_path: Path) -> None:
    square = [[2, 3, 20, 3, 20, 30, 2, 30]]
    document = {
        "images": [{"id": 3, "file_name": "a.png", "height": 45, "width": 60}],
        "categories": [{"id": number, "name": f"kind {number}"} for number in range(1, 400)],
        "annotations": [{"id": n, "image_id": 3, "category_id": n, "segmentation": square} for n in (390, 7)],
    }
    (tmp_path / "a.json").write_text(json.dumps(document))
    drawn = read_drawn(tmp_path / "a.json", Canvas(Path("a.png"), SIZE))
    assert drawn.names == {1: "kind 7", 2: "kind 390"}
    assert {segment.name: int(segment.draw().sum()) for segment in drawn.segments} == {"kind 7": 486, "kind 390": 486}
