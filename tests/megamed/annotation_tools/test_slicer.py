"""Slicer's segmentations against SimpleITK and pynrrd: names, layers, cropped extents, turned axes."""

from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest
import SimpleITK as sitk

from megamed.annotation_tools import slicer
from megamed.annotation_tools.model import LabelClass
from megamed.readers.stored import Canvas, Geometry

SHAPE = (20, 16, 12)
AFFINE = np.array([[-0.5, 0, 0, 10], [0, -0.75, 0, 20], [0, 0, 2, -30], [0, 0, 0, 1]], float)
"""From indices to millimetres towards right, front and head, as SimpleITK's image below has it."""


def image(array: np.ndarray) -> sitk.Image:
    """Make an image whose indices are those of an array of columns, rows and slices."""
    made = sitk.GetImageFromArray(array.T)
    made.SetSpacing((0.5, 0.75, 2.0))
    made.SetOrigin((-10.0, -20.0, -30.0))
    return made


def labels() -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[5:12, 4:9, 3:8] = 3
    array[2:4, 10:14, 6:7] = 1
    return array


def describe(made: sitk.Image, *segments: dict[str, Any]) -> sitk.Image:
    for number, segment in enumerate(segments):
        for key, value in segment.items():
            made.SetMetaData(f"Segment{number}_{key}", str(value))
    return made


@pytest.fixture
def written(tmp_path: Path) -> Path:
    segments = (
        {"ID": "a", "Name": "liver", "LabelValue": 3, "Layer": 0, "Color": "0.5 0 1"},
        {"ID": "b", "Name": "tumour", "LabelValue": 1, "Layer": 0},
    )
    sitk.WriteImage(describe(image(labels()), *segments), str(tmp_path / "case.seg.nrrd"), True)
    return tmp_path / "case.seg.nrrd"


def test_segments_that_simpleitk_wrote(written: Path) -> None:
    assert slicer.recognises(written)
    found = slicer.read(written)
    assert found.classes == ((0, LabelClass("liver", 3, "#8000ff")), (0, LabelClass("tumour", 1)))
    assert np.array_equal(found.labels()["liver"], labels() == 3)
    assert np.array_equal(found.labels()["tumour"], labels() == 1)
    assert found.affine is not None
    assert np.allclose(found.affine, AFFINE)


def test_a_cropped_segmentation_returns_to_its_place(written: Path, tmp_path: Path) -> None:
    path = tmp_path / "crop.seg.nrrd"
    segment = {"ID": "a", "Name": "liver", "LabelValue": 3, "Layer": 0}
    sitk.WriteImage(describe(image(labels())[3:15, 2:12, 1:9], segment), str(path))
    assert slicer.read(path).layers[0].shape == (12, 10, 8)
    assert np.array_equal(slicer.on_grid(slicer.read(path), SHAPE, AFFINE)["liver"], labels() == 3)
    part = slicer.on_grid(slicer.read(path), (8, 16, 12), AFFINE)["liver"]
    assert np.array_equal(part, (labels() == 3)[:8])


def test_turned_axes_return_to_their_image(tmp_path: Path) -> None:
    path = tmp_path / "turned.seg.nrrd"
    turned = sitk.Flip(sitk.PermuteAxes(image(labels()), (2, 0, 1)), (False, True, False))
    sitk.WriteImage(describe(turned, {"ID": "a", "Name": "liver", "LabelValue": 3, "Layer": 0}), str(path))
    found = slicer.read(path)
    assert found.layers[0].shape == (12, 20, 16)
    assert np.array_equal(slicer.on_grid(found, SHAPE, AFFINE)["liver"], labels() == 3)


