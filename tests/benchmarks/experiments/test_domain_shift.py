"""A shift of domain: which tasks are of another scanner, what is shown of them, and what it is compared with."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.domain_shift import ALL, ALONE, BESIDE, ShownExamples, domain_shift, foreign, twins
from benchmarks.experiments.shared_supports import SharedSupport
from benchmarks.plans.task_plans import Settings
from megamed import DatasetCard, Task
from tests.benchmarks.conftest import DrawnCollection

NewBench = Callable[..., Bench]


class Related(DrawnCollection):
    """The same, of which one dataset says that it shares patients with the other."""

    def card(self, dataset: str) -> DatasetCard:
        return super().card(dataset).model_copy(update={"shares_patients_with": ("cells",)})


class Different(DrawnCollection):
    """The same, with a label of its own in each dataset."""

    def tasks(self, datasets: object = None, roles: object = None) -> list[Task]:
        return [task.model_copy(update={"label": task.dataset}) for task in super().tasks(datasets, roles)]


@pytest.fixture
def bench(new_bench: NewBench) -> Bench:
    return new_bench("domain-shift", Settings("heldout", support_size=4, draws=1, queries=2), predictors=("packaged",))


def test_the_same_structure_of_other_patients_is_looked_for(drawings: DrawnCollection) -> None:
    cells, lonely = drawings.tasks()
    assert twins(drawings, cells) == [lonely]
    assert twins(drawings, lonely) == [cells]
    assert twins(Related(), cells) == twins(Related(), lonely) == []
    assert twins(Different(), Different().tasks()[0]) == []


def test_examples_of_another_scanner_are_as_many_and_of_distinct_subjects(bench: Bench) -> None:
    cells, lonely = bench.collection.tasks()
    samples = bench.collection.samples(cells)
    support = SharedSupport(lonely, 0, tuple(bench.collection.samples(lonely)), ())
    shown = foreign(bench, support, cells)
    assert len(shown.images) == len(shown.labels) == len(set(shown.subjects)) == 4
    assert set(shown.subjects) <= {f"cells {each.subject}" for each in samples}
    own = ShownExamples.of(bench, support, support.examples)
    assert own.beside(shown, 2).subjects == ["lonely s0", "lonely s0", *shown.subjects]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_own_examples_are_measured_alone_and_beside_others(bench: Bench) -> None:
    found = {point.place: point for point in domain_shift(bench).points}
    assert {(place.x, place.series) for place in found} == {
        (0, BESIDE),
        (1, BESIDE),
        (4, BESIDE),
        (1, ALONE),
        (4, ALONE),
    }
    assert {place.panel for place in found} == {ALL, "cells"}
    all_own = Coordinates(4, ALONE, "cells")
    assert found[all_own].value.mean > 0.9
    assert found[all_own].reference is None
    assert found[Coordinates(1, ALONE, "cells")].reference == all_own
    assert found[Coordinates(0, BESIDE, "cells")].reference == all_own
    assert found[Coordinates(1, BESIDE, "cells")].reference == Coordinates(1, ALONE, "cells")


def test_a_suite_of_single_datasets_is_refused(bench: Bench) -> None:
    other = Different()
    other.path = bench.collection.path
    with pytest.raises(ValueError, match="No other dataset shows what the suite asks"):
        domain_shift(replace(bench, collection=other))
