"""What was drawn on DICOM series finds the series, wherever it lies, and what it says of other classes is united."""

from pathlib import Path

import numpy as np
import pytest

from megamed import formats
from megamed.layouts import find_subjects
from megamed.pairing import find_pairs
from megamed.prepare import prepare_subject
from megamed.schema import DatasetCard
from megamed.standardise import Standard
from tests.dicom_files import series_affine, write_segmentation, write_series

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

AFFINE = series_affine(np.eye(3), (1, 1, 2), (0, 0, 0))
BLOCK = np.ones((3, 4, 5), bool)


def write(folder: Path) -> list[Path]:
    return write_series(folder, np.ones(BLOCK.shape, np.int16), AFFINE)


def labels_in(folder: Path) -> dict[str, list[str]]:
    """The labels of each image, both below the folder."""
    return {
        pair.image.relative_to(folder).as_posix(): [
            label.relative_to(folder).as_posix() for labels in pair.labels.values() for label in labels
        ]
        for pair in find_pairs(folder).pairs
    }


def test_a_label_beside_several_series_is_of_the_one_that_it_names(tmp_path: Path) -> None:
    write(tmp_path / "p1" / "early")
    late = write(tmp_path / "p1" / "late")
    for number, file in enumerate(write(tmp_path / "p1" / "broken")):
        file.write_bytes(file.read_bytes()[: 300 - number])
    write(tmp_path / "p2" / "late")
    (tmp_path / "p1" / "drawn").mkdir()
    write_segmentation(tmp_path / "p1" / "drawn" / "1.dcm", late, {"block": BLOCK})
    assert labels_in(tmp_path) == {"p1/early": [], "p1/late": ["p1/drawn/1.dcm"], "p1/broken": [], "p2": []}


def test_labels_in_a_folder_of_their_own_are_of_the_series_that_they_name(tmp_path: Path) -> None:
    (tmp_path / "Segmentations").mkdir()
    for patient in ("a", "b"):
        write_segmentation(tmp_path / "Segmentations" / f"{patient}.dcm", write(tmp_path / patient), {"block": BLOCK})
    assert labels_in(tmp_path) == {"a": ["Segmentations/a.dcm"], "b": ["Segmentations/b.dcm"]}


def test_labels_of_other_classes_go_together(tmp_path: Path) -> None:
    series = write(tmp_path / "p" / "scan")
    (tmp_path / "p" / "drawn").mkdir()
    for name, structure in (("1", "liver"), ("2", "spleen"), ("3", "Liver")):
        write_segmentation(tmp_path / "p" / "drawn" / f"{name}.dcm", series, {structure: BLOCK})
    assert labels_in(tmp_path) == {"p/scan": ["p/drawn/1.dcm", "p/drawn/2.dcm"]}
    assert find_pairs(tmp_path).notes == ("p/drawn/3.dcm is left out, for its series has another label.",)


def changed(path: Path, tracked: str = "", **tags: object) -> None:
    """State further tags in a label, and which object its segment is of."""
    dataset = pydicom.dcmread(path)
    for tag, value in tags.items():
        setattr(dataset, tag, value)
    if tracked:
        dataset.SegmentSequence[0].TrackingID, dataset.SegmentSequence[0].TrackingUID = "lesion", tracked
    dataset.save_as(path)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ({"tracked": "1.2.3.1"}, {"tracked": "1.2.3.2"}, ""),
        ({"SeriesInstanceUID": "1.2.9"}, {"SeriesInstanceUID": "1.2.9"}, ""),
        ({"ContentCreatorName": "A"}, {"ContentCreatorName": "B", "tracked": "1.2.3.2"}, "another annotator's label"),
        ({"tracked": "1.2.3.1"}, {"tracked": "1.2.3.1"}, "its series has another label"),
        ({}, {}, "its series has another label"),
    ],
    ids=["objects", "one series", "people", "one object", "nothing"],
)
def test_labels_of_one_class_are_parts_or_those_of_people(
    tmp_path: Path, first: dict[str, str], second: dict[str, str], told: str
) -> None:
    series = write(tmp_path / "p" / "scan")
    paths = [tmp_path / "p" / "drawn" / f"{name}.dcm" for name in "12"]
    paths[0].parent.mkdir()
    for path, slices, tags in zip(paths, (slice(0, 1), slice(2, 3)), (first, second), strict=True):
        mask = np.zeros_like(BLOCK)
        mask[slices] = True
        write_segmentation(path, series, {"lesion": mask})
        changed(path, **tags)
    pairing = find_pairs(tmp_path)
    (pair,) = pairing.pairs
    assert pair.labels == {"": tuple(paths[: 1 if told else 2])}
    assert [told in note for note in pairing.notes] == ([True] if told else [])