def test_voxels_that_do_not_coincide_are_refused(written: Path) -> None:
    turned = np.eye(4)
    turned[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    with pytest.raises(ValueError, match=r"expected axes that are parallel, got others"):
        slicer.on_grid(slicer.read(written), SHAPE, turned)
    shifted = AFFINE.copy()
    shifted[0, 3] += 0.2
    with pytest.raises(ValueError, match=r"expected voxels that coincide, got them 0\.40 apart"):
        slicer.on_grid(slicer.read(written), SHAPE, shifted)


def test_segments_without_names_are_numbered(tmp_path: Path) -> None:
    path = tmp_path / "nameless.seg.nrrd"
    header = {"kinds": ["list", "domain", "domain", "domain"]}
    header |= {f"Segment{number}_{key}": value for number in (0, 1) for key, value in (("LabelValue", "1"),)}
    header |= {"Segment0_Layer": "0", "Segment1_Layer": "1"}
    nrrd.write(str(path), np.stack([(labels() > 0).astype(np.uint8), (labels() == 3).astype(np.uint8)]), header)
    found = slicer.read(path).labels()
    assert list(found) == ["Segment_1", "Segment_2"]
    assert np.array_equal(found["Segment_2"], labels() == 3)


def test_layers_that_pynrrd_wrote(tmp_path: Path) -> None:
    path = tmp_path / "layers.seg.nrrd"
    layers = np.stack([labels(), (labels() == 3).astype(np.uint8)])
    header = {
        "space": "left-posterior-superior",
        "kinds": ["list", "domain", "domain", "domain"],
        "space directions": np.array([[np.nan] * 3, [0.5, 0, 0], [0, 0.75, 0], [0, 0, 2.0]]),
        "space origin": [-10.0, -20.0, -30.0],
        **{"Segment0_ID": "x", "Segment0_Name": "tumour", "Segment0_LabelValue": "1", "Segment0_Layer": "0"},
        **{"Segment1_ID": "y", "Segment1_Name": "liver", "Segment1_LabelValue": "1", "Segment1_Layer": "1"},
    }
    nrrd.write(str(path), layers, header)
    found = slicer.on_grid(slicer.read(path), SHAPE, AFFINE)
    assert np.array_equal(found["liver"], labels() == 3)
    assert np.array_equal(found["tumour"], labels() == 1)


def test_older_files_have_a_layer_for_each_segment(tmp_path: Path) -> None:
    path = tmp_path / "old.seg.nrrd"
    header = {"kinds": ["list", "domain", "domain", "domain"], "Segment0_ID": "first", "Segment1_ID": "second"}
    nrrd.write(str(path), np.stack([labels() == 1, labels() == 3]).astype(np.uint8), header)
    assert np.array_equal(slicer.read(path).labels()["second"], labels() == 3)


def test_other_libraries_read_what_we_write(tmp_path: Path) -> None:
    path = tmp_path / "ours.seg.nrrd"
    masks = {"organ": labels() > 0, "tumour": labels() == 1, "other": np.roll(labels() == 1, 8, axis=0)}
    slicer.write(path, masks, AFFINE)
    array, header = nrrd.read(str(path))
    assert header["kinds"] == ["list", "domain", "domain", "domain"]
    assert [header[f"Segment{index}_Layer"] for index in range(3)] == ["0", "1", "0"]
    for index, mask in enumerate(masks.values()):
        layer = array[int(header[f"Segment{index}_Layer"])]
        assert np.array_equal(layer == int(header[f"Segment{index}_LabelValue"]), mask)
    assert all(np.array_equal(slicer.read(path).labels()[name], mask) for name, mask in masks.items())
    slicer.write(path, {"organ": masks["organ"]}, AFFINE)
    theirs = sitk.ReadImage(str(path))
    assert np.array_equal(sitk.GetArrayFromImage(theirs).T > 0, masks["organ"])
    assert theirs.GetMetaData("Segment0_Name") == "organ"
    assert np.allclose(theirs.GetOrigin(), (-10, -20, -30))
    assert np.allclose(theirs.GetSpacing(), (0.5, 0.75, 2))


def test_a_plain_volume_is_no_segmentation(tmp_path: Path) -> None:
    sitk.WriteImage(image(labels()), str(tmp_path / "ct.nrrd"))
    assert not slicer.recognises(tmp_path / "ct.nrrd")
    assert slicer.read(tmp_path / "ct.nrrd").classes == ()


@pytest.mark.parametrize("kind", ["cut", "empty", "large", "layer", "float", "elsewhere"])
def test_a_malformed_file_names_itself(tmp_path: Path, written: Path, kind: str) -> None:
    path = tmp_path / "bad.seg.nrrd"
    content = written.read_bytes()
    head = "NRRD0005\ntype: {}\ndimension: 3\nsizes: {}\nencoding: gzip\nspace: lps\n{}\n\n"
    written_heads = {
        "cut": content[: len(content) // 2],
        "empty": b"",
        "large": head.format("uchar", "900000 900000 9", "Segment0_ID:=a").encode(),
        "layer": content.replace(b"Segment1_Layer:=0", b"Segment1_Layer:=7"),
        "float": head.format("float", "2 2 2", "Segment0_ID:=a").encode(),
        "elsewhere": head.format("uchar", "2 2 2", "data file: ../../secret.raw").encode(),
    }
    path.write_bytes(written_heads[kind])
    with pytest.raises(ValueError, match=r"^bad.seg.nrrd cannot be read: "):
        slicer.read(path)


def test_nothing_to_write_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected at least one mask, got none"):
        slicer.write(tmp_path / "a.seg.nrrd", {})


def test_names_are_read_and_written_in_any_script(tmp_path: Path) -> None:
    masks = {"Läsion": labels() == 1, "肝臓": labels() == 3}
    slicer.write(tmp_path / "ours.seg.nrrd", masks, AFFINE)
    sitk.WriteImage(
        describe(image(labels()), {"Name": "Läsion", "LabelValue": 1}, {"Name": "肝臓", "LabelValue": 3}),
        str(tmp_path / "theirs.seg.nrrd"),
    )
    assert slicer.names_in(tmp_path / "ours.seg.nrrd") == {1: "Läsion", 2: "肝臓"}
    assert slicer.names_in(tmp_path / "theirs.seg.nrrd") == {1: "Läsion", 3: "肝臓"}
    for name in ("ours", "theirs"):
        found = slicer.read(tmp_path / f"{name}.seg.nrrd").labels()
        assert all(np.array_equal(found[each], mask) for each, mask in masks.items())
    ours = sitk.ReadImage(str(tmp_path / "ours.seg.nrrd"))
    assert ours.GetMetaData("Segment0_Name") == "Läsion"


@pytest.mark.parametrize("factor", [2, 3])
def test_an_oversampled_segmentation_is_looked_up(tmp_path: Path, factor: int) -> None:
    array = labels()
    for axis in range(3):
        array = array.repeat(factor, axis)
    made = sitk.GetImageFromArray(array.T)
    spacing_mm = np.array([0.5, 0.75, 2.0])
    made.SetSpacing((spacing_mm / factor).tolist())
    made.SetOrigin((np.array([-10.0, -20.0, -30.0]) - spacing_mm * (1 - 1 / factor) / 2).tolist())
    sitk.WriteImage(describe(made, {"Name": "liver", "LabelValue": 3}), str(tmp_path / "case.seg.nrrd"))
    drawn = slicer.read_drawn(tmp_path / "case.seg.nrrd", Canvas(None, SHAPE, Geometry(AFFINE)))
    (segment,) = drawn.segments
    assert np.array_equal(segment.draw(), labels() == 3)
    assert drawn.notes == [slicer.RESAMPLED]


@pytest.mark.parametrize(
    ("change", "dtype"),
    [({"Color": "none"}, np.uint8), ({}, np.float32)],
    ids=["no colour", "numbers with points"],
)
def test_what_says_nothing_of_the_voxels_loses_none(tmp_path: Path, change: dict[str, str], dtype: type) -> None:
    made = image(labels().astype(dtype))
    segments = ({"Name": "background", "LabelValue": 0}, {"Name": "liver", "LabelValue": 3, **change})
    sitk.WriteImage(describe(made, *segments), str(tmp_path / "case.seg.nrrd"))
    assert slicer.names_in(tmp_path / "case.seg.nrrd") == {3: "liver"}
    found = slicer.read(tmp_path / "case.seg.nrrd").labels()
    assert np.array_equal(found["liver"], labels() == 3)
