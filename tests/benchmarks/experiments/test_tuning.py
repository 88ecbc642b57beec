"""Conditions of the experiment on tuning: one support for all queries of a task, and settings that exist."""

from collections.abc import Callable

from benchmarks.experiments.bench import Bench
from benchmarks.experiments.tuning import SIZES, VARIANTS, first_of_each, tuning
from benchmarks.plans.task_plans import TaskPlan
from benchmarks.predictors.tuned import NAME, config_of
from megamed import Task


def test_each_variant_is_compared_with_the_untuned_network_on_the_same_supports(
    new_bench: Callable[..., Bench],
) -> None:
    conditions = tuning(new_bench("tuning"))
    assert len(conditions) == len(SIZES) * (1 + len(VARIANTS))
    for untuned in (each for each in conditions if each.reference is None):
        against = [each for each in conditions if each.reference == untuned.place]
        assert [each.predictor.partition("@")[0] for each in against] == len(VARIANTS) * [NAME]
        assert all(each.plans == untuned.plans for each in against)
        for plan in untuned.plans:
            assert len({each.support for each in plan.episodes if each.draw == 0}) == 1


def test_no_two_variants_are_alike() -> None:
    assert len({config_of(f"{NAME}@{text}") for text in VARIANTS.values()}) == len(VARIANTS)


def test_fewer_steps_hold_for_every_variant_on_small_supports(new_bench: Callable[..., Bench]) -> None:
    tuned = [each for each in tuning(new_bench("tuning", steps=3)) if each.reference]
    assert {config_of(each.predictor).steps for each in tuned} == {3}
    assert {len(each.plans[0].episodes[0].support) for each in tuned} == {SIZES[0]}
    assert len(tuned) == len(VARIANTS)


def test_one_task_of_each_dataset_is_asked() -> None:
    names = (("cells", "disc"), ("cells", "rim"), ("lonely", "disc"))
    plans = [
        TaskPlan(Task(dataset=dataset, modality="drawing", axis="2d", label=label), ()) for dataset, label in names
    ]
    assert first_of_each(plans) == [plans[0], plans[2]]
