"""Masks of a run in the files of annotation tools: what masks/ holds, resumed, and nothing of others lost."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from incontext import Segmenter
from incontext.folders.segment_folder import SegmentOptions, segment_folder
from incontext.folders.user_folder import labels_of, read_folder
from incontext.images.examples import Examples
from incontext.images.source_image import read_source_image
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from megamed.annotation_tools import coco, itksnap, labelme, ome_tiff, slicer
from megamed.annotation_tools.drawn import read_file
from megamed.annotation_tools.model import SegmentedImage
from megamed.annotation_tools.writers import path_in, write_files
from megamed.label_colours import colour_of
from megamed.vocabulary import WrittenTool
from tests.dicom_files import LPS_TO_RAS, series_affine, write_series

CLASSES = {1: "organ", 2: "tumour"}


@pytest.fixture(scope="module")
def network() -> SupportOnceNet:
    torch.manual_seed(0)
    return SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8))


@pytest.fixture
def segmenter(network: SupportOnceNet) -> Segmenter:
    return Segmenter(network, size_px=32)


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bright block in a grey one, and their label, planes last."""
    label = np.zeros((40, 36, 3), np.uint8)
    label[5:30, 6 + seed : 24 + seed] = 1
    label[10:20, 10 + seed : 16 + seed] = 2
    return (np.random.default_rng(seed).integers(0, 30, label.shape) + 60 * label).astype(np.uint8), label


def write_pictures(folder: Path, names: Sequence[str], labelled: int = 0) -> Path:
    for index, name in enumerate(names):
        for part, array in zip(("images", "labels")[: 1 + (index < labelled)], drawn(index), strict=False):
            (folder / part / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array[..., 0]).save(folder / part / name)
    return folder


def write_volumes(folder: Path, names: Sequence[str], labelled: int = 0) -> Path:
    nibabel = pytest.importorskip("nibabel")
    affine = np.array([[0, -0.5, 0, 7.0], [0.75, 0, 0, -3.0], [0, 0, 4.0, 11.0], [0, 0, 0, 1]])
    for index, name in enumerate(names):
        for part, array in zip(("images", "labels")[: 1 + (index < labelled)], drawn(index), strict=False):
            (folder / part).mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array, affine), folder / part / name)
    return folder


def options(*tools: WrittenTool, **others: object) -> SegmentOptions:
    return SegmentOptions(CLASSES, preview=False, tools=tools, **others)  # type: ignore[arg-type]


def mask(out: Path, name: str) -> np.ndarray:
    return np.asarray(Image.open(out / "masks" / name))


def test_files_hold_what_the_masks_hold(tmp_path: Path, segmenter: Segmenter) -> None:
    folder = write_pictures(tmp_path / "mine", ["a.png", "b.png", "p1/c.png", "p2/c.png"], labelled=2)
    summary = segment_folder(segmenter, folder, None, out := tmp_path / "out", options=options("coco", "labelme"))
    assert summary.tool_files == ["coco.json", "labelme/p1/c.json", "labelme/p2/c.json"]
    assert json.loads((out / "summary.json").read_text())["tool_files"] == summary.tool_files
    for image in coco.read(out / "coco.json"):
        (alone,) = labelme.read(out / "labelme" / Path(image.file_name).with_suffix(".json"))
        assert [(each.name, each.value, each.colour) for each in image.classes] == [
            (name, value, segmenter.fitted.colours[value]) for value, name in CLASSES.items()
        ]
        for value, name in CLASSES.items():
            label = mask(out, image.file_name) == value
            assert np.array_equal(image.labels().get(name, np.zeros_like(label)), label)
            assert np.array_equal(alone.labels().get(name, np.zeros_like(label)), label)
    assert sorted(image.file_name for image in coco.read(out / "coco.json")) == ["p1/c.png", "p2/c.png"]


