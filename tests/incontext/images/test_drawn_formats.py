"""Regions of nnU-Net, which unite values of a label map and overlap."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from incontext.images.drawn_formats import drawn_format
from incontext.images.examples import Examples
from incontext.images.source_image import read_source_image

MAP = np.array([[0, 1, 2, 3], [4, 4, 1, 2], [9, 0, 0, 3]], np.uint8)
LABELS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "active": 3, "absent": [7, 8], "ignore": 4}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for name, array in (("imagesTr/a_0000.png", MAP * 20), ("labelsTr/a.png", MAP)):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(array).save(tmp_path / name)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": LABELS, "regions_class_order": [1, 2, 3, 7]}))
    return tmp_path


def test_regions_are_classes_that_overlap(raw: Path) -> None:
    examples = Examples([raw / "imagesTr/a_0000.png"], [raw / "labelsTr/a.png"])
    (example,) = examples
    by_name = {examples.names[value]: mask[0] for value, mask in example.masks.items()}
    assert sorted(examples.names.values()) == ["absent", "active", "core", "whole"]
    assert np.array_equal(by_name["whole"], np.isin(MAP, (1, 2, 3)))
    assert np.array_equal(by_name["core"], np.isin(MAP, (2, 3)))
    assert np.array_equal(by_name["active"], MAP == 3)
    assert "absent" not in by_name
    assert example.unknown is not None
    assert np.array_equal(example.unknown[0], MAP == 4)
    assert any("values of no region, which are read as background: [9]" in note for note in example.notes)


def test_regions_of_a_volume_lie_on_its_image(raw: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    volume = np.arange(60).reshape(3, 4, 5) % 4
    affine = np.diag([0.5, 0.5, 2, 1])
    image = nibabel.Nifti1Image(volume.astype(np.int16), affine)
    nibabel.save(image, raw / "imagesTr/b_0000.nii.gz")
    label = nibabel.Nifti1Image(volume.astype(np.uint8), affine)
    flip = [[0, -1], [1, 1], [2, 1]]
    nibabel.save(label.as_reoriented(np.array(flip)), raw / "labelsTr/b.nii.gz")
    case = read_source_image(raw / "imagesTr/b_0000.nii.gz", "image")
    examples = Examples([case], [raw / "labelsTr/b.nii.gz"])
    core = next(value for value, name in examples.names.items() if name == "core")
    assert np.array_equal(case.view.array(examples[0].masks[core]), volume >= 2)


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"labels": {"0": "background", "1": "liver"}}', '{"labels": {"liver": [1]}}']
)
def test_other_descriptions_tell_no_regions(raw: Path, content: str) -> None:
    (raw / "dataset.json").write_text(content)
    assert drawn_format(raw / "labelsTr/a.png") is None


def test_maps_in_other_folders_have_no_regions(raw: Path) -> None:
    assert drawn_format(raw / "imagesTr/a_0000.png") is None
    assert drawn_format(raw / "labelsTr/a.png") is not None