def test_a_label_that_names_no_series_at_hand_is_left_out(tmp_path: Path) -> None:
    elsewhere = write(tmp_path / "away" / "scan")
    for place in ("p/early", "p/late", "p/drawn"):
        write(tmp_path / "here" / place)
    write_segmentation(tmp_path / "here" / "p" / "1.dcm", elsewhere, {"block": BLOCK})
    found = find_pairs(tmp_path / "here")
    assert not found.labelled
    assert found.drawn == (tmp_path / "here" / "p" / "1.dcm",)
    assert found.notes == ("p/1.dcm is left out, for no one series lies nearest to it, and it names none.",)


def mixed(folder: Path, label: Path | None) -> tuple[str, str]:
    """Write two series into one folder, and a label of the second; return their UIDs."""
    uids = []
    for name in ("first", "second"):
        files = write(folder.parent / name)
        uids.append(str(pydicom.dcmread(files[0]).SeriesInstanceUID))
        if name == "second" and label:
            label.parent.mkdir(parents=True, exist_ok=True)
            write_segmentation(label, files, {"block": BLOCK})
        folder.mkdir(exist_ok=True)
        for file in files:
            file.rename(folder / f"{name}{file.name}")
        (folder.parent / name).rmdir()
    return uids[0], uids[1]


@pytest.mark.parametrize("label", ["p/scan/label.dcm", "p/drawn/label.dcm", "label.dcm"])
def test_of_several_series_in_a_folder_the_one_is_taken_that_a_label_names(tmp_path: Path, label: str) -> None:
    (tmp_path / "p").mkdir()
    first, second = mixed(tmp_path / "p" / "scan", tmp_path / label)
    assert labels_in(tmp_path) == {f"p/scan/{second}": [label]}
    assert find_pairs(tmp_path).notes == (
        f"p/scan/{first} is left out, for a label names another series of its folder.",
    )


def test_several_series_in_a_folder_that_no_label_names_are_an_image_each(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    uids = mixed(tmp_path / "p" / "scan", None)
    assert labels_in(tmp_path) == {f"p/scan/{uid}": [] for uid in uids}
    (found,) = find_pairs(tmp_path / "p" / "scan" / uids[1]).pairs
    assert {file.name[:6] for file in formats.source_at(found.image).files} == {"second"}


def test_a_series_is_read_that_a_label_in_its_folder_names(tmp_path: Path) -> None:
    mixed(tmp_path / "scan", tmp_path / "scan" / "label.dcm")
    source = formats.source_at(tmp_path / "scan")
    assert {file.name[:6] for file in source.files} == {"second"}
    assert "other series" in source.notes[0]


def test_a_series_that_is_not_in_its_folder_is_named(tmp_path: Path) -> None:
    first, _ = mixed(tmp_path / "scan", None)
    with pytest.raises(ValueError, match=f"holds no series 1.2.3.4: expected one of 2.*{first}"):
        formats.source_at(tmp_path / "scan" / "1.2.3.4")


@pytest.mark.parametrize(
    ("people", "labels", "notes"),
    [
        (("Roe", "Doe"), {"lesion", "lesion-by-annotator-1", "lesion-by-annotator-2"}, 0),
        (("", ""), {"lesion"}, 1),
    ],
)
def test_in_a_dataset_each_person_is_an_annotator(
    tmp_path: Path, people: tuple[str, str], labels: set[str], notes: int
) -> None:
    """Names of people stay outside; of two labels that are not told to be those of people the second is left out."""
    pixels = np.random.default_rng(0).integers(0, 99, BLOCK.shape).astype(np.int16)
    series = write_series(tmp_path / "p" / "scan", pixels, AFFINE)
    (tmp_path / "p" / "drawn").mkdir()
    for place, person in enumerate(people):
        mask = np.zeros_like(BLOCK)
        mask[: 1 + place] = True
        path = tmp_path / "p" / "drawn" / f"{place}.dcm"
        write_segmentation(path, series, {"lesion": mask})
        changed(path, **({"ContentCreatorName": person} if person else {}))
    card = DatasetCard.model_validate({"id": "d", "modality": "CT", "labels": {1: "lesion"}, "layout": "dicom"})
    (subject,) = find_subjects(tmp_path, card)
    told: list[str] = []
    rows, problems = prepare_subject(card, Standard(16), subject, "train", told)
    assert not problems
    assert {name for row in rows for name in row.known} == labels
    assert sum("its series has another label" in note for note in told) == notes