def test_a_further_tool_takes_no_new_run_and_corrections_stay(
    tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_pictures(tmp_path / "mine", ["a.png", "b.png", "c.png"], labelled=2)
    out = tmp_path / "out"
    segment_folder(segmenter, folder, None, out, options=options("labelme", "coco"))
    (out / "labelme/c.json").write_text("corrected by hand")
    corrected = json.loads((out / "coco.json").read_text()) | {"annotations": [], "info": "mine"}
    (out / "coco.json").write_text(json.dumps(corrected))
    monkeypatch.setattr(segmenter, "predict", None)
    again = segment_folder(segmenter, folder, None, out, options=options("labelme", "coco", "qupath"))
    assert (again.resumed, again.tool_files) == (1, ["qupath/c.geojson"])
    assert (out / "labelme/c.json").read_text() == "corrected by hand"
    assert json.loads((out / "coco.json").read_text()) == corrected


def test_images_that_are_added_are_merged_and_changed_ones_replaced(tmp_path: Path, segmenter: Segmenter) -> None:
    folder = write_pictures(tmp_path / "mine", ["a.png", "b.png", "c.png"], labelled=2)
    out = tmp_path / "out"
    segment_folder(segmenter, folder, None, out, options=options("coco"))
    write_pictures(folder, ["a.png", "c.png", "d.png"], labelled=1)
    summary = segment_folder(segmenter, folder, None, out, options=options("coco"))
    assert summary.resumed == 0
    found = {image.file_name: image for image in coco.read(out / "coco.json")}
    assert sorted(found) == ["c.png", "d.png"]
    for name, image in found.items():
        for value, class_name in CLASSES.items():
            label = mask(out, name) == value
            assert np.array_equal(image.labels().get(class_name, np.zeros_like(label)), label)


def test_overwriting_starts_a_new_file(tmp_path: Path, segmenter: Segmenter) -> None:
    folder, out = write_pictures(tmp_path / "mine", ["a.png", "b.png", "c.png"], labelled=2), tmp_path / "out"
    segment_folder(segmenter, folder, None, out, options=options("coco"))
    (folder / "images/c.png").rename(folder / "images/d.png")
    segment_folder(segmenter, folder, None, out, options=options("coco", overwrite=True))
    assert [image.file_name for image in coco.read(out / "coco.json")] == ["d.png"]


def test_a_damaged_file_is_told_before_work(tmp_path: Path, segmenter: Segmenter) -> None:
    folder, out = write_pictures(tmp_path / "mine", ["a.png", "b.png", "c.png"], labelled=2), tmp_path / "out"
    out.mkdir()
    (out / "coco.json").write_text("{")
    with pytest.raises(ValueError, match=r"coco.json is no JSON"):
        segment_folder(segmenter, folder, None, out, options=options("coco"))
    assert not list((out / "masks").iterdir())
    assert (out / "coco.json").read_text() == "{"


def write_overlapping(folder: Path, bare: Sequence[str]) -> Path:
    """Two images on which an organ was drawn whole and a tumour in it, and others on which nothing was."""
    write_pictures(folder, ["a.png", "b.png", *bare])
    for index, name in enumerate(["a.png", "b.png"]):
        label = drawn(index)[1][..., 0]
        masks = {"organ": label > 0, "tumour": label == 2}
        coco.update(folder / "images/drawn.json", [SegmentedImage(name, label.shape, masks)])
    return folder


OVERLAPPING: tuple[WrittenTool, ...] = (
    "coco", "labelme", "cvat", "labelstudio", "yolo", "qupath", "imagej", "via", "ome-tiff",
)  # fmt: skip


def test_what_shares_pixels_is_written_whole(tmp_path: Path, segmenter: Segmenter) -> None:
    folder, out = write_overlapping(tmp_path / "mine", ["c.png"]), tmp_path / "out"
    summary = segment_folder(segmenter, folder, None, out, options=options(*OVERLAPPING))
    assert not summary.failures
    masks = {name: mask(out, f"{name}/c.png") > 0 for name in CLASSES.values()}
    result = segmenter.predict([folder / "images/c.png"])
    assert segmenter.overlap
    assert {value: masks[name].sum() for value, name in CLASSES.items()} == summary.images[0].area_px
    assert all(np.array_equal(masks[name], result.layer(0, value)) for value, name in CLASSES.items())
    assert (masks["organ"] & masks["tumour"]).any()
    for tool in OVERLAPPING:
        if tool == "ome-tiff":
            found = ome_tiff.read_labels(out / tool / "c.ome.tif").labels()
        else:
            (image,) = read_file(path_in(out, tool, "c.png")).images
            found = image.labels(masks["organ"].shape)
        assert found.keys() == masks.keys()
        assert all(np.array_equal(found[name], masks[name]) for name in masks), tool


@pytest.mark.parametrize("tool", ["napari", "itksnap"])
def test_a_tool_of_one_class_a_pixel_is_refused_before_work(
    tmp_path: Path, segmenter: Segmenter, tool: WrittenTool
) -> None:
    nibabel = pytest.importorskip("nibabel")
    out = tmp_path / "out"
    if tool == "napari":
        folder, query = write_overlapping(tmp_path / "mine", ["c.png"]), None
    else:
        folder, query = tmp_path / "mine", write_volumes(tmp_path / "query", ["c.nii.gz"])
        label = drawn(0)[1]
        for part, array in {"images/a": label, "labels/organ/a": label > 0, "labels/tumour/a": label == 2}.items():
            (folder / part).parent.mkdir(parents=True)
            nibabel.save(nibabel.Nifti1Image(array.astype(np.uint8), np.eye(4)), folder / f"{part}.nii.gz")
    with pytest.raises(ValueError, match=r"cannot hold 'organ' and 'tumour', which overlap: .* or add --no-overlap"):
        segment_folder(segmenter, folder, query, out, options=SegmentOptions(tools=(tool,)))
    assert not out.exists()


def test_one_class_a_pixel_is_had_by_asking(tmp_path: Path, segmenter: Segmenter) -> None:
    folder, out = write_overlapping(tmp_path / "mine", ["c.png"]), tmp_path / "out"
    summary = segment_folder(segmenter, folder, None, out, options=options("napari", overlap=False))
    assert (summary.images[0].mask, summary.images[0].masks) == ("c.png", {})
    assert any(note.startswith("organ and tumour share pixels in the labels: masks have one") for note in summary.notes)
    assert not any("share pixels" in warning for warning in summary.warnings)


def test_masks_of_classes_that_overlap_are_remembered_and_edits_kept(tmp_path: Path, segmenter: Segmenter) -> None:
    folder, out = write_overlapping(tmp_path / "mine", ["c.png", "d.png"]), tmp_path / "out"
    first = segment_folder(segmenter, folder, None, out, options=options("coco"))
    assert segment_folder(segmenter, folder, None, out, options=options("coco")).resumed == 2
    edited = np.zeros_like(mask(out, "tumour/d.png"))
    edited[3:6, 4:9] = 2
    Image.fromarray(edited).save(out / "masks/tumour/d.png")
    (out / "masks/organ/c.png").write_bytes((out / "masks/organ/c.png").read_bytes()[:50])
    again = segment_folder(segmenter, folder, None, out, options=SegmentOptions(CLASSES))
    assert (again.resumed, again.failures) == (0, {})
    assert [report.area_px for report in again.images] == [
        first.images[0].area_px,
        {1: first.images[1].area_px[1], 2: 15},
    ]
    assert np.array_equal(mask(out, "tumour/d.png"), edited)
    assert (out / "overlay.png").is_file()


def test_a_slicer_segmentation_has_layers_of_what_overlaps(tmp_path: Path, segmenter: Segmenter) -> None:
    nibabel = pytest.importorskip("nibabel")
    folder, out, label = write_volumes(tmp_path / "mine", ["b.nii.gz"]), tmp_path / "out", drawn(0)[1]
    affine = nibabel.load(folder / "images/b.nii.gz").affine
    for part, array in {"images/a": 60 * label, "labels/organ/a": label > 0, "labels/tumour/a": label == 2}.items():
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(array.astype(np.uint8), affine), folder / f"{part}.nii.gz")
    segment_folder(segmenter, folder, None, out, options=SegmentOptions(tools=("slicer",), preview=False))
    found = slicer.on_grid(slicer.read(out / "slicer/b.seg.nrrd"), label.shape, affine)
    for name in CLASSES.values():
        written = np.asanyarray(nibabel.load(out / f"masks/{name}/b.nii.gz").dataobj) > 0
        assert np.array_equal(found[name], written)


