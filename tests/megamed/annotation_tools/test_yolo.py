"""YOLO segmentation: lines as its documentation shows them, and names of classes from where they lie."""

from pathlib import Path

import numpy as np
import pytest

from megamed.annotation_tools import yolo
from megamed.annotation_tools.model import SegmentedImage


@pytest.fixture
def label_file(tmp_path: Path) -> Path:
    path = tmp_path / "labels" / "train" / "a.TXT"
    path.parent.mkdir(parents=True)
    path.write_text("1 0.25 0.5 0.75 0.5 0.75 1 0.25 1\n\n0 0.0 0.0 0.5 0.0 0.5 0.5 0.0 0.5\n")
    return path


def test_coordinates_are_shares_of_the_image(label_file: Path) -> None:
    (image,) = yolo.read(label_file)
    assert (image.file_name, image.size) == ("a", None)
    labels = image.labels((8, 16))
    assert np.argwhere(labels["class 1"])[[0, -1]].tolist() == [[4, 4], [7, 11]]
    assert np.argwhere(labels["class 0"])[[0, -1]].tolist() == [[0, 0], [3, 7]]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "liver\nbig tumour\n"),
        ("data.yaml", "path: ../x\nnames: ['liver', \"big tumour\"]\nnc: 2\n"),
        ("data.yaml", "names:\n  0: liver\n  1: big tumour  # the second\nnc: 2\n"),
        ("data.yaml", "names:\n- liver\n- big tumour\ntrain: images\n"),
        ("dataset.yaml", "names: {0: liver, 1: big tumour}\n"),
    ],
)
def test_names_of_classes(label_file: Path, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    (image,) = yolo.read(label_file)
    assert [(each.name, each.value) for each in image.classes] == [("liver", 0), ("big tumour", 1)]
    assert list(image.labels((8, 16))) == ["big tumour", "liver"]


def test_boxes_are_filled_and_bad_lines_noted(label_file: Path) -> None:
    label_file.write_text("0 0.5 0.5 0.5 0.5\n0 0.1 0.2 0.3\nx 0 0 1 0 1 1\n")
    (image,) = yolo.read(label_file)
    assert image.labels((8, 16))["class 0"].sum() == 4 * 8
    assert len(image.notes) == 3


def test_a_list_of_names_is_no_annotation(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("0\n1\n")
    assert not yolo.recognises(tmp_path / "classes.txt")


def test_numbers_of_classes_are_kept_from_file_to_file(tmp_path: Path) -> None:
    mask = np.eye(6, dtype=bool)
    for index, names in enumerate((["b"], ["a", "b"])):
        path = tmp_path / f"{index}.txt"
        yolo.write(path, [SegmentedImage(f"{index}.png", (6, 6), dict.fromkeys(names, mask))])
        assert list(yolo.read(path)[0].labels((6, 6))) == names
    assert (tmp_path / "classes.txt").read_text() == "b\na\n"


def test_a_class_that_the_card_lacks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("names: [liver]\n")
    with pytest.raises(ValueError, match=r"expected \['liver'\], got \['spleen'\]. Add them to data.yaml"):
        yolo.write(tmp_path / "a.txt", [SegmentedImage("a.png", (2, 2), {"spleen": np.ones((2, 2), bool)})])


def test_confidences_and_numbers_with_a_point_are_no_coordinates(label_file: Path) -> None:
    label_file.write_text("0.0 0.25 0.5 0.75 0.5 0.75 1 0.25 1 0.9\r\n\r\n1 0.5 0.25 0.5 0.5 0.8\r\n")
    assert yolo.recognises(label_file)
    (image,) = yolo.read(label_file)
    assert {name: int(mask.sum()) for name, mask in image.labels((8, 16)).items()} == {"class 0": 32, "class 1": 32}
    assert image.notes == ("2 × confidence at the end of a line, left out", "1 × box: a bounding box, filled")
