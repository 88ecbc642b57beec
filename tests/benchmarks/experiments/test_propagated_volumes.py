"""Volumes from their files: cut like those of a collection, asked fairly, scored where nothing was labelled."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.experiments import propagated_volumes
from benchmarks.experiments.propagated_volumes import (
    METHODS,
    Question,
    SlicedVolume,
    VolumeSettings,
    questions,
    run_volumes,
    slices,
)
from benchmarks.scoring.results import read_rows
from megamed import Collection
from megamed.build import BuildOptions, build
from megamed.layouts import find_subjects, read_card
from megamed.standardise import Standard

SHAPE = (24, 20, 12)
CARD = {
    "id": "balls",
    "role": "heldout",
    "modality": "MRI",
    "labels": {"1": "ball", "2": "shell"},
    "subject_pattern": r"^(s\d)",
    "license": "CC0",
}


class Codes:
    """Labels of what was read."""

    def __init__(self, labels: Tensor) -> None:
        self.labels = labels

    @classmethod
    def joined(cls, parts: "Sequence[Codes]") -> "Codes":
        return cls(torch.cat([part.labels for part in parts], 1))

    def select(self, places: Tensor) -> "Codes":
        return Codes(self.labels[0, places])

    def pooled(self) -> Tensor:
        return self.labels


class BrightnessReader:
    """Knows what is bright to be the structure, whatever it is shown."""

    def encode_images(self, images: Tensor, labels: Tensor) -> Codes:
        return Codes(labels[None])

    def segment(self, queries: Tensor, code: Tensor) -> Tensor:
        return 100 * (queries - 0.5)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of four bright balls of three subjects, in slices of 3 mm."""
    root = tmp_path_factory.mktemp("volumes")
    (root / "balls" / "volumes").mkdir(parents=True)
    (root / "balls" / "meta.json").write_text(json.dumps(CARD))
    x, y, z = np.ogrid[:24, :20, :12]
    for name, centre in (("s0_a", 9), ("s0_b", 10), ("s1_a", 11), ("s2_a", 13)):
        ball = (x - centre) ** 2 + (y - 8) ** 2 + (3 * (z - 6)) ** 2 <= 49
        for what, voxels in (("image", 10 + 240 * ball), ("label", 1 * ball)):
            file = nibabel.Nifti1Image(voxels.astype(np.uint8), np.diag([-1.0, 1.0, 3.0, 1.0]))
            nibabel.save(file, root / "balls" / "volumes" / f"{name}_{what}.nii.gz")
    return root


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A weights file that loads as a reader of brightness."""
    monkeypatch.setattr(propagated_volumes, "load_network", lambda path, device: BrightnessReader())
    (tmp_path / "weights").write_bytes(b"")
    return tmp_path / "weights"


def sliced(root: Path, axis: str = "") -> list[SlicedVolume]:
    card = read_card(root / "balls")
    cases = [case for subject in find_subjects(root / "balls", card) for case in subject.cases]
    return [each for case in cases for each in slices(card, case, VolumeSettings(axis=axis))]


def test_slices_are_those_of_a_collection(root: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as executor:
        build(root, tmp_path / "collection", BuildOptions(Standard()), executor, lambda *_: None)
    collection = Collection(tmp_path / "collection")
    (task,) = collection.tasks()
    compared = 0
    for volume in sliced(root):
        for sample in collection.samples(task):
            case, place = sample.case.split(":")
            if case == volume.case:
                np.testing.assert_array_equal(volume.planes[int(place)], collection.image(task, sample.row))
                np.testing.assert_array_equal(volume.labels["ball"][int(place)], collection.label(task, sample.row))
                compared += 1
    assert compared >= 4
    assert task.view == volume.view == "mri/axial"


def test_steps_are_in_sides_of_a_slice_and_any_axis_can_be_cut(root: Path) -> None:
    axial, sagittal = (sliced(root, axis)[0] for axis in ("", "sagittal"))
    assert (len(axial.planes), axial.step) == (12, pytest.approx(3 / 24))
    assert (len(sagittal.planes), sagittal.step, sagittal.view) == (24, pytest.approx(1 / 36), "mri/sagittal")


def test_labelled_slices_spread_over_those_that_show_the_label() -> None:
    label = np.zeros((14, 2, 2), np.uint8)
    label[3:12, 0, 0] = 1
    volume = SlicedVolume("d", "mr/axial", "s", "c", np.zeros_like(label), {"ball": label}, 0.1)
    assert volume.places("ball", 3) == [4, 7, 10]
    assert volume.places("ball", 1) == [7]
    assert volume.places("ball", 20) == list(range(3, 12))


def test_only_other_subjects_teach_and_labels_that_a_volume_lacks_are_not_asked(root: Path) -> None:
    asked = list(questions(sliced(root), VolumeSettings(others=2)))
    taught_by = {each.volume.case: [teacher.case for teacher in each.teachers] for each in asked}
    assert taught_by == {name: ["s1_a", "s2_a"] if name < "s1" else ["s0_a", "s0_b"] for name in taught_by}
    assert len(taught_by) == 4
    assert {each.label for each in asked} == {"ball"}
    assert not list(questions(sliced(root), VolumeSettings(others=4)))
    (alone,) = questions(sliced(root)[:1], VolumeSettings())
    assert alone.teachers == [alone.volume]


def test_labelled_slices_are_not_scored(root: Path) -> None:
    volume = sliced(root)[0]
    row = Question(volume, "ball", [volume], 3).answered(BrightnessReader(), "cpu", "slice by slice")
    places = volume.places("ball", 3)
    assert row.label_px == volume.labels["ball"].sum() - volume.labels["ball"][places].sum()
    assert (row.support_size, row.subject) == (3, "s0")
    other = Question(volume, "ball", sliced(root)[2:], 3).answered(BrightnessReader(), "cpu", "slice by slice")
    assert (other.label_px, other.support_size) == (volume.labels["ball"].sum(), 6)


def test_a_perfect_network_scores_1_slice_by_slice(root: Path, network: Path, tmp_path: Path) -> None:
    summary = run_volumes(root, VolumeSettings(volumes=3), network, tmp_path / "out")
    assert summary["overall"]["slice by slice"]["mean"] > 0.97
    assert summary["counts"]["propagation"]["subjects"] == 3
    assert set(summary["difference"]["minus"]) == set(METHODS) - {"propagation"}


def test_without_labels_of_its_own_a_volume_is_segmented_by_others(root: Path, network: Path, tmp_path: Path) -> None:
    summary = run_volumes(root, VolumeSettings(others=1), network, tmp_path / "out")
    assert set(summary["overall"]) == set(METHODS) - {"labels alone"}
    assert summary["overall"]["slice by slice"]["mean"] > 0.97


def test_a_run_goes_on_where_it_was_killed(root: Path, network: Path, tmp_path: Path) -> None:
    def killed(batches, total):
        assert total == 4 * len(METHODS) * 2
        yield next(iter(batches))
        raise KeyboardInterrupt

    settings = VolumeSettings()
    with pytest.raises(KeyboardInterrupt):
        run_volumes(root, settings, network, tmp_path / "out", track=killed)
    assert len(read_rows(tmp_path / "out" / "rows.csv")) == len(METHODS)
    for out in ("out", "whole"):
        run_volumes(root, settings, network, tmp_path / out)
    whole, resumed = ((tmp_path / out / "rows.csv").read_text() for out in ("whole", "out"))
    assert resumed == whole
    with pytest.raises(ValueError, match="results of another run"):
        run_volumes(root, replace(settings, labelled=2), network, tmp_path / "out")


def test_what_cannot_be_asked_is_told(root: Path, network: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got none of cubes"):
        run_volumes(root, VolumeSettings(("cubes",)), network, tmp_path / "a")
    with pytest.raises(ValueError, match="expected 5 others"):
        run_volumes(root, VolumeSettings(others=5), network, tmp_path / "b")
    with pytest.raises(ValueError, match="Unknown axis"):
        VolumeSettings(axis="oblique")
    with pytest.raises(ValueError, match="labelled is too small"):
        VolumeSettings(labelled=0)


def test_the_command_prints_a_table(root: Path, network: Path, tmp_path: Path) -> None:
    arguments = ["volumes", "--data", root, "--out", tmp_path / "out", "--weights", network, "--most", 2]
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    assert "propagation minus it" in result.stdout
    assert (tmp_path / "out" / "summary.json").is_file()
    result = CliRunner().invoke(app, ["volumes", "--data", str(root), "--dataset", "cubes"])
    assert result.exit_code == 1
    assert "got none of cubes" in result.stderr
