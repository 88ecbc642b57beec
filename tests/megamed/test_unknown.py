"""Pixels that nobody judged stay so from the file to the collection, its exports and its previews."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from megamed import Collection, DatasetCard, Task
from megamed.annotation import Annotation, masks_of
from megamed.build import BuildReport
from megamed.collection import verify
from megamed.export import export
from megamed.layouts import find_subjects
from megamed.prepare import prepare_subject
from megamed.preview import UNKNOWN_RGB, outlined
from megamed.propose import propose, write_proposal
from megamed.standardise import Standard
from megamed.unknown import UNKNOWN, agreed, foreground, possible, unjudged, whole_values

DISC = Task(dataset="drawn", modality="ct-drawn", axis="2d", label="disc")
SIZE_PX = 24


def ringed(root: Path, *values: int) -> None:
    """Surround the structures of every label by pixels of some values, and cover the left edge of the images."""
    for path in sorted((root / "labels").iterdir()):
        label = np.asarray(Image.open(path))
        unknown = np.zeros(label.shape, bool)
        unknown[2:14, 2:22] = True
        unknown[:, 0] = True
        places = np.flatnonzero(unknown & (label == 0))
        changed = label.copy()
        changed.flat[places] = np.resize(values, len(places))
        Image.fromarray(changed).save(path)


@pytest.fixture
def partly(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> Callable[..., Path]:
    """Build a dataset with unknown pixels, given their values."""

    def make(*values: int, name: str = "partly", size_px: int = SIZE_PX, **card: object) -> Path:
        root = make_dataset(3, f"{name}/drawn", files={"unknown": list(values)}, **card)
        ringed(root, *values)
        assert build_folder(root, tmp_path / f"{name}-out", size_px=size_px).complete
        return tmp_path / f"{name}-out"

    return make


@pytest.mark.parametrize("size_px", [SIZE_PX, 16, 9])
def test_what_stands_for_unknown_is_irrelevant(partly: Callable[..., Path], size_px: int) -> None:
    """Only that a pixel is unknown counts, not by which of several values."""
    one = partly(255, name="one", size_px=size_px)
    many = partly(9, 255, 200, name="many", size_px=size_px)
    with Collection(one) as first, Collection(many) as second:
        for task in first.tasks():
            rows = range(len(first.areas(task)))
            assert np.array_equal(first.labels(task, rows), second.labels(task, rows))
            assert np.array_equal(first.unknown_areas(task), second.unknown_areas(task))


def test_unknown_pixels_are_stored_counted_and_verified(partly: Callable[..., Path]) -> None:
    folder = partly(255)
    with Collection(folder) as collection:
        for task in collection.tasks():
            label = collection.label(task, 0)
            assert set(np.unique(label)) == {0, 1, UNKNOWN}
            assert collection.areas(task)[0] == np.count_nonzero(label == 1)
            assert collection.unknown_areas(task)[0] == np.count_nonzero(label == UNKNOWN)
        label = collection.label(DISC, 0)
        assert (label[4:12, 4:12] == 1).all()
        assert (label[:, 0] == UNKNOWN).all()
        assert (label[3, 3:21] == UNKNOWN).all()
        assert not label[16:, 1:].any()
    assert not verify(folder)
    (path,) = folder.glob("*.h5")
    with h5py.File(path, "r+") as file:
        file["ct-drawn/2d/unknown/disc"][0] += 1
    spoilt = path.rename(path.with_name("spoilt.h5"))
    assert any("does not count the label's unknown pixels" in problem for problem in verify(spoilt))


def test_without_unknown_pixels_nothing_is_stored_of_them(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    build_folder(make_dataset(2))
    (path,) = (tmp_path / "out").glob("*.h5")
    with h5py.File(path) as file:
        assert "unknown" not in file["ct-drawn/2d"]
    with Collection(tmp_path / "out") as collection:
        assert not collection.unknown_areas(DISC).any()


def test_collections_of_the_first_version_are_read(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    build_folder(make_dataset(2))
    manifest = tmp_path / "out" / "manifest.json"
    stated = json.loads(manifest.read_text()) | {"format": "megamed-1"}
    for entry in stated["datasets"].values():
        del entry["card"]["files"]["unknown"]
    manifest.write_text(json.dumps(stated))
    with Collection(tmp_path / "out") as collection:
        assert collection.label(DISC, 0).max() == 1


def test_a_resized_pixel_is_known_if_its_unknown_part_cannot_matter(partly: Callable[..., Path]) -> None:
    """At half the size, the ring of two pixels around the squares becomes one of one pixel, and touches no more."""
    with Collection(partly(255, size_px=SIZE_PX // 2)) as collection:
        label = collection.label(DISC, 0)
    expected = np.zeros((12, 12), np.uint8)
    expected[1:7, 1:11] = UNKNOWN
    expected[2:6, 2:6], expected[2:6, 6:10] = 1, 0
    assert np.array_equal(label[:, 1:], expected[:, 1:])


def test_a_class_is_background_under_another_and_unknown_with_it() -> None:
    annotation = Annotation((np.array([0, 1, 2, 0], np.uint8),), frozenset({1, 2}), np.array([0, 0, 0, 1], bool))
    masks = masks_of({"": annotation}, {"a": (1,), "b": (2,), "ab": (1, 2)})
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "a": [0, 1, 0, UNKNOWN],
        "b": [0, 0, 1, UNKNOWN],
        "ab": [0, 1, 1, UNKNOWN],
    }


def test_a_majority_is_unknown_where_those_who_did_not_judge_would_decide_it() -> None:
    def drawn(text: str) -> Annotation:
        pixels = np.array([*text])
        return Annotation(((pixels == "#").astype(np.uint8),), frozenset({1}), pixels == "?")

    annotations = {"ann": drawn("##.?"), "bob": drawn("#..?"), "eve": drawn("????")}
    assert masks_of(annotations, {"a": (1,)})["a"].tolist() == [1, UNKNOWN, 0, UNKNOWN]


def test_readings_that_agree_make_a_label() -> None:
    label = np.array([0, 1, UNKNOWN], np.uint8)
    assert np.array_equal(agreed(foreground(label), possible(label)), label)
    assert unjudged(label).tolist() == [False, False, True]


def test_exports_keep_unknown_pixels(
    partly: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    folder = partly(255)
    with Collection(folder) as collection:
        label, other = collection.label(DISC, 0), collection.label(DISC.model_copy(update={"label": "ring"}), 0)
    (line,) = export(folder, tmp_path / "nnunet", "nnunet")
    assert "pixels of which a label is unknown are of the label 'ignore'" in line
    (root,) = (tmp_path / "nnunet").iterdir()
    assert json.loads((root / "dataset.json").read_text())["labels"] == {
        "background": 0,
        "disc": 1,
        "ring": 2,
        "ignore": 3,
    }
    (path,) = root.glob("labels*/00000-*.png")
    label_map = np.asarray(Image.open(path))
    assert np.array_equal(label_map == 3, label == UNKNOWN)
    assert np.array_equal(label_map == 1, label == 1)
    assert np.array_equal(label_map == 2, other == 1)
    write_proposal(propose(root), root)
    assert build_folder(root, tmp_path / "from-nnunet", size_px=SIZE_PX).complete
    export(folder, tmp_path / "png", "png")
    assert build_folder(tmp_path / "png", tmp_path / "from-png", size_px=SIZE_PX).complete
    for again in ("from-nnunet", "from-png"):
        with Collection(tmp_path / again) as collection:
            task = next(task for task in collection.tasks() if task.label == "disc")
            assert any(np.array_equal(found, label) for found in collection.labels(task, range(2))), again


def test_previews_show_unknown_pixels() -> None:
    label = np.zeros((8, 8), np.uint8)
    label[:, :4] = UNKNOWN
    painted = outlined(np.zeros((8, 8), np.uint8), label)
    assert (painted[0, 0] == UNKNOWN_RGB).all()
    assert not painted[:, 4:].any()


def test_nnunet_states_what_to_ignore(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    root = make_dataset(3, "plain/drawn")
    ringed(root, 3)
    raw = tmp_path / "Dataset007_Drawn"
    for part in ("imagesTr", "labelsTr"):
        (raw / part).mkdir(parents=True)
    for path in (root / "images").iterdir():
        path.rename(raw / "imagesTr" / f"{path.stem}_0000.png")
    for path in (root / "labels").iterdir():
        path.rename(raw / "labelsTr" / path.name)
    labels = {"background": 0, "disc": 1, "ring": 2, "ignore": 3}
    facts = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 6, "file_ending": ".png"}
    (raw / "dataset.json").write_text(json.dumps(facts))
    proposal = propose(raw)
    assert proposal.card.labels == {1: "disc", 2: "ring"}
    assert proposal.card.files.unknown == (3,)
    assert any("nobody judged" in check for check in proposal.checks)
    forgetful = proposal.card.model_copy(update={"files": proposal.card.files.model_copy(update={"unknown": ()})})
    (raw / "meta.json").write_text(forgetful.model_dump_json(exclude_defaults=True))
    assert build_folder(raw, size_px=SIZE_PX).complete, "dataset.json is enough"
    with Collection(tmp_path / "out") as collection:
        assert {task.label for task in collection.tasks()} == {"disc", "ring"}
        assert all(collection.unknown_areas(task).all() for task in collection.tasks())
    named = forgetful.model_copy(update={"labels": {1: "disc", 2: "ring", 3: "ignore"}})
    with pytest.raises(ValueError, match=r"label 'ignore' is none: .* Take it out of \[labels\]"):
        find_subjects(raw, named)


@pytest.mark.parametrize("void", ["index", "colour"])
def test_void_of_voc_is_proposed_as_unknown(make_dataset: Callable[..., Path], void: str) -> None:
    root = make_dataset(3)
    ringed(root, 255)
    palette = np.zeros((256, 3), np.uint8)
    palette[[1, 2, 255]] = (128, 0, 0), (0, 128, 0), (224, 224, 192)
    for path in (root / "labels").iterdir():
        picture = Image.fromarray(np.asarray(Image.open(path)), "P")
        picture.putpalette(palette.tobytes())
        (picture if void == "index" else picture.convert("RGB")).save(path)
    (root / "meta.json").unlink()
    card = propose(root).card
    assert (set(card.labels), card.files.unknown) == ({1, 2}, (255,))


def test_cards_cannot_give_a_value_two_meanings() -> None:
    facts = {"id": "a", "modality": "CT", "labels": {1: "lung", 2: "void"}}
    assert DatasetCard.model_validate({**facts, "files": {"unknown": 255}}).files.unknown == (255,)
    with pytest.raises(ValueError, match="label values have two meanings"):
        DatasetCard.model_validate({**facts, "files": {"unknown": [2]}})


def test_a_class_of_files_can_be_what_nobody_judged(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    files = {"label": "labels/{class}/{case}", "classes": {"disc": 1, "ring": 2, "void": 255}, "unknown": 255}
    root = make_dataset(2, files={**files, "missing_class": "background"}, derived_labels={})
    for path in sorted((root / "labels").glob("*.png")):
        label = np.asarray(Image.open(path))
        for name, mask in {"disc": label == 1, "ring": label == 2, "void": np.indices(label.shape)[0] > 20}.items():
            (root / "labels" / name).mkdir(exist_ok=True)
            Image.fromarray(mask * np.uint8(255)).save(root / "labels" / name / path.name)
        path.unlink()
    assert build_folder(root, size_px=SIZE_PX).complete
    with Collection(tmp_path / "out") as collection:
        assert [task.label for task in collection.tasks()] == ["disc", "ring"]
        label = collection.label(DISC, 0)
        assert (label[21:] == UNKNOWN).all()
        assert not unjudged(label[:21]).any()


@pytest.mark.parametrize("axis", [0, 2])
def test_volumes_have_unknown_voxels(tmp_path: Path, axis: int) -> None:
    nibabel = pytest.importorskip("nibabel")
    label = np.zeros((16, 16, 16), np.float32)
    label[5:11, 5:11, 5:11] = 1
    np.moveaxis(label, axis, 0)[9:] = np.nan
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    image = np.random.default_rng(0).integers(0, 900, label.shape).astype(np.int16)
    for folder, array in (("images", image), ("labels", label)):
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / folder / "a.nii.gz")
    card = DatasetCard.model_validate({"id": "drawn", "modality": "CT", "labels": {1: "cube"}})
    (subject,) = find_subjects(tmp_path, card)
    rows, problems = prepare_subject(card, Standard(16), subject, "train")
    assert not problems
    for row in rows:
        cube = row.masks["cube"]
        across = row.axis == ("sagittal", "coronal", "axial")[axis]
        assert unjudged(cube).any() != across, "of a slice, all is judged or nothing"
        assert np.count_nonzero(foreground(cube)) in ((36,) if across else (24,))


@pytest.mark.parametrize("given", [255, 255.0, [255], (255,), {255}, np.uint8(255), np.array([255])])
def test_values_of_unknown_pixels_may_be_given_in_any_form(given: Any) -> None:
    assert whole_values(given) == (255,)


@pytest.mark.parametrize("given", [1.5, "255", True, float("nan"), [255, 0.5]])
def test_what_is_no_value_of_a_pixel_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match=r"unknown is no value of pixels: expected whole numbers"):
        whole_values(given)
