"""Labels that content or their folder tells become tasks, with the patients whom series name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from megamed.build import BuildReport
from megamed.collection import Collection
from megamed.layouts import find_subjects
from megamed.propose import propose, write_proposal
from megamed.schema import DatasetCard
from tests.dicom_files import series_affine, write_series

SHAPE = (4, 12, 10)


def picture(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 250, (20, 24))


def square(top: int) -> np.ndarray:
    label = np.zeros((20, 24), np.uint8)
    label[top : top + 6, 8:16] = 1
    return label


def proposed(root: Path, build_folder: Callable[..., BuildReport]) -> tuple[str, str, BuildReport]:
    """Propose a card, build by it, and return its layout, the text of the proposal and the report."""
    found = propose(root)
    write_proposal(found, root)
    return found.card.layout, found.text(), build_folder(root)


def test_labels_that_content_tells_are_built(build_folder: Callable[..., BuildReport], tmp_path: Path) -> None:
    root = tmp_path / "eyes"
    for number in range(3):
        picture(root / f"e{number}.png", noise(number))
        picture(root / f"e{number}_vk.png", square(number) * 255)
    layout, text, report = proposed(root, build_folder)
    assert (layout, report.complete) == ("pairs", True)
    assert "e0_vk.png is taken for the label of e0.png, as its content tells, and so it is with 2 others" in text
    with Collection(tmp_path / "out") as collection:
        (task,) = collection.tasks()
        assert {sample.case for sample in collection.samples(task)} == {"e0", "e1", "e2"}


def test_images_of_one_patient_are_one_subject(build_folder: Callable[..., BuildReport], tmp_path: Path) -> None:
    """Phases of a heart with a label each, beside the whole film, are cases and no classes."""
    root = tmp_path / "hearts"
    for patient in ("p1", "p2", "p3"):
        for frame in (1, 7):
            picture(root / patient / f"{patient}_frame{frame}.png", noise(frame))
            picture(root / patient / f"{patient}_frame{frame}_gt.png", square(frame) + square(frame + 2))
    _, _, report = proposed(root, build_folder)
    assert report.datasets["hearts"].subjects == 3
    with Collection(tmp_path / "out") as collection:
        assert {task.label for task in collection.tasks()} == {"label-1", "label-2"}


@pytest.mark.parametrize("downwards", [False, True])
def test_pictures_of_slices_are_labels_of_their_series(
    downwards: bool, build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    pytest.importorskip("nibabel")
    root = tmp_path / "scans"
    label = np.zeros(SHAPE, np.uint8)
    label[1:, 3:9, 2:8], label[3, 4:8, 3:7] = 40, 90
    for number, patient in enumerate(("ann", "ann", "bob")):
        folder = root / f"scan{number}"
        values = np.random.default_rng(number).integers(0, 99, SHAPE).astype(np.int16)
        affine = series_affine(np.eye(3), (5, 1, 1), (0, 0, 0))
        for place, file in enumerate(write_series(folder / "dicom", values, affine, PatientID=patient)):
            order = SHAPE[0] - 1 - place if downwards else place
            file.rename(file.with_name(f"x{order}.dcm"))
            picture(folder / "Ground" / f"x{order}.png", label[place])
    layout, _, report = proposed(root, build_folder)
    assert (layout, report.complete) == ("pairs", True)
    card = DatasetCard.from_toml(root / "card.toml")
    cases = {subject.id: [case.name for case in subject.cases] for subject in find_subjects(root, card)}
    assert cases == {"ann": ["ann__1", "ann__2"], "bob": ["bob"]}
    assert card.labels == {40: "label 40", 90: "label 90"}
    with Collection(tmp_path / "out") as collection:
        samples = {task.label: collection.samples(task) for task in collection.tasks()}
    # the last place holds both labels, wherever the name of its file stands
    assert {name: len({each.case for each in found}) for name, found in samples.items()} == {
        "label-40": 9,
        "label-90": 3,
    }


@pytest.mark.parametrize("kind", ["nii.gz", "nrrd", "mha"])
def test_a_label_map_lies_on_its_series(kind: str, build_folder: Callable[..., BuildReport], tmp_path: Path) -> None:
    """SimpleITK reads the series, whose planes are turned, and writes what is bright in it."""
    pytest.importorskip("nibabel")
    sitk = pytest.importorskip("SimpleITK")
    root = tmp_path / "scans"
    bright = np.random.default_rng(0).integers(0, 60, SHAPE).astype(np.int16)
    bright[1:, 3:9, 2:8] += 900
    turned = series_affine(np.array([[0, 0.8, -0.6], [0, 0.6, 0.8], [1.0, 0, 0]]), (5, 1, 1), (3, -4, 9))
    for patient in ("ann", "bob"):
        write_series(root / patient / "dicom", bright, turned, PatientID=patient)
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(root / patient / "dicom")))
        sitk.WriteImage(sitk.Cast(reader.Execute() > 100, sitk.sitkUInt8), str(root / patient / f"label.{kind}"))
    layout, _, report = proposed(root, build_folder)
    assert (layout, report.complete) == ("pairs", True)
    with Collection(tmp_path / "out") as collection:
        for task in collection.tasks():
            rows = [sample.row for sample in collection.samples(task)]
            images, labels = collection.images(task, rows), collection.labels(task, rows)
            assert np.corrcoef(images.ravel(), labels.ravel())[0, 1] > 0.9


def test_series_without_patients_are_of_their_folders(tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    for case, phase in ((case, phase) for case in ("case1", "case2") for phase in ("art", "ven")):
        folder = tmp_path / case / phase
        pixels = np.random.default_rng(0).integers(0, 60, SHAPE).astype(np.int16)
        files = write_series(folder / "images", pixels, series_affine(np.eye(3), (5, 1, 1), (0, 0, 0)), PatientID="")
        for place, file in enumerate(files):
            file.rename(file.with_name(f"x{place}.dcm"))
            picture(folder / "masks" / f"x{place}.png", np.tri(*SHAPE[1:]))
    card = propose(tmp_path).card
    assert [subject.id for subject in find_subjects(tmp_path, card)] == ["case1", "case2"]


def test_classes_are_those_of_files(build_folder: Callable[..., BuildReport], tmp_path: Path) -> None:
    """Of a class without a file it is not known whether it is there; one that the card lacks is no label."""
    root = tmp_path / "organs"
    for number, organs in enumerate((("liver", "spleen", "left lung"), ("liver",), ("left lung",))):
        picture(root / "images" / f"{number}.png", noise(number))
        for organ in organs:
            picture(root / f"{organ}_masks" / f"{number}.png", square(2 + 3 * len(organ) % 9) * 255)
    (root / "card.toml").write_text(
        'id = "organs"\nmodality = "CT"\nlayout = "pairs"\n[labels]\n1 = "liver"\n2 = "Milz"\n'
        "[files.classes]\nspleen = 2\n"
    )
    report = build_folder(root)
    assert report.datasets["organs"].rejected == {
        "2": ("case '2' has no label of the card: expected some of ['liver', 'milz', 'spleen'].",)
    }
    with Collection(tmp_path / "out") as collection:
        cases = {task.label: [each.case for each in collection.samples(task)] for task in collection.tasks()}
    assert cases == {"liver": ["0", "1"], "milz": ["0"]}
