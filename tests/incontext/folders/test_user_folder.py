"""A user's folder as a segmenter takes it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from incontext.folders.run_log import LOG
from incontext.folders.user_folder import labels_of, read_folder, read_masks
from incontext.images.source_image import read_source_image
from megamed.pairing import ImagePair
from tests.dicom_files import series_affine, write_segmentation, write_series


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


def test_slices_and_what_was_drawn_on_them_are_one_labelled_image(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    affine = series_affine(np.eye(3), (1, 1, 2), (0, 0, 0))
    slices = write_series(tmp_path / "scan", np.ones((3, 4, 5), np.int16), affine)
    write_segmentation(tmp_path / "scan" / "seg.dcm", slices, {"block": np.ones((3, 4, 5), bool)})
    (pair,) = read_folder(tmp_path / "scan").pairs
    assert (pair.image, pair.labels) == (tmp_path / "scan", {"": (tmp_path / "scan" / "seg.dcm",)})
