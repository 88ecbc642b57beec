"""Benches on the collection of drawings, whose predictors and scores are known."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.experiments import bench as benches
from benchmarks.experiments.bench import Bench, ExperimentOptions
from benchmarks.plans.task_plans import Settings
from benchmarks.scoring.evaluator import Execution
from megamed import Collection

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
