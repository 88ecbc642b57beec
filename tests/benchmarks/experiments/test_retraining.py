"""Experiments that train: what each level changes, what is asked of it, and that no training is done twice."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.experiments import retraining
from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.retraining import (
    RECIPES,
    augmentation,
    leave_one_out,
    synthetic_share,
    trained,
    training_size,
    without_copies,
)  # fmt: skip
from benchmarks.experiments.study import overridden
from megamed import DatasetCard, Task

MODALITIES = {"brain": "mri", "heart": "mri", "lung": "ct", "cells": "drawing", "street": "photo"}


def card(dataset: str) -> DatasetCard:
    role = {"cells": "heldout", "street": "auxiliary"}.get(dataset, "train")
    return DatasetCard(id=dataset, modality=MODALITIES[dataset], anatomy=dataset, role=role)


def tasks(datasets: object = None, roles: tuple[str, ...] = ()) -> list[Task]:
    return [
        Task(dataset=name, modality=modality, axis="2d", label="disc")
        for name, modality in MODALITIES.items()
        if card(name).role in roles
    ]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What would have been trained, by name, and how."""
    found: dict[str, object] = {}

    def note(bench: Bench, executor: object, name: str, override: dict[str, object], seed: int) -> Path:
        overridden(override, seed, 1)  # a configuration
        found[f"{name} {seed}"] = override
        return Path(f"{name}-{seed}")

    monkeypatch.setattr(retraining, "trained", note)
    monkeypatch.setattr(retraining, "training_contents", lambda collection: {"a": {"brain", "street"}, "b": {"lung"}})
    return found


@pytest.fixture
def bench(new_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Three datasets to train on, an auxiliary and a held-out one, all of the same drawings."""
    plain = new_bench("leave-one-out")
    samples = plain.collection._samples["cells"]
    for name, value in {"_samples": dict.fromkeys(MODALITIES, samples), "card": card, "tasks": tasks}.items():
        monkeypatch.setattr(plain.collection, name, value)
    return plain


def test_recipes_leave_out_whole_levels(bench: Bench, asked: dict[str, object]) -> None:
    conditions = list(augmentation(bench))
    assert [each.place.x for each in conditions] == list(RECIPES)
    chances = {name: override["augmentation"] for name, override in asked.items()}
    assert overridden({}, 0, 1) == overridden(asked["both levels 0"], 0, 1)
    assert (
        sum(chances["task level alone 0"]["image"].values()) == 0 < sum(chances["task level alone 0"]["task"].values())
    )
    assert (
        sum(chances["image level alone 0"]["task"].values())
        == 0
        < sum(chances["image level alone 0"]["image"].values())
    )
    assert sum(chances["none 0"]["task"].values()) + sum(chances["none 0"]["image"].values()) == 0
    assert {each.reference for each in conditions} == {Coordinates("both levels")}
    assert {each.plans[0].task.dataset for each in conditions} == {"cells"}


def test_every_share_is_trained_with_every_seed(bench: Bench, asked: dict[str, object]) -> None:
    conditions = list(synthetic_share(replace(bench, options=replace(bench.options, seeds=2))))
    assert [(each.place.x, each.seed) for each in conditions] == [
        (share, seed) for share in retraining.SYNTHETIC_SHARES for seed in (0, 1)
    ]
    assert len({each.name for each in conditions}) == len(asked) == 8
    assert asked["0.3 1"]["episodes"]["synthetic_share"] == 0.3


def test_training_sets_grow_by_adding(bench: Bench, asked: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retraining, "TRAINING_SIZES", (1, 2, 9))
    conditions = list(training_size(bench))
    assert [(each.place.x, each.about) for each in conditions] == [(1, "1 tasks"), (2, "2 tasks"), (3, "3 tasks")]
    one, two, three = (override["episodes"]["datasets"] for override in asked.values())
    assert set(one) < set(two) < set(three) == {"brain", "heart", "lung"}


def test_a_dataset_is_left_out_with_its_copies_and_asked_about(bench: Bench, asked: dict[str, object]) -> None:
    conditions = list(leave_one_out(replace(bench, options=replace(bench.options, leave_out=("brain", "lung")))))
    assert asked == {
        "everything 0": {},
        "without brain 0": {"episodes": {"leave_out": ["brain", "street"]}},
        "without lung 0": {"episodes": {"leave_out": ["lung"]}},
    }
    assert [(each.place.x, each.place.series, each.seen, each.predictor) for each in conditions] == [
        ("brain", "trained with it", True, "everything-0"),
        ("brain", "trained without it", False, "without brain-0"),
        ("lung", "trained with it", True, "everything-0"),
        ("lung", "trained without it", False, "without lung-0"),
    ]
    assert [each.plans[0].task.dataset for each in conditions] == ["brain", "brain", "lung", "lung"]
    assert conditions[1].reference == conditions[0].place
    assert (conditions[1].about, conditions[3].about) == ("2 datasets left out", "")


def test_a_modality_is_left_out_as_a_whole(bench: Bench, asked: dict[str, object]) -> None:
    conditions = list(leave_one_out(replace(bench, options=replace(bench.options, by="modality"))))
    assert list(dict.fromkeys(each.place.x for each in conditions)) == ["mr", "ct"]
    assert asked["without mr 0"] == {"episodes": {"leave_out": ["brain", "heart", "street"]}}
    assert {plan.task.dataset for plan in conditions[0].plans} == {"brain", "heart"}


def test_what_is_unknown_cannot_be_left_out(bench: Bench, asked: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="Unknown dataset: expected some of brain, heart, lung, got cells, liver"):
        list(leave_one_out(replace(bench, options=replace(bench.options, leave_out=("liver", "cells")))))
    assert not asked


def test_copies_go_with_their_originals() -> None:
    contents = {"a": {"one", "two"}, "b": {"two"}, "c": {"three", "four"}}
    assert without_copies({"one"}, contents) == {"one", "two"}
    assert without_copies({"five"}, contents) == {"five"}


def test_a_training_is_done_once(bench: Bench, tmp_path: Path) -> None:
    class Here(Executor):
        """Stands in for a pool of processes."""

        def submit(self, work: object, config: object, collection: Path, out: Path, device: str) -> "Here":
            calls.append((config.steps, config.seed, config.episodes.synthetic_share, out.name))
            return self

        def result(self) -> Path:
            path = tmp_path / "weights.safetensors"
            path.write_bytes(b"learnt")
            return path

    calls: list[tuple[object, ...]] = []
    for _ in range(2):
        kept = trained(bench, Here(), "share 0.5", {"episodes": {"synthetic_share": 0.5}}, seed=3)
    assert kept == bench.out / "weights" / "share-0-5-seed3.safetensors"
    assert kept.read_bytes() == b"learnt"
    assert calls == [(400, 3, 0.5, "share-0-5-seed3")]
