"""Masks in the files of tools, as other libraries read them, and what stays of files that are there already."""

import base64
import contextlib
import io
import json
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree

import geojson
import numpy as np
import pytest
import roifile
import SimpleITK
import tifffile
from matplotlib.path import Path as Outline
from PIL import Image
from pycocotools.coco import COCO

from megamed.annotation_tools import itksnap, labelme, ome_zarr, tools
from megamed.annotation_tools.model import SegmentedImage
from megamed.annotation_tools.writers import WRITERS, check_library, held, path_in, write_files
from megamed.label_colours import colour_of, rgb
from megamed.vocabulary import WrittenTool

SIZE = (32, 40)
SHAPES = 100
BAR = 0.999
Masks = Mapping[str, np.ndarray]


def overlapping(draw: Callable[..., np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Two classes with holes and islands, of which one lies on the other in part, and one that is not drawn."""
    masks = {"organ": draw(seed, SIZE, 1 + seed % 4), "lesion, left": draw(seed + SHAPES, SIZE)}
    return {**masks, "never": np.zeros(SIZE, bool)}


def apart(draw: Callable[..., np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """The same without overlap."""
    masks = overlapping(draw, seed)
    return {**masks, "organ": masks["organ"] & ~masks["lesion, left"]}


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * np.count_nonzero(first & second) / max(1, np.count_nonzero(first) + np.count_nonzero(second))


def filled(*rings: Any) -> np.ndarray:
    """Fill rings by even-odd, as matplotlib tells which pixel centres they surround."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    centres = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    inside = [Outline(np.asarray(ring, float)).contains_points(centres) for ring in rings]
    return np.logical_xor.reduce(inside).reshape(SIZE)


def united(pieces: list[tuple[str, np.ndarray]]) -> dict[str, np.ndarray]:
    masks: dict[str, np.ndarray] = {}
    for name, piece in pieces:
        masks[name] = masks.get(name, np.zeros(SIZE, bool)) | piece
    return masks


def by_coco(folder: Path) -> Masks:
    with contextlib.redirect_stdout(io.StringIO()):
        file = COCO(str(folder / "coco.json"))
    names = {each["id"]: each["name"] for each in file.loadCats(file.getCatIds())}
    pieces = file.loadAnns(file.getAnnIds())
    return united([(names[each["category_id"]], file.annToMask(each) > 0) for each in pieces])


def by_labelme(folder: Path) -> Masks:
    """Read as LabelMe does: polygons, and the masks within their boxes."""
    pieces = []
    for shape in json.loads((folder / "labelme/a.json").read_text())["shapes"]:
        if shape["shape_type"] == "polygon":
            pieces.append((shape["label"], filled(shape["points"])))
        else:
            (left, top), (right, bottom) = np.array(shape["points"], int)
            piece = np.zeros(SIZE, bool)
            stored = Image.open(io.BytesIO(base64.b64decode(shape["mask"])))
            piece[top : bottom + 1, left : right + 1] = np.asarray(stored)
            pieces.append((shape["label"], piece))
    return united(pieces)


def by_cvat(folder: Path) -> Masks:
    pieces = []
    for mask in ElementTree.parse(folder / "cvat.xml").iter("mask"):
        left, top, width, height = (int(mask.attrib[key]) for key in ("left", "top", "width", "height"))
        runs = [int(run) for run in mask.attrib["rle"].split(",")]
        piece = np.zeros(SIZE, bool)
        values = np.repeat(np.arange(len(runs)) % 2, runs).reshape(height, width)
        piece[top : top + height, left : left + width] = values
        pieces.append((mask.attrib["label"], piece))
    return united(pieces)


def by_supervisely(folder: Path) -> Masks:
    """Read as Supervisely does: a mask within its box, compressed twice."""
    pieces = []
    for drawn in json.loads((folder / "supervisely/a.png.json").read_text())["objects"]:
        stored = Image.open(io.BytesIO(zlib.decompress(base64.b64decode(drawn["bitmap"]["data"]))))
        (left, top), piece = drawn["bitmap"]["origin"], np.zeros(SIZE, bool)
        piece[top : top + stored.height, left : left + stored.width] = np.asarray(stored)
        pieces.append((drawn["classTitle"], piece))
    return united(pieces)


def by_yolo(folder: Path) -> Masks:
    names = (folder / "yolo/classes.txt").read_text().splitlines()
    pieces = []
    for line in (folder / "yolo/a.txt").read_text().splitlines():
        number, *shares = line.split()
        pieces.append((names[int(number)], filled(np.array(shares, float).reshape(-1, 2) * SIZE[::-1])))
    return united(pieces)


def by_via(folder: Path) -> Masks:
    (entry,) = json.loads((folder / "via.json").read_text()).values()
    shapes = [(each["region_attributes"]["class"], each["shape_attributes"]) for each in entry["regions"]]
    return united([(name, filled([*zip(s["all_points_x"], s["all_points_y"], strict=True)])) for name, s in shapes])


def by_qupath(folder: Path) -> Masks:
    features = geojson.loads((folder / "qupath/a.geojson").read_text())["features"]
    assert all(each.is_valid for each in features)
    return united([(e.properties["classification"]["name"], filled(*e.geometry.coordinates)) for e in features])


def by_imagej(folder: Path) -> Masks:
    rois = roifile.roiread(folder / "imagej/a.zip")
    rois = rois if isinstance(rois, list) else [rois]
    return united([(roi.name, filled(*roi.coordinates(multi=True))) for roi in rois])


def by_imagescope(folder: Path) -> Masks:
    """Fill regions in their order, of which negative ones take away."""
    found = {}
    for layer in ElementTree.parse(folder / "imagescope/a.xml").getroot():
        regions = layer.findall("Regions/Region")
        rings = {each: [(v.get("X"), v.get("Y")) for v in each.iter("Vertex")] for each in regions}
        found[layer.attrib["Name"]] = filled(*rings.values()) if regions else np.zeros(SIZE, bool)
    return found


def by_ome_tiff(folder: Path) -> Masks:
    with tifffile.TiffFile(folder / "ome-tiff/a.ome.tif") as file:
        assert file.series[0].axes == "CYX"
        names = re.findall(r'<Channel [^>]*Name="([^"]*)"', file.ome_metadata or "")
        return dict(zip(names, file.asarray() > 0, strict=True))


def by_zarr(folder: Path) -> Masks:
    return by_zarr_at(folder / "ome-zarr/a.zarr")


def by_zarr_at(path: Path) -> Masks:
    labels = ome_zarr.read_labels(path)
    return {name: mask for each in labels.values() for name, mask in each.labels().items()}


def by_napari(folder: Path) -> Masks:
    labels = tifffile.imread(folder / "napari/a.tif")
    return {"organ": labels == 1, "lesion, left": labels == 2}


def by_label_studio(folder: Path) -> Masks:
    (image,) = tools.TOOLS["label-studio"].read(folder / "labelstudio.json")
    return image.labels()


READ: dict[WrittenTool, Callable[[Path], Masks]] = {
    "coco": by_coco,
    "labelme": by_labelme,
    "cvat": by_cvat,
    "labelstudio": by_label_studio,
    "supervisely": by_supervisely,
    "yolo": by_yolo,
    "via": by_via,
    "qupath": by_qupath,
    "imagej": by_imagej,
    "imagescope": by_imagescope,
    "napari": by_napari,
    "ome-tiff": by_ome_tiff,
    "ome-zarr": by_zarr,
}
"""Readers that are not ours, but for Label Studio and OME-Zarr, whose own are tested against files of theirs."""

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def test_every_tool_that_can_be_written_is_named() -> None:
    assert list(WRITERS) == [*get_args(WrittenTool)]
    assert {tool.title for tool in tools.TOOLS.values()} <= {writer.title for writer in WRITERS.values()}
    assert {*READ} == {name for name, writer in WRITERS.items() if "image" in writer.holds}


@pytest.mark.parametrize("tool", READ)
def test_others_read_the_masks_that_were_written(
    tmp_path: Path, draw: Callable[..., np.ndarray], tool: WrittenTool
) -> None:
    for seed in range(10 if tool == "ome-zarr" else SHAPES // 2):  # two shapes each
        masks = apart(draw, seed) if tool == "napari" else overlapping(draw, seed)
        write_files(tmp_path, tool, [SegmentedImage("sub/a.png" if tool == "coco" else "a.png", SIZE, masks)])
        found = READ[tool](tmp_path)
        for name, mask in masks.items():
            assert dice(found.get(name, np.zeros(SIZE, bool)), mask) >= BAR or not mask.any()
        assert all(not found[name].any() for name in found.keys() - {"organ", "lesion, left"})


@pytest.mark.parametrize("tool", ["slicer", "itksnap"])
def test_others_read_volumes_that_were_written(
    tmp_path: Path, draw: Callable[..., np.ndarray], tool: WrittenTool
) -> None:
    affine = np.array([[0, -0.5, 0, 7.0], [0.75, 0, 0, -3.0], [0, 0, 4.0, 11.0], [0, 0, 0, 1]])
    planes = [overlapping(draw, seed) if tool == "slicer" else apart(draw, seed) for seed in range(5)]
    masks = {name: np.stack([plane[name] for plane in planes], axis=-1) for name in planes[0]}
    image = SegmentedImage(
        "p1/a.nii.gz", (*SIZE, 5), masks, {"organ": 4, "never": 9}, {"organ": "#ff0000"}, affine, tmp_path
    )
    (path,) = write_files(tmp_path, tool, [image])
    theirs = SimpleITK.ReadImage(str(path))
    array = SimpleITK.GetArrayFromImage(theirs).T
    layers = array if array.ndim == 4 else array[None]
    values = {"organ": 4, "lesion, left": 2, "never": 9}
    for name, mask in masks.items():
        assert np.array_equal((layers == values[name]).any(axis=0), mask)
    to_ras = np.diag([-1.0, -1.0, 1.0])
    assert np.allclose(to_ras @ theirs.TransformIndexToPhysicalPoint((0, 0, 0)), affine[:3, 3])
    assert np.allclose(to_ras @ theirs.TransformIndexToPhysicalPoint((3, 5, 2)), (affine @ [3, 5, 2, 1])[:3])
    if tool == "slicer":
        assert theirs.GetMetaData("Segment0_Name") == "organ"
        assert theirs.GetMetaData("Segment0_Color") == "1 0 0"
    else:
        described = itksnap.read_classes(path.parent / "labels.txt")
        assert {each.name: each.value for each in described} == values
        assert {each.name: each.colour for each in described}["organ"] == "#ff0000"


@pytest.mark.parametrize("tool", ["imagej", "qupath", "ome-tiff", "napari"])
def test_stacks_keep_their_planes(tmp_path: Path, draw: Callable[..., np.ndarray], tool: WrittenTool) -> None:
    planes = [apart(draw, seed) for seed in range(3)]
    masks = {name: np.stack([plane[name] for plane in planes]) for name in ("organ", "lesion, left")}
    (path,) = write_files(tmp_path, tool, [SegmentedImage("a.tif", (3, *SIZE), masks)])
    if tool in ("imagej", "qupath"):
        for image in tools.TOOLS[tool].read(path):
            assert image.plane is not None
            for name, mask in image.labels(SIZE).items():
                assert np.array_equal(mask, masks[name][image.plane])
        assert len(tools.TOOLS[tool].read(path)) == 3
    elif tool == "napari":
        assert np.array_equal(tifffile.imread(path), masks["organ"] + 2 * masks["lesion, left"].astype(np.uint8))
    else:
        assert np.array_equal(tifffile.imread(path) > 0, np.stack([*masks.values()], axis=1))


def box(top: int, size: tuple[int, int] = (6, 8)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top : top + 2, 2:5] = True
    return mask


@pytest.mark.parametrize("tool", [name for name, writer in WRITERS.items() if writer.images_in])
def test_other_images_of_a_file_stay(tmp_path: Path, tool: WrittenTool) -> None:
    first = [SegmentedImage(f"p/{name} 1#.png", (6, 8), {"organ": box(0), "tumour": box(3)}) for name in "ab"]
    (path,) = write_files(tmp_path, tool, first)
    (again,) = write_files(tmp_path, tool, [SegmentedImage("p/b 1#.png", (6, 8), {"other": box(4)}), first[0]][:1])
    write_files(tmp_path, tool, [SegmentedImage("c.png", (6, 8), {"tumour": box(1)})])
    assert path == again == tmp_path / f"{tool}{WRITERS[tool].suffix}"
    read = next(each.read for each in tools.TOOLS.values() if each.title == WRITERS[tool].title)
    found = {image.file_name.rpartition("/")[2][0]: image.labels((6, 8)) for image in read(path)}
    assert len(read(path)) == 3
    assert np.array_equal(found["a"]["organ"], box(0))
    assert np.array_equal(found["a"]["tumour"], box(3))
    assert list(found["b"]) == ["other"]
    assert np.array_equal(found["b"]["other"], box(4))
    assert np.array_equal(found["c"]["tumour"], box(1))
    assert held(tmp_path, tool, ["p/a 1#.png", "c.png", "d.png"]) == {"p/a 1#.png", "c.png"}


def test_categories_keep_their_numbers(tmp_path: Path) -> None:
    write_files(tmp_path, "coco", [SegmentedImage("a.png", (6, 8), {"organ": box(0)}, values={"organ": 7})])
    write_files(tmp_path, "coco", [SegmentedImage("b.png", (6, 8), {"tumour": box(0)}, values={"tumour": 7})])
    content = json.loads((tmp_path / "coco.json").read_text())
    assert [(each["id"], each["name"]) for each in content["categories"]] == [(7, "organ"), (8, "tumour")]
    assert content["categories"][0]["color"] == rgb(colour_of(7))
    assert [each["category_id"] for each in content["annotations"]] == [7, 8]
    assert len({each["id"] for each in content["annotations"]}) == 2


def test_a_file_for_each_image_has_its_name(tmp_path: Path) -> None:
    images = [SegmentedImage(f"{patient}/scan.1.png", (6, 8), {"organ": box(0)}) for patient in ("p1", "p2")]
    paths = write_files(tmp_path, "labelme", images)
    assert paths == [tmp_path / "labelme" / patient / "scan.1.json" for patient in ("p1", "p2")]
    assert [image.file_name for path in paths for image in labelme.read(path)] == ["scan.1.png"] * 2
    assert path_in(tmp_path, "slicer", "p1/a.nii.gz") == tmp_path / "slicer/p1/a.seg.nrrd"


def test_yolo_has_its_own_list_of_classes_unless_one_above_has_them_all(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("names: [tumour, organ]\n")
    known, new = (SegmentedImage("a.png", (6, 8), {name: box(0)}) for name in ("organ", "node"))
    write_files(tmp_path / "one", "yolo", [known])
    assert (tmp_path / "one/yolo/a.txt").read_text().startswith("1 ")
    assert not (tmp_path / "one/yolo/classes.txt").exists()
    write_files(tmp_path / "two", "yolo", [new])
    write_files(tmp_path / "two", "yolo", [known])
    assert (tmp_path / "two/yolo/classes.txt").read_text() == "node\norgan\n"


def test_what_a_tool_cannot_hold_is_refused(tmp_path: Path) -> None:
    volume = SegmentedImage("a.nii", (2, 2, 2), {"x": np.ones((2, 2, 2), bool)}, affine=np.eye(4))
    with pytest.raises(
        ValueError, match=r"COCO cannot hold the mask of a.nii: expected a picture, got a volume. Write"
    ):
        write_files(tmp_path, "coco", [volume])
    plane = SegmentedImage("a.png", (6, 8), {"organ": box(0), "tumour": box(1)})
    with pytest.raises(
        ValueError, match=r"'organ' and 'tumour' overlap on a.png: expected one class a pixel, as napari"
    ):
        write_files(tmp_path, "napari", [plane])
    with pytest.raises(ValueError, match=r"3D Slicer cannot hold the mask of a.png: expected a volume, got a picture"):
        write_files(tmp_path, "slicer", [plane])
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("tool", WRITERS)
def test_every_library_is_there(tool: WrittenTool) -> None:
    check_library(tool)


def test_a_missing_library_is_noticed_before_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "roifile", None)
    with pytest.raises(ImportError, match=r'needs roifile: .*pip install "incontext-seg\[medical\]"'):
        check_library("imagej")


@pytest.mark.parametrize("tool", ["imagej", "ome-zarr"])
def test_classes_whose_names_differ_by_a_slash_stay_apart(tmp_path: Path, tool: WrittenTool) -> None:
    masks = {"a/b": box(0), "a_b": box(3), "a:b": box(1)}
    (path,) = write_files(tmp_path, tool, [SegmentedImage("x.png", (6, 8), masks)])
    found = tools.TOOLS[tool].read(path)[0].labels((6, 8)) if tool == "imagej" else by_zarr_at(path)
    assert found.keys() == masks.keys()
    assert all(np.array_equal(found[name], mask) for name, mask in masks.items())


def test_zarr_holds_names_of_dots_and_more_classes_than_a_byte(tmp_path: Path) -> None:
    masks = {".": box(0), "..": box(1), "c": box(3)}
    values = {".": 1, "..": 2, "c": 300}
    write_files(tmp_path, "ome-zarr", [SegmentedImage("x.png", (6, 8), masks, values=values)])
    found = by_zarr_at(tmp_path / "ome-zarr" / "x.zarr")
    assert found.keys() == masks.keys()
    assert all(np.array_equal(found[name], mask) for name, mask in masks.items())


@pytest.mark.parametrize(("tool", "names"), [("labelme", ("a.png", "a.jpg")), ("coco", ("a.png", "a.png"))])
def test_no_image_takes_the_place_of_another(tmp_path: Path, tool: WrittenTool, names: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=rf"{names[0]} and {names[1]} would have one place"):
        write_files(tmp_path, tool, [SegmentedImage(name, (6, 8), {"organ": box(0)}) for name in names])
