"""Labels of volumes lie on their images whatever order of axes each file has, and whether it states a place."""

import json
from pathlib import Path

import numpy as np
import pytest

from megamed import DatasetCard
from megamed.labels import read_annotations
from megamed.layouts import Case, LabelSource
from megamed.pixels import read_image
from megamed.readers.source import Source
from megamed.readers.volume import Volume

nibabel = pytest.importorskip("nibabel")
tifffile = pytest.importorskip("tifffile")

SHAPE = (5, 6, 7)
LABEL = np.zeros(SHAPE, np.uint8)
LABEL[0, 1:4, 0], LABEL[3:, 4, 1:] = 1, 2
LEFT = np.diag([-0.5, 0.7, 2, 1])
CARD = DatasetCard(id="a", modality="CT", labels={1: "liver", 2: "cyst"})


def save_nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = LEFT) -> Path:
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def drawn(image_path: Path, label_path: Path) -> tuple[np.ndarray, list[str]]:
    """Return the label in the order of its image's file, and the notes."""
    notes: list[str] = []
    image = read_image(Source((image_path,)))
    assert isinstance(image, Volume)
    case = Case("a", {"CT": Source((image_path,))}, (LabelSource(Source((label_path,))),))
    layers = read_annotations(case, CARD, image, notes)[""].layers
    return Volume(np.maximum.reduce(layers), image.spacing_mm, image.affine, (), image.orientation).as_stored, notes


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return save_nifti(tmp_path / "scan.nii.gz", np.random.default_rng(0).normal(size=SHAPE).astype(np.float32))


@pytest.mark.parametrize(
    ("is_reversed", "said"), [(True, "in the other direction"), (False, "no place in the patient")]
)
def test_pages_are_a_label_of_a_volume(tmp_path: Path, scan: Path, is_reversed: bool, said: str) -> None:
    tifffile.imwrite(tmp_path / "label.tif", LABEL.transpose() if is_reversed else LABEL)
    label, notes = drawn(scan, tmp_path / "label.tif")
    assert np.array_equal(label, LABEL)
    assert said in notes[0]


def test_a_volume_is_a_label_of_pages(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "scan.tif", np.ones(SHAPE[::-1], np.uint16))
    label, _ = drawn(tmp_path / "scan.tif", save_nifti(tmp_path / "label.nii", LABEL))
    assert np.array_equal(label, LABEL.transpose())


def test_pages_that_fit_in_both_orders_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "label.tif", LABEL[:, :, :5])
    scan = save_nifti(tmp_path / "scan.nii", np.ones((5, 6, 5), np.float32))
    with pytest.raises(ValueError, match=r"label has two readings.*Save it in its image's format"):
        drawn(scan, tmp_path / "label.tif")


def test_pages_of_another_size_are_no_part_of_a_volume(tmp_path: Path, scan: Path) -> None:
    tifffile.imwrite(tmp_path / "label.tif", LABEL.transpose()[1:6, 1:4, 1:4])
    with pytest.raises(ValueError, match="label does not match its image"):
        drawn(scan, tmp_path / "label.tif")


@pytest.mark.parametrize("axes", ["masks", "one hot", "trailing"])
def test_four_axes_without_a_place_are_in_the_order_of_the_image(tmp_path: Path, scan: Path, axes: str) -> None:
    layers = [value == LABEL for value in range(3)]
    array = LABEL[..., None] if axes == "trailing" else np.stack(layers[axes == "masks" :], axis=-1)
    label, notes = drawn(scan, save_nifti(tmp_path / "label.nii", array.astype(np.uint8), None))
    assert np.array_equal(label, LABEL)
    assert any("no place in the patient" in note for note in notes)


def test_what_was_drawn_on_slices_lies_as_they_are_stored(tmp_path: Path, scan: Path) -> None:
    square = {"segmentation": [[0, 1, 1, 1, 1, 4, 0, 4]], "iscrowd": 0, "image_id": 1, "category_id": 1, "id": 1}
    slices = [{"id": number + 1, "file_name": f"scan_{number}.png", "width": 5, "height": 6} for number in range(7)]
    classes = [{"id": 1, "name": "liver"}]
    text = json.dumps({"images": slices, "annotations": [square], "categories": classes})
    (tmp_path / "coco.json").write_text(text)
    label, _ = drawn(scan, tmp_path / "coco.json")
    assert np.array_equal(label, LABEL == 1)