def test_volumes_have_segments_and_descriptions(tmp_path: Path, segmenter: Segmenter) -> None:
    nibabel = pytest.importorskip("nibabel")
    folder = write_volumes(tmp_path / "mine", ["a.nii.gz", "b.nii.gz"], labelled=1)
    segment_folder(segmenter, folder, None, out := tmp_path / "out", options=options("slicer", "itksnap"))
    written = nibabel.load(out / "masks/b.nii.gz")
    label = np.asanyarray(written.dataobj)
    segmentation = slicer.read(out / "slicer/b.seg.nrrd")
    for value, name in CLASSES.items():
        on_grid = slicer.on_grid(segmentation, label.shape, written.affine)
        assert np.array_equal(on_grid[name], label == value)
    copied = nibabel.load(out / "itksnap/b.nii.gz")
    assert np.array_equal(np.asanyarray(copied.dataobj), label)
    assert np.allclose(copied.affine, written.affine)
    described = itksnap.read_classes(out / "itksnap/labels.txt")
    assert {each.value: each.name for each in described} == CLASSES


@pytest.mark.parametrize("mask_format", [None, "nii.gz", "nrrd"])
def test_a_series_has_segments_in_its_place(tmp_path: Path, segmenter: Segmenter, mask_format: str | None) -> None:
    nibabel, _ = pytest.importorskip("nibabel"), pytest.importorskip("highdicom")
    support = write_volumes(tmp_path / "support", ["a.nii.gz"], labelled=1)
    image = np.moveaxis(drawn(1)[0], -1, 0).astype(np.int16)
    affine = series_affine(np.eye(3), (4.0, 0.75, 0.5), (7.0, -3.0, 11.0))
    write_series(tmp_path / "query" / "scan", image, affine)
    settings = options("slicer", "itksnap", mask_format=mask_format)
    summary = segment_folder(segmenter, support, tmp_path / "query", out := tmp_path / "out", options=settings)
    (report,) = summary.images
    segmentation = slicer.read(out / "slicer/scan.seg.nrrd")
    counts = {name: np.count_nonzero(mask) for name, mask in segmentation.labels().items()}
    assert counts == {CLASSES[value]: count for value, count in report.area_px.items()}
    assert segmentation.affine is not None
    volume = nibabel.load(out / "itksnap/scan.nii.gz")
    assert np.allclose(volume.affine, segmentation.affine)
    corners = np.array([[0, 0, 0, 1], [*(np.array(volume.shape) - 1), 1]]).T
    places = np.sort((volume.affine @ corners)[:3], axis=1)
    expected = LPS_TO_RAS @ affine @ np.array([[0, 0, 0, 1], [*(np.array(image.shape) - 1), 1]]).T
    assert np.allclose(np.sort(expected[:3], axis=1), places)


