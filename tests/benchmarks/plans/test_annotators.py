"""What several people drew: who drew what, whoever used two tools, and supports that all of them drew."""

import numpy as np
import pytest

from benchmarks.plans.annotators import Annotators, drawn_by_several
from benchmarks.plans.suites import count_annotators
from benchmarks.plans.task_plans import Settings, plan_suite, with_annotators
from megamed import Collection, Task
from tests.benchmarks.conftest import AnnotatedCollection

DISC = Task(dataset="cells", modality="drawing", axis="2d", label="disc")
SETTINGS = Settings(support_size=30, draws=2, queries=20)


class TwoTools(AnnotatedCollection):
    """Bob drew the first subjects, which he had left out, with another tool, and some of the others, too."""

    def tasks(self, datasets: object = None, roles: object = None) -> list[Task]:
        tasks = [*super().tasks(datasets, roles), *super().tasks(datasets, roles)[2::3]]
        names = {"disc-by-bob": iter(["disc-by-bob_amira", "disc-by-bob_amira", "disc-by-bob_via", "disc-by-bob_via"])}
        return [
            task.model_copy(update={"label": next(names[task.label])}) if task.label in names else task
            for task in tasks
        ]

    def areas(self, task: Task) -> np.ndarray:
        areas = super().areas(task.model_copy(update={"label": task.label.removesuffix("_amira")}))
        if task.label.endswith("via"):
            areas[30:] = -1
        return areas


def test_people_are_known_by_what_they_drew(annotated: Collection) -> None:
    people = Annotators.of(annotated, DISC)
    assert people.drawn.keys() == {"ann", "bob"}
    assert people.on(10) == ("ann",)
    assert people.on(20) == ("ann", "bob")
    assert people.drawn["bob"][20].label == "disc-by-bob"


def test_two_tools_are_of_one_person() -> None:
    people = Annotators.of(TwoTools(), DISC)
    assert people.drawn.keys() == {"ann", "bob"}
    assert [people.drawn["bob"][row].label for row in (10, 20, 30)] == [
        "disc-by-bob_via", "disc-by-bob_amira", "disc-by-bob_amira"
    ]  # fmt: skip
    tasks = TwoTools().tasks(roles=["heldout"])
    assert count_annotators(tasks)[DISC.id] == 2
    (plan, *_) = with_annotators(TwoTools(), plan_suite(TwoTools(), SETTINGS)[0])
    assert {len(each) for each in plan.annotators.values()} == {2}


def test_whoever_drew_a_query_drew_its_support(annotated: Collection) -> None:
    plans = plan_suite(annotated, SETTINGS)[0]
    ((plan, people),) = drawn_by_several(annotated, plans, 3)
    assert plan.task == DISC
    assert {episode.query.row // 10 for episode in plan.episodes} == {2, 3, 4, 5}, "bob left out the others"
    for episode in plan.episodes:
        (whole,) = (each for each in plans[0].episodes if (each.query, each.draw) == (episode.query, episode.draw))
        assert all(people.on(sample.row) == ("ann", "bob") for sample in episode.support)
        assert all(sample.subject != episode.query.subject for sample in episode.support)
        assert list(episode.support) == [each for each in whole.support if each.row >= 20][:3]


def test_what_one_person_drew_is_refused(drawings: Collection) -> None:
    with pytest.raises(ValueError, match="Nobody drew what another drew: expected tasks of several annotators"):
        drawn_by_several(drawings, plan_suite(drawings, SETTINGS)[0], 3)
