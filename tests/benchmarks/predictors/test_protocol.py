"""What a predictor may learn from: all subjects that are not asked about, and no other."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.plans.task_plans import Settings, TaskPlan, plan_suite
from benchmarks.predictors import Predictor, TaskExamples, mean_mask, specialise
from megamed import Collection

SETTINGS = Settings(support_size=2, draws=1, queries=3)


@pytest.fixture
def plan(drawings: Collection) -> TaskPlan:
    return plan_suite(drawings, SETTINGS)[0][0]


class Learner:
    """Remembers what it was taught, and predicts its mean label."""

    def __init__(self) -> None:
        self.taught: dict[str, TaskExamples] = {}

    def for_task(self, task_id: str, examples: TaskExamples) -> Predictor:
        self.taught[task_id] = examples
        return lambda query, *_: examples.labels.float().mean(0) - 0.5 + 0 * query


def test_examples_are_of_the_subjects_that_are_not_asked_about(drawings: Any, plan: TaskPlan) -> None:
    learner = Learner()
    specialise(learner, drawings, plan)
    asked = {episode.query.subject for episode in plan.episodes}
    rows = [sample.row for sample in drawings.samples(plan.task) if sample.subject not in asked]
    assert rows
    np.testing.assert_array_equal(learner.taught[plan.task.id].images[:, 0], drawings.images(plan.task, rows))
    np.testing.assert_array_equal(learner.taught[plan.task.id].labels[:, 0], drawings.labels(plan.task, rows))


def test_a_predictor_that_learns_nothing_is_itself(drawings: Any, plan: TaskPlan) -> None:
    assert specialise(mean_mask, drawings, plan) is mean_mask


def test_a_task_with_nothing_to_learn_from_is_refused(drawings: Any) -> None:
    (plan,) = plan_suite(drawings, replace(SETTINGS, queries=40))[0]
    with pytest.raises(ValueError, match="got 6 subjects and a query of each"):
        specialise(Learner(), drawings, plan)
