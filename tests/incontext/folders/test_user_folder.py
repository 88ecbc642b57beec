"""A user's folder as a segmenter takes it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from incontext.folders.folder_images import read_folder
from incontext.folders.run_log import LOG
from incontext.folders.user_folder import labels_of, read_masks
from incontext.images.source_image import read_source_image
from megamed.pairing import ImagePair
from tests.dicom_files import pydicom, series_affine, write_segmentation, write_series


def test_results_of_earlier_runs_are_no_images(tmp_path: Path) -> None:
    for name in ("a.png", "a_mask.png", "b.png", "result/masks/b.png", f"result/{LOG}"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [pair.name for pair in read_folder(tmp_path).bare] == ["b.png"]


def test_labels_are_maps_or_masks_by_class() -> None:
    one, two = Path("1.png"), Path("2.png")
    assert labels_of([ImagePair(one, "1", {"": (one,)}), ImagePair(two, "2", {"": (one, two)})], ()) == [
        one,
        (one, two),
    ]
    by_class = [ImagePair(one, "1", {"a": (one,), "b": (two,)}), ImagePair(two, "2", {"b": (one, two)})]
    assert labels_of(by_class, ("a", "b")) == {"a": [one, None], "b": [two, (one, two)]}


def test_a_class_without_a_file_was_not_annotated(tmp_path: Path) -> None:
    image = read_source_image(np.zeros((8, 8), np.uint8), "image")
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(tmp_path / "b.png")
    pair = ImagePair(tmp_path, "1", {"b": (tmp_path / "b.png",), "c": (tmp_path / "b.png",)})
    masks = read_masks(pair, image, {1: "a", 2: "b"}).masks
    assert list(masks) == [2]
    np.testing.assert_array_equal(masks[2][0], np.eye(8, dtype=bool))
    with pytest.raises(ValueError, match="label of 1 is of none of the support's classes: expected a, got b, c"):
        read_masks(pair, image, {1: "a"})


def test_masks_of_the_one_class_of_a_card_are_read_whatever_their_values(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text('id = "a"\nmodality = "X"\n[labels]\n3 = "cell"\n[files]\npositive_above = 0\n')
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.diag([1, 2, 0, 0]).astype(np.uint8)).save(tmp_path / folder / "1.png")
    found = read_folder(tmp_path)
    assert found.classes == ("cell",)
    image = read_source_image(found.pairs[0].image, "1")
    (mask,) = read_masks(found.pairs[0], image, {3: "cell"}).masks.values()
    np.testing.assert_array_equal(mask[0], np.diag([True, True, False, False]))


def test_a_mask_of_255_shows_the_one_class(tmp_path: Path) -> None:
    image = read_source_image(np.zeros((8, 8), np.uint8), "image")
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(tmp_path / "a.png")
    pair = ImagePair(tmp_path, "1", {"": (tmp_path / "a.png",)})
    assert [*read_masks(pair, image, {1: "cell"}).masks] == [1]
    with pytest.raises(ValueError, match="shows none of the support's classes"):
        read_masks(pair, image, {1: "cell", 2: "nerve"})


def test_slices_and_what_was_drawn_on_them_are_one_labelled_image(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    affine = series_affine(np.eye(3), (1, 1, 2), (0, 0, 0))
    slices = write_series(tmp_path / "scan", np.ones((3, 4, 5), np.int16), affine)
    write_segmentation(tmp_path / "scan" / "seg.dcm", slices, {"block": np.ones((3, 4, 5), bool)})
    (pair,) = read_folder(tmp_path / "scan").pairs
    assert (pair.image, pair.labels) == (tmp_path / "scan", {"": (tmp_path / "scan" / "seg.dcm",)})


def test_what_several_files_draw_on_slices_goes_together(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    scan, shape = tmp_path / "scan", (3, 4, 5)
    slices = write_series(scan, np.ones(shape, np.int16), series_affine(np.eye(3), (1, 1, 2), (0, 0, 0)))
    for name in ("liver", "spleen"):
        write_segmentation(scan / f"{name}.dcm", slices, {name: np.ones(shape, bool)})
    Image.new("L", (5, 4)).save(scan / "preview.jpg")
    found = read_folder(scan)
    (pair,) = found.pairs
    assert (pair.image, pair.labels) == (scan, {"": (scan / "liver.dcm", scan / "spleen.dcm")})
    assert found.notes == ("preview.jpg is left out, for it is a picture beside the slices of a series.",)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A folder of slices, with a localiser of another series, a report and a dose sheet among them."""
    folder = tmp_path / "scan"
    affine = series_affine(np.eye(3), (1, 1, 2), (0, 0, 0))
    first = write_series(folder, np.ones((3, 4, 5), np.int16), affine)[0]
    across = series_affine(np.eye(3)[:, [1, 2, 0]], (1, 1, 2), (0, 0, 0))
    (scout,) = write_series(tmp_path / "scout", np.ones((1, 4, 5), np.int16), across, ImageType=["ORIGINAL", "PRIMARY"])
    scout.rename(folder / "scout.dcm")
    report = pydicom.dcmread(first)
    report.Modality, report.SeriesInstanceUID = "SR", pydicom.uid.generate_uid()
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = pydicom.uid.BasicTextSRStorage
    del report.PixelData
    report.save_as(folder / "report.dcm")
    return folder


@pytest.mark.parametrize("place", ["", "images"])
@pytest.mark.parametrize("label", ["", "mask.nii.gz", "labels/drawn.nii.gz"])
def test_a_scan_is_one_image_whatever_lies_beside_it(scan: Path, place: str, label: str) -> None:
    if place:
        scan = scan.rename(scan.with_name("images")).parent
        (scan / "scout").rmdir()
    if label:
        (scan / label).parent.mkdir(exist_ok=True)
        (scan / label).touch()
    (pair,) = read_folder(scan).pairs
    assert pair.image == scan / place
    assert pair.labels == ({"": (scan / label,)} if label else {})
    image = read_source_image(pair.image, "scan")
    assert image.shape == (3, 4, 5)
    assert any("scout.dcm" in note for note in image.notes)


def test_a_volume_beside_slices_is_another_image(scan: Path) -> None:
    (scan / "other.nii.gz").touch()
    assert len(read_folder(scan).pairs) == 5


def test_radiographs_of_one_series_are_images_of_their_own(tmp_path: Path) -> None:
    affine = series_affine(np.eye(3), (1, 1, 2), (0, 0, 0))
    nowhere = {"ImagePositionPatient": None, "ImageOrientationPatient": None}
    for folder in ("p1", "p2/chest"):
        write_series(tmp_path / folder, np.ones((2, 4, 5), np.int16), affine, modality="DX", **nowhere)
    names = [pair.name for pair in read_folder(tmp_path).pairs]
    assert names == ["p1/0.dcm", "p1/5.dcm", "p2/chest/0.dcm", "p2/chest/5.dcm"]


def test_reports_among_radiographs_are_left_out_and_that_is_said(scan: Path) -> None:
    (scan.parent / "films").mkdir()
    (scan / "report.dcm").rename(scan.parent / "films" / "report.dcm")
    (scan / "scout.dcm").rename(scan.parent / "films" / "1.dcm")
    found = read_folder(scan.parent / "films")
    assert [pair.name for pair in found.pairs] == ["1.dcm"]
    assert found.notes == ("report.dcm is left out, for it holds no image.",)