@pytest.mark.parametrize(
    "tool",
    ["coco", "labelme", "cvat", "labelstudio", "supervisely", "yolo", "qupath", "imagej", "imagescope", "via"],
)
def test_what_is_written_is_a_label_again(tmp_path: Path, tool: WrittenTool) -> None:
    image, label = (array[..., 0] for array in drawn(0))
    masks = {name: label == value for value, name in CLASSES.items()}
    colours = {"organ": "#ff0102", "tumour": "#00ff03"}
    (path,) = write_files(tmp_path / "out", tool, [SegmentedImage("a.png", label.shape, masks, colours=colours)])
    Image.fromarray(image).save(path.parent / "a.png")
    found = read_folder(path.parent)
    assert [pair.image.name for pair in found.labelled] == ["a.png"]
    examples = Examples([pair.image for pair in found.labelled], labels_of(found.labelled, found.classes))
    (example,) = examples
    assert {name: value for value, name in examples.names.items()} == {"organ": 1, "tumour": 2}
    assert all(np.array_equal(example.masks[value][0], masks[name]) for value, name in CLASSES.items())
    if tool in ("coco", "cvat", "imagescope", "qupath"):
        assert example.colours == {value: colours[name] for value, name in CLASSES.items()}


def test_segments_of_slicer_have_their_colours(tmp_path: Path) -> None:
    folder = write_volumes(tmp_path / "mine", ["a.nii.gz"])
    label, affine = drawn(0)[1], read_source_image(folder / "images/a.nii.gz", "a").geometry
    assert affine is not None
    masks = {"organ": label > 0, "tumour": label == 2}
    image = SegmentedImage("a.nii.gz", label.shape, masks, colours={"tumour": "#ff0102"}, affine=affine.affine)
    (path,) = write_files(tmp_path, "slicer", [image])
    (example,) = Examples([folder / "images/a.nii.gz"], [path])
    assert example.colours == {1: colour_of(1), 2: "#ff0102"}
    assert {value: int(mask.sum()) for value, mask in example.masks.items()} == {
        1: masks["organ"].sum(),
        2: masks["tumour"].sum(),
    }
