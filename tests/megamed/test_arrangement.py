"""Names of folders and files tell images from labels."""

from pathlib import Path

import numpy as np
import pytest

from megamed.arrangement import find_arrangement


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


@pytest.mark.parametrize(
    ("outer", "images", "labels"),
    [
        ("masks", "masks/images/{case}", "masks/labels/{case}"),
        ("images", "images/raw/{case}", "images/masks/{case}"),
        ("segmentation/train", "segmentation/train/scans/{case}", "segmentation/train/annotations/{case}"),
    ],
)
def test_the_innermost_folder_that_says_anything_decides(tmp_path: Path, outer: str, images: str, labels: str) -> None:
    """A folder of masks may hold the images that belong to them, and a folder of images their labels."""
    names = [template.format(case=f"{case}.png") for template in (images, labels) for case in ("a", "b")]
    assert all(name.startswith(f"{outer}/") for name in names)
    rules = find_arrangement(touch(tmp_path, *names)).files
    assert (rules.image, rules.label) == (images, labels)


def test_voc_is_recognised_by_its_folders(tmp_path: Path) -> None:
    names = [f"{kind}/{case}" for case in ("a", "b") for kind in ("SegmentationClass", "SegmentationObject")]
    touch(
        tmp_path,
        "ImageSets/Segmentation/train.txt",
        "JPEGImages/a.jpg",
        "JPEGImages/b.jpg",
        *[f"{n}.png" for n in names],
    )
    rules = find_arrangement(tmp_path).files
    assert (rules.image, rules.label) == ("JPEGImages/{case}", "SegmentationClass/{case}")


def test_labels_that_no_template_reaches_are_found_by_their_pairs(tmp_path: Path) -> None:
    names = [f"one/{kind}/{case}.png" for case in (1, 2, 3) for kind in ("images", "masks")]
    names += [f"two/{kind}/{case}.png" for case in (4, 5) for kind in ("scans", "segs")]
    found = find_arrangement(touch(tmp_path, *names, "two/scans/6.png"))
    assert found.layout == "pairs"
    assert found.words == (
        "one/images/1.png has the label one/masks/1.png, and so on; 1 images without a label are left out"
    )


@pytest.mark.parametrize(
    ("names", "label"),
    [
        (("masks/expert_A/{}", "masks/expert_B/{}"), "masks/expert_{annotator}/{case}"),
        (("labels_r1/{}", "labels_r2/{}"), "labels_{annotator}/{case}"),
        (("labels/expert1_amira/{}", "labels/expert2_imagej/{}", "labels/gold/{}"), "labels/{annotator}/{case}"),
        (("labels/expert1/{}", "labels/consensus/{}"), "labels/{annotator}/{case}"),
        (("labels/gold/{}", "labels/silver/{}"), "labels/{class}/{case}"),
        (("masks/manual1/{}", "masks/manual2/{}"), "masks/{annotator}/{case}"),
        (("masks/{}_mask_1", "masks/{}_mask_2"), "masks/{case}_mask*"),
    ],
)
def test_what_several_people_drew_is_not_united(tmp_path: Path, names: tuple[str, ...], label: str) -> None:
    """Numbers behind the name of a case count parts of one label; behind a word for a person they tell people apart."""
    files = [f"{name.format(case)}.png" for name in ("images/{}", *names) for case in ("x", "y", "z")]
    assert find_arrangement(touch(tmp_path, *files)).files.label == label


def test_images_of_a_label_that_are_not_read_are_told(tmp_path: Path) -> None:
    kinds = ("flair", "seg", "t1", "t1ce", "t2")
    touch(tmp_path, *[f"B_{case}/B_{case}_{kind}.nii.gz" for case in ("01", "02") for kind in kinds])
    found = find_arrangement(tmp_path)
    assert found.files.image == "{case}/{case}_flair"
    assert "labels, {case}/{case}_t1, {case}/{case}_t1ce, {case}/{case}_t2, are not read" in found.words


def test_labels_may_be_called_as_classes_in_the_folder_of_their_case(tmp_path: Path) -> None:
    names = [
        f"{case}/{kind}" for case in ("a", "b") for kind in (f"images/{case}.png", "masks/liver.png", "masks/x.png")
    ]
    found = find_arrangement(touch(tmp_path, *names))
    assert (found.files.image, found.files.label) == ("{case}/images/{case}", "{case}/masks/{class}")
    assert found.label_names == {1: "liver", 2: "x"}


def test_labels_with_names_of_their_own_in_the_folder_of_their_case_are_parts(tmp_path: Path) -> None:
    names = [f"{case}/{kind}{case}.png" for case in ("a", "b") for kind in ("images/", "masks/6f", "masks/8c")]
    found = find_arrangement(touch(tmp_path, *(name.replace("6fa", "6f").replace("8cb", "8d") for name in names)))
    assert (found.files.image, found.files.label) == ("{case}/images/{case}", "{case}/masks/*")


def test_a_damaged_file_hides_no_dicom_series(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    dicom_files = pytest.importorskip("tests.dicom_files")
    block = np.ones((3, 4, 5), bool)
    slices = dicom_files.write_series(tmp_path / "scan", block.astype(np.int16), np.eye(4))
    dicom_files.write_segmentation(tmp_path / "drawn.dcm", slices, {"block": block})
    (tmp_path / "scan" / "empty.dcm").touch()
    found = find_arrangement(tmp_path)
    assert (found.layout, found.label_names) == ("dicom", {1: "block"})
