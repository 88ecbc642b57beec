"""Volumes from their files: segmented as a user would, asked fairly, scored where nothing was labelled."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.experiments import propagated_volumes
from benchmarks.experiments.propagated_volumes import ASKED, METHODS, SPREAD, Question, questions, run_volumes
from benchmarks.experiments.source_volumes import SourceVolume, VolumeSettings, find_volumes, read_volumes
from benchmarks.scoring.results import read_rows
from incontext import Segmenter
from incontext.inference.propagation import Propagation
from incontext.inference.segmentation import dice
from megamed.layouts import find_subjects, read_card
from megamed.readers.volume import Volume

SHAPE = (24, 20, 12)
CARD = {
    "id": "balls",
    "role": "heldout",
    "modality": "MRI",
    "labels": {"1": "ball", "2": "shell"},
    "subject_pattern": r"^(s\d)",
    "license": "CC0",
}


class Brightness(nn.Module):
    """Knows what is bright to be the structure, whatever it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(100.0))

    def forward(self, query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
        return self.scale * (query_images - 0.5)


def bright() -> Segmenter:
    return Segmenter(Brightness(), device="cpu")


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
    monkeypatch.setattr(propagated_volumes, "Segmenter", lambda weights, device: bright())
    (tmp_path / "weights").write_bytes(b"")
    return tmp_path / "weights"


def read(root: Path, axis: str = "") -> list[SourceVolume]:
    card = read_card(root / "balls")
    cases = [case for subject in find_subjects(root / "balls", card) for case in subject.cases]
    return [each for case in cases for each in read_volumes(card, case, axis)]


def test_what_is_measured_is_what_a_user_calls(root: Path, tmp_path: Path) -> None:
    volume = read(root)[0]
    question = Question(volume, "ball", [volume], 3)
    file = root / "balls" / "volumes" / "s0_a_image.nii.gz"
    drawn = np.asarray(nibabel.load(root / "balls" / "volumes" / "s0_a_label.nii.gz").dataobj)
    for method, config in (("propagation", None), ("slice by slice", Propagation(**METHODS["slice by slice"]))):
        by_hand = bright().propagate(file, {index: drawn[..., index] for index in question.own}, config=config)[0]
        mask = question.answer(bright(), method, tmp_path)
        np.testing.assert_array_equal(mask[::-1], by_hand > 0)  # the file's first axis runs to the left
        others = [index for index in range(12) if index not in question.own]
        expected = dice(by_hand[..., others] > 0, drawn[..., others] > 0)
        assert question.score(mask, method).dice == pytest.approx(expected, abs=1e-6)


def test_slices_of_others_are_examples_seen_along_the_same_axis(root: Path, tmp_path: Path) -> None:
    volume, *others = read(root, "sagittal")
    path, labels = others[-1].save_slab(tmp_path / "slab.nii", "ball", [10, 13])
    assert labels.shape == (2, 20, 12)
    segmenter = bright().fit([path], [labels])
    assert segmenter.fitted.pool.label_budget == 2
    assert Question(volume, "ball", others[1:], 2).answer(bright(), "propagation", tmp_path).shape == (24, 20, 12)


def test_steps_are_in_sides_of_a_slice_and_any_axis_can_be_cut(root: Path) -> None:
    axial, sagittal = (read(root, axis)[0] for axis in ("", "sagittal"))
    assert (axial.count, axial.step, axial.view) == (12, pytest.approx(3 / 24), "mri/axial")
    assert (sagittal.count, sagittal.step, sagittal.view) == (24, pytest.approx(1 / 36), "mri/sagittal")


def test_labelled_slices_spread_over_those_that_show_the_label() -> None:
    label = np.zeros((2, 2, 14), bool)
    label[0, 0, 3:12] = True
    volume = SourceVolume("d", "s", "c", "MR", Volume(label * 1.0, (1.0, 1.0, 1.0), np.eye(4)), 2, {"ball": label})
    assert volume.indices("ball", 3) == [4, 7, 10]
    assert volume.indices("ball", 1) == [7]
    assert volume.indices("ball", 20) == list(range(3, 12))


def test_only_other_subjects_teach_and_labels_that_a_volume_lacks_are_not_asked(root: Path) -> None:
    asked = list(questions(read(root), VolumeSettings(others=2)))
    taught_by = {each.volume.case: [teacher.case for teacher in each.teachers] for each in asked}
    assert taught_by == {name: ["s1_a", "s2_a"] if name < "s1" else ["s0_a", "s0_b"] for name in taught_by}
    assert len(taught_by) == 4
    assert {each.label for each in asked} == {"ball"}
    assert not list(questions(read(root), VolumeSettings(others=4)))
    (alone,) = questions(read(root)[:1], VolumeSettings())
    assert alone.teachers == [alone.volume]


def test_labelled_slices_are_not_scored(root: Path) -> None:
    volume = read(root)[0]
    question = Question(volume, "ball", [volume], 3)
    row = question.score(volume.labels["ball"], "slice by slice")
    assert row.label_px == volume.labels["ball"].sum() - volume.labels["ball"][..., question.own].sum()
    assert (row.support_size, row.subject, row.dice) == (3, "s0", 1)
    other = Question(volume, "ball", read(root)[2:], 3).score(volume.labels["ball"], "slice by slice")
    assert (other.label_px, other.support_size) == (volume.labels["ball"].sum(), 6)


class Asking(Segmenter):
    """A segmenter that finds nothing but what was drawn, and asks for the first slices, one after the other."""

    def __init__(self) -> None:
        self.drawn: list[dict[int, np.ndarray]] = []

    def propagate(self, path: Path, labels: dict[int, np.ndarray], axis: int) -> "Asking":
        self.drawn.append(labels)
        return self

    def __getitem__(self, index: int) -> np.ndarray:
        mask = np.zeros((24, 20, 12))
        for plane, label in self.drawn[-1].items():
            mask[..., plane] = label
        return mask

    def next_plane(self) -> int:
        return len(self.drawn) - 1


def test_slices_are_drawn_as_they_are_asked_for_and_all_are_scored(root: Path, tmp_path: Path) -> None:
    volume, asking = read(root)[0], Asking()
    question = Question(volume, "ball", [volume], 3)
    mask = question.answer(asking, ASKED, tmp_path)
    middle = volume.indices("ball", 1)
    assert [list(labels) for labels in asking.drawn] == [middle, [*middle, 0], [*middle, 0, 1]]
    assert all((label == volume.labels["ball"][..., index]).all() for index, label in asking.drawn[-1].items())
    row = question.score(mask, ASKED)
    assert row.label_px == volume.labels["ball"].sum()
    assert row.mask_px == sum(label.sum() for label in asking.drawn[-1].values())


@pytest.mark.filterwarnings(
    "ignore:images differ from support_images in contrast"
)  # one slice knows little of a volume
def test_slices_asked_for_are_compared_with_those_spread_evenly(root: Path, network: Path, tmp_path: Path) -> None:
    summary = run_volumes(root, VolumeSettings(volumes=1, labelled=2, asking=True), network, tmp_path / "out")
    assert list(summary["overall"]) == [ASKED, SPREAD]
    assert set(summary["difference"]["minus"]) == {SPREAD}
    assert summary["overall"][ASKED]["mean"] > 0.97
    with pytest.raises(ValueError, match="results of another run"):
        run_volumes(root, VolumeSettings(volumes=1, labelled=2), network, tmp_path / "out")
    with pytest.raises(ValueError, match="Slices are asked for in the volume itself: expected no others, got 2"):
        VolumeSettings(others=2, asking=True)


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
    assert len(read_rows(tmp_path / "out" / "rows.csv")) == 1
    for out in ("out", "whole"):
        run_volumes(root, settings, network, tmp_path / out)
    whole, resumed = ((tmp_path / out / "rows.csv").read_text() for out in ("whole", "out"))
    assert resumed == whole
    with pytest.raises(ValueError, match="results of another run"):
        run_volumes(root, replace(settings, labelled=2), network, tmp_path / "out")


def test_methods_may_be_scored_one_after_the_other(root: Path, network: Path, tmp_path: Path) -> None:
    settings = VolumeSettings(volumes=2)
    first = run_volumes(root, settings, network, tmp_path / "parts", asked_methods=["labels alone"])
    assert list(first["overall"]) == ["labels alone"]
    parts, whole = (run_volumes(root, settings, network, tmp_path / out) for out in ("parts", "whole"))
    assert parts["overall"] == whole["overall"]
    with pytest.raises(ValueError, match="Unknown method: expected one of propagation, "):
        run_volumes(root, settings, network, tmp_path / "parts", asked_methods=["luck"])


def test_what_cannot_be_asked_is_told(root: Path, network: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got none of cubes"):
        run_volumes(root, VolumeSettings(("cubes",)), network, tmp_path / "a")
    with pytest.raises(ValueError, match="expected 5 others"):
        run_volumes(root, VolumeSettings(others=5), network, tmp_path / "b")
    with pytest.raises(ValueError, match="Unknown axis"):
        VolumeSettings(axis="oblique")
    with pytest.raises(ValueError, match="labelled is too small"):
        VolumeSettings(labelled=0)


def test_a_card_that_is_none_stops_only_its_own_dataset(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "data")
    (tmp_path / "data" / "others").mkdir()
    (tmp_path / "data" / "others" / "meta.json").write_text("{}")
    (found,) = find_volumes(tmp_path / "data", VolumeSettings(datasets=("balls",)))
    assert found[0].id == "balls"
    with pytest.raises(ValueError, match=r"got none of others\. others/meta\.json is not a dataset card"):
        find_volumes(tmp_path / "data", VolumeSettings(datasets=("others",)))


def test_the_command_prints_a_table(root: Path, network: Path, tmp_path: Path) -> None:
    arguments = ["volumes", "--data", root, "--out", tmp_path / "out", "--weights", network, "--most", 2]
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    assert "propagation minus it" in result.stdout
    assert (tmp_path / "out" / "summary.json").is_file()
    result = CliRunner().invoke(app, ["volumes", "--data", str(root), "--dataset", "cubes"])
    assert result.exit_code == 1
    assert "got none of cubes" in result.stderr
