"""What a subject's annotations become, when only some of its labels were annotated."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from megamed import Collection, DatasetCard
from megamed.build import BuildReport
from megamed.layouts import find_subjects
from megamed.prepare import prepare_subject
from megamed.standardise import Standard, pad_to_square, resize, standard_mask

PARTIAL = {"ring": ["p0", "p1", "p2"]}


def test_unannotated_label_is_never_a_sample(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    assert build_folder(make_dataset(5, annotated=PARTIAL)).complete
    with Collection(tmp_path / "out") as collection:
        tasks = {task.label: task for task in collection.tasks()}
        subjects = {label: {sample.subject for sample in collection.samples(task)} for label, task in tasks.items()}
        everyone = {"p0", "p1", "p2", "p3", "p4"}
        assert subjects == {"disc": everyone, "ring": set(PARTIAL["ring"]), "both-of-them": set(PARTIAL["ring"])}
        rows = [sample.row for sample in collection.samples(tasks["disc"]) if sample.subject in ("p3", "p4")]
        assert len(rows) == 4
        assert not collection.labels(tasks["ring"], rows).any(), "what pixels say of an unknown label is not kept"


def test_subject_without_any_annotated_label_has_no_sample(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    root = make_dataset(2, annotated={"disc": ["p0"], "ring": ["p0"]})
    assert build_folder(root).complete
    with Collection(tmp_path / "out") as collection:
        for task in collection.tasks():
            assert {sample.subject for sample in collection.samples(task)} == {"p0"}


@pytest.mark.parametrize("every_nth", [None, 2])
def test_volumes_with_channels_and_overlapping_files(tmp_path: Path, every_nth: int | None) -> None:
    nibabel = pytest.importorskip("nibabel")
    organ, tumour = np.zeros((2, 12, 12, 12), np.uint8)
    organ[2:9, 2:9, 2:9], tumour[4:6, 4:6, 8:11] = 1, 1
    image = np.random.default_rng(0).integers(0, 4000, (12, 12, 12, 2)).astype(np.int16)
    for name, array in {"images/a": image, "organ/a": organ, "tumour/a": tumour}.items():
        (tmp_path / name).parent.mkdir()
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / f"{name}.nii.gz")
    files = {"label": "{class}/{case}", "channels": {"0": "MRI T1", "1": "MRI T2"}}
    facts = {"id": "drawn", "modality": "MRI", "license": "CC0", "labels": {1: "organ", 2: "tumour"}, "files": files}
    card = DatasetCard.model_validate(facts)
    (subject,) = find_subjects(tmp_path, card)
    rows, problems = prepare_subject(card, Standard(12, every_nth=every_nth), subject, "train")
    assert not problems
    axial = {(row.modality, row.case): row for row in rows if row.axis == "axial"}
    slices = [2, 6, 8] if every_nth is None else [2, 4, 6, 8, 10]
    assert list(axial) == [(modality, f"a:{index}") for modality in ("mri-t1", "mri-t2") for index in slices]
    both = axial["mri-t2", "a:8"].masks
    assert (both["organ"].sum(), both["tumour"].sum(), (both["organ"] & both["tumour"]).sum()) == (49, 4, 4)


def test_fractions_are_no_label_values(tmp_path: Path) -> None:
    for folder, array in {"images": np.arange(64.0).reshape(8, 8), "labels": np.full((8, 8), 1.5)}.items():
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "a.npy", array)
    card = DatasetCard(id="drawn", modality="US", labels={1: "cyst"}, license="CC0")
    (subject,) = find_subjects(tmp_path, card)
    _, problems = prepare_subject(card, Standard(8), subject, "train")
    assert "is no label map: expected whole numbers, got values from 1.5 to 1.5" in problems[0]


def test_a_slope_moves_no_label_off_the_card(tmp_path: Path) -> None:
    label = np.zeros((8, 8))
    label[2:6, 2:4], label[2:6, 4:6] = 1.0000152, 1.9999999
    for folder, array in {"images": np.arange(64.0).reshape(8, 8), "labels": label}.items():
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "a.npy", array)
    card = DatasetCard(id="drawn", modality="US", labels={1: "cyst", 2: "wall"}, license="CC0")
    (subject,) = find_subjects(tmp_path, card)
    (row,), problems = prepare_subject(card, Standard(8), subject, "train")
    assert not problems
    assert {name: int(mask.sum()) for name, mask in row.masks.items()} == {"cyst": 8, "wall": 8}


def test_channels_must_lie_on_each_other(tmp_path: Path) -> None:
    for channel, size in (("0000", 8), ("0001", 9)):
        (tmp_path / "imagesTr").mkdir(exist_ok=True)
        noise = np.random.default_rng(0).integers(0, 255, (size, 8), np.uint8)
        Image.fromarray(noise).save(tmp_path / "imagesTr" / f"a_{channel}.png")
    (tmp_path / "labelsTr").mkdir()
    Image.fromarray(np.ones((8, 8), np.uint8)).save(tmp_path / "labelsTr" / "a.png")
    description = {"channel_names": {"0": "DAPI", "1": "phase"}, "file_ending": ".png"}
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    card = DatasetCard(id="drawn", modality="microscopy", labels={1: "cell"}, license="CC0", layout="nnunet")
    (subject,) = find_subjects(tmp_path, card)
    rows, problems = prepare_subject(card, Standard(8), subject, "train")
    assert not rows
    assert "modalities do not match: expected (8, 8), got (9, 8)" in problems[0]


def test_a_colour_picture_of_nnunet_is_one_image(tmp_path: Path) -> None:
    for folder, name in (("imagesTr", "a_0000.png"), ("labelsTr", "a.png")):
        (tmp_path / folder).mkdir()
        shape = (8, 8, 3) if folder == "imagesTr" else (8, 8)
        Image.fromarray(np.random.default_rng(0).integers(0, 2, shape, np.uint8)).save(tmp_path / folder / name)
    description = {"channel_names": {"0": "R", "1": "G", "2": "B"}, "file_ending": ".png"}
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    card = DatasetCard(id="drawn", modality="photograph", labels={1: "road"}, license="CC0", layout="nnunet")
    (subject,) = find_subjects(tmp_path, card)
    rows, problems = prepare_subject(card, Standard(8), subject, "train")
    assert ([row.modality for row in rows], problems) == (["photograph"], [])


@pytest.mark.parametrize("dataset", ["stare", "drive_av"])
def test_thin_vessels_survive(shared: Path, dataset: str) -> None:
    """Antialiased vessels fall into half as many pieces; of equal area, they are also closest to what was drawn."""
    measure = pytest.importorskip("scipy.ndimage").label
    methods = ("antialias", "keep-area", "nearest")
    pieces, dice, area = ({method: [] for method in methods} for _ in range(3))
    for path in sorted((shared / "data" / dataset / "labels").iterdir())[:10]:
        vessels = pad_to_square((np.asarray(Image.open(path)) > 0).astype(np.uint8)) > 0
        for method in methods:
            mask = standard_mask(vessels, Standard(128, label_resize=method))
            back = resize(mask.astype(np.float32), len(vessels)) >= 0.5
            pieces[method].append(measure(mask, np.ones((3, 3)))[1])
            dice[method].append(2 * (back & vessels).sum() / (back.sum() + vessels.sum()))
            area[method].append(mask.mean() / vessels.mean())
    for method in ("antialias", "keep-area"):
        assert np.mean(pieces[method]) < 0.6 * np.mean(pieces["nearest"])
    assert np.mean(dice["keep-area"]) > max(np.mean(dice["antialias"]), np.mean(dice["nearest"]))
    assert 0.75 < np.mean(area["antialias"]) < 0.9
    assert 0.98 < np.mean(area["keep-area"]) < 1.04
