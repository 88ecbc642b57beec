"""A user's module is found, and what is wrong with it is told."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.predictors import load_predictor

SOURCE = """
import torch
LIMIT = 0.5
def bright(query_images, support_images, support_labels):
    return query_images - LIMIT
class Network(torch.nn.Module):
    def forward(self, query_images, support_images, support_labels):
        return query_images
network = Network()
class Learner:
    def for_task(self, task_id, examples):
        return bright
learner = Learner()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with modules of a user."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/nowhere"])
    monkeypatch.setattr("sys.path_importer_cache", {})
    return tmp_path


@pytest.mark.parametrize("name", ["bright", "network", "learner"])
def test_functions_networks_and_learners_are_taken(folder: Path, name: str, episodes: Any) -> None:
    module = folder / f"mine_{name}.py"
    module.write_text(SOURCE)
    loaded = load_predictor(f"mine_{name}:{name}")
    assert loaded.name == f"mine_{name}:{name}"
    assert len(loaded.fingerprint) == 64
    if name == "network":
        assert not loaded.predict.training
    if name == "bright":
        assert torch.equal(loaded.predict(*episodes), episodes[0] - 0.5)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("absent:predict", "Module 'absent' is missing"),
        ("faulty:predict", "expected an object 'predict', got .*LIMIT, Learner, Network, bright"),
        ("faulty:LIMIT", "expected a function of .* got float"),
        ("faulty:Network", "got the class Network. Name an instance of it"),
        ("faulty:", "expected an object ''"),
    ],
)
def test_what_is_wrong_is_told(folder: Path, name: str, problem: str) -> None:
    (folder / "faulty.py").write_text(SOURCE)
    with pytest.raises(ValueError, match=problem):
        load_predictor(name)


def test_errors_inside_a_module_are_its_own(folder: Path) -> None:
    (folder / "needy.py").write_text("import absent_library\n")
    with pytest.raises(ModuleNotFoundError, match="absent_library"):
        load_predictor("needy:predict")


@pytest.mark.parametrize(
    "source",
    ["def (:", "{}['gone']", "raise RecursionError", "raise SystemExit(0)", "class Odd(Exception): pass\nraise Odd"],
)
def test_a_module_that_cannot_be_imported_is_named(folder: Path, source: str) -> None:
    name = f"odd_{len(source)}"
    (folder / f"{name}.py").write_text(source)
    with pytest.raises(ValueError, match=f"Module '{name}' cannot be imported: .*Mend it"):
        load_predictor(f"{name}:predict")
