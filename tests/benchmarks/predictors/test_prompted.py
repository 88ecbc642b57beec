"""Predictors that take prompts: a user's own is found, and what is none is refused."""

from pathlib import Path

import pytest
import torch

from benchmarks.predictors.prompted import load_prompted

SOURCE = """
class Copier:
    def begin(self, query_images, support_images, support_labels):
        return lambda maps, previous: query_images - 0.5
copier = Copier()
def plain(query_images, support_images, support_labels):
    return query_images
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a module of a user in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/nowhere"])
    monkeypatch.setattr("sys.path_importer_cache", {})
    (tmp_path / "copying.py").write_text(SOURCE)
    return "copying"


def test_a_predictor_of_ones_own_is_found(module: str) -> None:
    loaded = load_prompted(f"{module}:copier")
    images, none = torch.rand(1, 1, 8, 8), torch.zeros(1, 0, 1, 8, 8)
    answer = loaded.predictor.begin(images, none, none)
    assert torch.equal(answer(torch.zeros(1, 3, 8, 8), None), images - 0.5)
    assert loaded.name == "copying:copier"
    assert len(loaded.fingerprint) == 64


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("absent:copier", "Module 'absent' is missing"),
        ("copying:plain", "copying:plain takes no prompts: expected an object with `begin`, .* got function"),
        ("copying:Copier", "got the class Copier"),
        ("copying:other", "expected an object 'other'"),
    ],
)
def test_what_takes_no_prompts_is_refused(module: str, name: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        load_prompted(name)
