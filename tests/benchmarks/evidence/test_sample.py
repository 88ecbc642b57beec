"""A small part of a collection: a few datasets of each role, which are a collection of their own."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.evidence import sample
from benchmarks.evidence.sample import DATASETS, sampled
from megamed import Collection
from megamed.collection import verify
from megamed.files import replace_file
from megamed.manifest import NAME, read_manifest
from tests.benchmarks.squares import build_squares


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """Eight training datasets of growing size, one of few subjects, and one of the role dev, all of the same images."""
    path = build_squares(tmp_path / "made", "dev")
    manifest = read_manifest(path)
    (entry,) = manifest.datasets.values()
    entries = {"dev_one": entry}
    for number in range(8):
        view = entry.views[0].model_copy(update={"samples": {"square": 10 + number}})
        card = entry.card.model_copy(update={"role": "train"})
        subjects = {"train": 2 if number == 0 else 9}
        entries[f"train_{number}"] = entry.model_copy(update={"card": card, "views": (view,), "subjects": subjects})
    replace_file(path / NAME, manifest.model_copy(update={"datasets": entries}).model_dump_json())
    return path


def named(path: Path) -> Sequence[str]:
    return sorted(read_manifest(path).datasets)


def test_the_smallest_datasets_of_each_role_are_taken(collection: Path, tmp_path: Path) -> None:
    found = named(sampled(collection, tmp_path / "few"))
    assert found == ["dev_one", *(f"train_{number}" for number in range(1, 1 + DATASETS["train"]))]


def test_datasets_that_are_named_are_taken_besides(collection: Path, tmp_path: Path) -> None:
    assert "train_7" in named(sampled(collection, tmp_path / "few", ("train_7", "elsewhere")))


def test_one_that_shows_the_same_as_a_held_out_one_is_taken_besides(collection: Path, tmp_path: Path) -> None:
    manifest = read_manifest(collection)
    entry = manifest.datasets["train_6"]
    card = entry.card.model_copy(update={"role": "heldout"})
    more = manifest.datasets | {"seen_by_none": entry.model_copy(update={"card": card})}
    replace_file(collection / NAME, manifest.model_copy(update={"datasets": more}).model_dump_json())
    found = named(sampled(collection, tmp_path / "few"))
    assert {"seen_by_none", "train_7"} <= {*found}, "the next beside the six smallest"
    assert len(found) == 2 + DATASETS["train"] + 1


def test_what_is_made_is_a_collection_also_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*paths: Path) -> None:
        raise OSError

    monkeypatch.setattr(sample.os, "link", refuse)
    whole = build_squares(tmp_path / "made", "dev")
    for _ in range(2):
        assert verify(sampled(whole, tmp_path / "few")) == []
    assert Collection(tmp_path / "few").datasets == Collection(whole).datasets
