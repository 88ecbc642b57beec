"""The experiment on names: what another dataset of the same name is worth, and names that no other dataset has."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.by_name import FOUND, OWN, RANDOM, answering, by_name
from benchmarks.plans.task_plans import Settings
from megamed import Task
from megamed.names import Named
from tests.benchmarks.conftest import DrawnCollection

NewBench = Callable[..., Bench]
SETTINGS = Settings("heldout", support_size=4, draws=1, queries=2)


class NamedApart(DrawnCollection):
    """The drawings, whose datasets call their discs by names of their own."""

    def tasks(self, datasets: object = None, roles: object = None) -> list[Task]:
        return [task.model_copy(update={"label": f"{task.dataset}-disc"}) for task in super().tasks(datasets, roles)]


def test_examples_of_another_dataset_are_compared_with_own_ones(new_bench: NewBench) -> None:
    findings = by_name(new_bench("by-name", SETTINGS, predictors=("packaged",)))
    points = {point.place: point for point in findings.points}
    assert list(points) == [Coordinates(OWN), Coordinates(FOUND), Coordinates(RANDOM)]
    assert points[Coordinates(FOUND)].value == points[Coordinates(RANDOM)].value  # there is but one other task
    assert points[Coordinates(FOUND)].reference == Coordinates(OWN)
    assert points[Coordinates(FOUND)].value.mean > 0.5
    assert findings.details["learned from"] == {"cells--drawing--2d--disc--0": "lonely/drawing/2d/disc"}
    assert list(findings.details["fingerprints"]) == ["weights"]


def test_a_name_that_no_other_dataset_has_finds_nothing(new_bench: NewBench) -> None:
    bench = new_bench("by-name", SETTINGS, predictors=("packaged",))
    apart = NamedApart()
    apart.path = bench.collection.path
    with pytest.raises(ValueError, match="No structure is in two datasets"):
        by_name(replace(bench, collection=apart))


def test_images_of_the_same_kind_are_asked_for_and_others_if_there_are_none() -> None:
    task, mr, ct = (Task.from_id(f"{each}/2d/liver") for each in ("own/mr-t2w", "other/mri-t1", "third/ct"))
    assert answering(task, [Named(task), Named(ct), Named(mr)]) == [mr]
    assert answering(task, [Named(task), Named(ct)]) == [ct]
    assert answering(task, [Named(task)]) == []
