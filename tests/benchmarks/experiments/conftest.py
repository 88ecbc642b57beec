"""Benches on the collection of drawings, whose predictors and scores are known."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.experiments import bench as benches
from benchmarks.experiments import drawn_tasks
from benchmarks.experiments.bench import Bench, ExperimentOptions
from benchmarks.plans.task_plans import Settings
from benchmarks.predictors import NamedPredictor, mean_mask
from benchmarks.scoring.evaluator import Execution
from incontext.inference.backends import WholeSets
from megamed import Collection, Task
from tests.benchmarks.conftest import AnnotatedCollection

SETTINGS = Settings("heldout", support_size=4, draws=2, queries=4)


@pytest.fixture
def new_bench(drawings: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    """Makes a bench; options may be given by name."""
    drawings.path = tmp_path
    monkeypatch.setattr(benches, "sha256_of", lambda path: "of drawings")

    def new(name: str, settings: Settings = SETTINGS, **options: object) -> Bench:
        chosen = replace(ExperimentOptions(settings, ("mean-mask",)), **options)
        return Bench(name, drawings, chosen, tmp_path / "out", Execution(batch_size=8))

    return new


class Follower:
    """Finds the disc of a query, and of its even and odd columns as much as the examples' labels hold of theirs."""

    def encode_images(self, images: Tensor, labels: Tensor) -> WholeSets:
        return WholeSets(images[None], labels[None], lambda images, labels: shares_of_columns(images > 0.5, labels))

    def segment(self, queries: Tensor, code: Tensor) -> Tensor:
        return torch.logit((queries > 0.5) * code.repeat(8)).clamp(-200, 200)


def shares_of_columns(discs: Tensor, labels: Tensor) -> Tensor:
    """Share of the discs that is labelled, in the even and in the odd columns."""
    return torch.stack([labels[..., side::2].sum() / discs[..., side::2].sum() for side in (0, 1)])


class Sparing(AnnotatedCollection):
    """Discs of which bob draws every second column, and says so."""

    def areas(self, task: Task) -> np.ndarray:
        areas = super().areas(task)
        return np.where(areas > 0, areas // 2, areas) if task.label.endswith("bob") else areas


@pytest.fixture
def drawn_bench(
    new_bench: Callable[..., Bench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Bench]:
    """Makes a bench on what ann and bob drew, whose network labels as it is shown."""
    follower = NamedPredictor("follower", mean_mask, "v1", {})
    monkeypatch.setattr(drawn_tasks, "opened", lambda bench: (follower, Follower(), 1.0))
    collection = Sparing()
    collection.path = tmp_path

    def new(name: str, **options: object) -> Bench:
        return replace(new_bench(name, **options), collection=collection)

    return new
