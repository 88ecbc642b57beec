"""A list of classes beside the labels of the VOC arrangement gives values and colours their names."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from megamed.layouts import find_subjects
from megamed.propose import propose
from megamed.voc import read_label_map, read_splits

LISTED = """\
# label:color_rgb:parts:actions
background:0,0,0::
cell:250,50,83::
nucleus:50,183,250:head,tail:
"""


def test_classes_count_from_the_background(tmp_path: Path) -> None:
    (tmp_path / "labelmap.txt").write_text(LISTED)
    found = read_label_map(tmp_path)
    assert found is not None
    assert found.names == {1: "cell", 2: "nucleus"}
    assert found.colours == {"#fa3253": 1, "#32b7fa": 2}


@pytest.mark.parametrize("text", ["", "some notes\n", "a:1,2,3::\nb:1,2\n", "a:1,2,300::\n", "# only a comment\n"])
def test_other_texts_are_passed_over(tmp_path: Path, text: str) -> None:
    assert read_label_map(tmp_path) is None
    (tmp_path / "labelmap.txt").write_text(text)
    assert read_label_map(tmp_path) is None


@pytest.mark.parametrize("in_colours", [True, False])
def test_a_proposed_card_has_the_listed_names(tmp_path: Path, in_colours: bool) -> None:
    (tmp_path / "labelmap.txt").write_text(LISTED)
    for kind in ("JPEGImages", "SegmentationClass"):
        (tmp_path / kind).mkdir()
    label = np.zeros((20, 24), np.uint8)
    label[2:9, 2:9], label[12:18, 12:18] = 1, 2
    palette = np.array([(0, 0, 0), (250, 50, 83), (50, 183, 250)], np.uint8)
    for case in "abc":
        Image.fromarray(100 * label).convert("RGB").save(tmp_path / "JPEGImages" / f"{case}.jpg")
        Image.fromarray(palette[label] if in_colours else label).save(tmp_path / "SegmentationClass" / f"{case}.png")
    card = propose(tmp_path).card
    named = {card.labels[value]: colour for colour, value in card.files.colours.items()}
    assert {*card.labels.values()} == {"cell", "nucleus"}
    assert named == ({"cell": "#fa3253", "nucleus": "#32b7fa"} if in_colours else {})


def voc_folder(root: Path, **sets: str) -> Path:
    """Three pictures with labels, and image sets."""
    label = np.zeros((16, 16), np.uint8)
    label[2:12, 2:12] = 1
    for folder, suffix in (("JPEGImages", "jpg"), ("SegmentationClass", "png"), ("ImageSets/Segmentation", "")):
        (root / folder).mkdir(parents=True)
        for case in "abc" if suffix else "":
            Image.fromarray(label if suffix == "png" else label * 200).save(root / folder / f"{case}.{suffix}")
    for name, text in sets.items():
        (root / "ImageSets/Segmentation" / f"{name}.txt").write_text(text)
    return root


def test_image_sets_are_splits(tmp_path: Path) -> None:
    folder = voc_folder(tmp_path, train="a\nb  1\n", val="c\n", trainval="a\nb\nc\n")
    assert read_splits(folder) == {"a": "train", "b": "train", "c": "val"}
    proposal = propose(folder)
    assert "subjects and splits are those that the folder states." in proposal.checks
    subjects = find_subjects(folder, proposal.card)
    assert {subject.id: subject.split for subject in subjects} == {"a": "train", "b": "train", "c": "val"}


def test_a_case_in_two_splits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lists 'a' twice: expected one split, got train and test"):
        read_splits(voc_folder(tmp_path, train="a\n", test="b\na\n"))


def test_a_listed_case_without_files_is_named(tmp_path: Path) -> None:
    folder = voc_folder(tmp_path, train="a\nb\nlost\n", val="c\n")
    lost = next(subject for subject in find_subjects(folder, propose(folder).card) if subject.id == "lost")
    assert lost.problems == [
        "case 'lost' is missing: expected an image and a label, ImageSets/Segmentation/train.txt lists it alone."
    ]
