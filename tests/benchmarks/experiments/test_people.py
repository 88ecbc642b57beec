"""People's scribbles: they come to lie where they were drawn, and are compared with as many simulated ones."""

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.experiments import people as experiment
from benchmarks.experiments import prompted_tasks
from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.people import BEFORE, CORRECTING, LIKEWISE, PERSON, People, people
from benchmarks.predictors.protocol import NamedPrompted
from incontext.networks.prompted import BOX, INSIDE, OUTSIDE
from megamed import Collection, DatasetCard, Task

NewBench = Callable[..., Bench]


class Hearts(Collection):
    """A collection of squares of some size, which knows no more than what its labels are."""

    size_px = 0

    def __init__(self, size_px: int) -> None:
        self.size_px = size_px

    def card(self, dataset: str) -> DatasetCard:
        told = {"1": "cavity", "2": "wall"}, {"heart": [1, 2]}
        return DatasetCard(
            id=dataset, role="heldout", modality="MRI", labels=told[0], derived_labels=told[1], license="CC0"
        )


TASK = Task(dataset="hearts", modality="mri", axis="axial", label="cavity")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Scribbles on one volume of 8×16×3 voxels: the cavity is 1, the wall 2, and the rest 4."""
    (tmp_path / "people" / "scribbles").mkdir(parents=True)
    (tmp_path / "people" / "meta.json").write_text(json.dumps({"of_dataset": "hearts"}))
    values = np.zeros((8, 16, 3), np.uint8)
    values[2, 4, 1], values[5, 12, 1], values[7, 15, 1], values[1, 1, 2] = 1, 2, 4, 4
    nibabel.save(
        nibabel.Nifti1Image(values, np.diag([-1.0, -1, 5, 1])), tmp_path / "people/scribbles/p1_ed_scribble.nii.gz"
    )
    return tmp_path / "people"


def test_scribbles_lie_where_the_square_shows_what_was_drawn_on(folder: Path) -> None:
    """Slices are cut and padded as images are: 16 rows of 8 columns become a square of 16."""
    someone = People(folder, Hearts(16))
    assert someone.dataset == "hearts"
    volume = np.asarray(nibabel.load(folder / "scribbles" / "p1_ed_scribble.nii.gz").dataobj)[..., 1]
    upright = np.pad(volume.T, ((0, 0), (4, 4)))  # in the file right and front come first, as they are shown
    found = someone.prompts(TASK, "p1_ed:1")
    assert found is not None
    assert torch.equal(found[0, INSIDE], torch.from_numpy(upright == 1).float())
    assert torch.equal(found[0, OUTSIDE], torch.from_numpy(upright > 1).float())
    assert not found[0, BOX].any()
    heart = someone.prompts(TASK.model_copy(update={"label": "heart"}), "p1_ed:1")
    assert (heart[0, INSIDE].sum(), heart[0, OUTSIDE].sum()) == (2, 1)
    assert someone.prompts(TASK, "p1_ed:2") is None
    assert someone.prompts(TASK, "p2_ed:1") is None


def test_a_coarser_square_keeps_every_scribble_that_is_not_in_doubt(folder: Path) -> None:
    found = People(folder, Hearts(4)).prompts(TASK, "p1_ed:1")
    assert (found[0, INSIDE].sum(), found[0, OUTSIDE].sum()) == (1, 1)
    assert People(folder, Hearts(1)).prompts(TASK, "p1_ed:1") is None


class Obedient:
    """Finds half of the label by itself, and all of it when it is told of three pixels outside."""

    def begin(self, query_images: Tensor, support_images: Tensor, support_labels: Tensor):
        def answer(maps: Tensor, previous: Tensor | None) -> Tensor:
            logits = query_images - 0.5
            logits[..., ::2] -= 0 if maps[:, OUTSIDE].sum() >= 3 else 1
            return logits

        return answer


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pixel inside and three outside of each drawing, of which everybody but the robots knows the disc."""

    def prompts(self: People, task: Task, case: str) -> Tensor | None:
        maps = torch.zeros(1, 3, 16, 16)
        maps[0, INSIDE, 8, 8] = 1
        maps[0, OUTSIDE, 0, :3] = 1
        return None if case == "s1-0" else maps

    monkeypatch.setattr(People, "prompts", prompts)
    monkeypatch.setattr(People, "dataset", "cells")
    monkeypatch.setattr(prompted_tasks, "load_prompted", lambda name, device: NamedPrompted(name, Obedient(), "v1", {}))


def test_people_are_compared_with_robots(new_bench: NewBench, drawn: None) -> None:
    findings = people(new_bench("people", predictors=("obedient",), scribbles="somewhere"))
    points = {(point.place.x, point.place.series): point for point in findings.points}
    assert points.keys() == {(size, who) for size in (0, 4) for who in (BEFORE, PERSON, LIKEWISE, CORRECTING)}
    assert points[0, BEFORE].value.mean == 0
    assert 0.5 < points[4, BEFORE].value.mean < 0.8
    assert points[0, PERSON].value.mean == points[4, PERSON].value.mean == 1
    assert points[4, PERSON].reference == Coordinates(4, BEFORE)
    assert points[4, PERSON].about == ""
    assert points[4, LIKEWISE].about.startswith("people's gain ")
    assert (
        points[4, LIKEWISE].about
        == f"people's gain {points[4, PERSON].difference.mean / points[4, LIKEWISE].difference.mean:.0%} of that"
    )


def test_only_what_was_scribbled_on_is_asked(new_bench: NewBench, drawn: None) -> None:
    bench = new_bench("people", predictors=("obedient",), scribbles="somewhere")
    (plan,) = experiment.scribbled_plans(experiment.pools(bench), People(Path(), bench.collection))
    assert "s1-0" not in {episode.query.case for episode in plan.episodes}


def test_without_scribbles_there_is_no_experiment(
    new_bench: NewBench, drawn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="People's scribbles are missing: expected a folder of them"):
        people(new_bench("people"))
    monkeypatch.setattr(People, "dataset", "hearts")
    with pytest.raises(ValueError, match="Nobody scribbled on what is asked: expected slices of hearts in the suite"):
        people(new_bench("people", scribbles="somewhere"))
