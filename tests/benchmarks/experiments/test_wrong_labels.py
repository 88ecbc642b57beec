"""The experiment on wrong labels: how they are made, and which rule finds them."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.experiments import wrong_labels
from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.shared_supports import SharedSupport, pairs
from benchmarks.experiments.wrong_labels import CALLED, FOUND, SHIFT, SOUND, another, detected, errors_of, told
from incontext import Segmenter
from incontext.inference.expected import Expected
from megamed import Task
from tests.benchmarks.conftest import SIZE_PX, DrawnCollection

NewBench = Callable[..., Bench]


class Cornered(DrawnCollection):
    """Discs, the upper half of the same discs, and the outermost pixel of the image, which lies beside them."""

    def tasks(self, datasets: object = None, roles: object = None) -> list[Task]:
        discs = super().tasks(datasets, roles)[:1]
        return [task.model_copy(update={"label": label}) for task in discs for label in ("disc", "upper", "corner")]

    def labels(self, task: Task, rows: Sequence[int]) -> np.ndarray:
        labels = super().labels(task, rows)
        if task.label == "corner":
            labels[:] = 0
            labels[:, -1, -1] = 1
        if task.label == "upper":
            labels[:, 6:] = 0
        return labels

    def label(self, task: Task, row: int) -> np.ndarray:
        return self.labels(task, [row])[0]


@pytest.fixture
def bench(new_bench: NewBench) -> Bench:
    made = new_bench("wrong-labels", predictors=("packaged",))
    collection = Cornered()
    collection.path = made.collection.path
    return replace(made, collection=collection)


@pytest.fixture
def support(bench: Bench) -> SharedSupport:
    task = bench.collection.tasks()[0]
    samples = bench.collection.samples(task)
    return SharedSupport(task, 0, tuple(samples[:8]), tuple(samples[8:]))


def test_a_structure_is_taken_for_another_that_is_no_part_of_it(bench: Bench, support: SharedSupport) -> None:
    found = another(bench, support, 0)
    assert found is not None
    assert np.argwhere(found).tolist() == [[SIZE_PX - 1, SIZE_PX - 1]]


def test_two_labels_are_made_wrong_in_each_way(bench: Bench, support: SharedSupport) -> None:
    _, labels = pairs(bench, support, support.examples)
    kinds = errors_of(bench, support, labels)
    assert {kind: len(errors) for kind, errors in kinds.items()} == dict.fromkeys(
        ("exchanged with each other", "shifted by a tenth of the side", "of another structure", "forgotten altogether"),
        2,
    )
    assert not any(label.any() for label in kinds["forgotten altogether"].values())
    first, second = kinds["exchanged with each other"]
    assert np.array_equal(kinds["exchanged with each other"][first], labels[second])
    for index, label in kinds["shifted by a tenth of the side"].items():
        before, after = (np.argwhere(each).mean(0) for each in (labels[index], label))
        assert np.linalg.norm(after - before) == pytest.approx(SHIFT * SIZE_PX, abs=0.75)


def test_without_another_structure_none_is_taken_for_it(bench: Bench, support: SharedSupport) -> None:
    upper = support._replace(task=bench.collection.tasks()[1])
    alone = replace(bench, collection=type("Upper", (Cornered,), {"tasks": lambda self, *_: [upper.task]})())
    _, labels = pairs(alone, upper, upper.examples)
    assert "of another structure" not in errors_of(alone, upper, labels)


def test_shares_are_of_the_wrong_examples() -> None:
    contradiction = np.array([0.0, 5.0, np.nan, 1.0, 2.0, -1.0])
    found = Expected({}, {}, range(6), np.zeros((6, 1)), contradiction, suspects=[1])
    assert told(found, [1, 5]) == {FOUND: 0.5, CALLED: 0.5}
    assert told(found, [1, 3]) == {FOUND: 1.0, CALLED: 0.5}
    assert told(replace(found, forgotten={5: 1}), [1, 5]) == {FOUND: 1.0, CALLED: 0.5}
    assert told(found, []) == {CALLED: pytest.approx(1 / 6)}


def test_labels_of_another_structure_are_found_by_the_packaged_weights(bench: Bench, support: SharedSupport) -> None:
    found = detected(bench, Segmenter(), support)
    assert found[SOUND] == {CALLED: 0.0}
    assert found["of another structure"] == {FOUND: 1.0, CALLED: 1.0}


def test_points_are_means_over_supports(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(bench: Bench, segmenter: Segmenter, support: SharedSupport) -> dict[str, dict[str, float]]:
        return {SOUND: {CALLED: 0.25 * support.draw}}

    monkeypatch.setattr(wrong_labels, "detected", answer)
    (point,) = wrong_labels.wrong_labels(bench).points
    assert point.place == Coordinates(SOUND, CALLED)
    assert point.value.mean == pytest.approx(0.125)
    assert point.tasks == 3
