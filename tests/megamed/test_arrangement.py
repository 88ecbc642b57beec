"""Names of folders and files tell images from labels."""

from pathlib import Path

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


def test_labels_that_no_template_reaches_are_told(tmp_path: Path) -> None:
    names = [f"one/{kind}" for case in (1, 2, 3) for kind in (f"images/{case}.png", f"masks/{case}_seen.png")]
    names += [f"two/{kind}" for case in (4, 5) for kind in (f"images/{case}.png", f"masks/{case}_drawn.png")]
    found = find_arrangement(touch(tmp_path, *names))
    assert found.files.label == "one/masks/{case}_seen"
    assert found.words.endswith("; 2 files may be labels too but are not read, such as two/masks/4_drawn.png")
