"""The experiment on tuning: what a minute of tuning on the support gains, and what had better be tuned, and how."""

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.scoring import Condition
from benchmarks.plans.task_plans import TaskPlan, plan_suite
from benchmarks.predictors.tuned import NAME, SETTING
from incontext.training.tuning import STEPS

SIZES = (4, 16)
UNTUNED = "not tuned"
VARIANTS = {
    "as by default": "",
    "at a third of the rate": "learning_rate=3e-4",
    "decoder alone": "learned=decoder/rising/head/guess",
    "two copies, of a half each": "folds=2",
}
"""Settings of tuning by their names in the figure."""


def tuning(bench: Bench) -> list[Condition]:
    """Conditions in which the packaged network is tuned on supports that all queries of a task share, or is not.

    One task of each dataset is asked, since each support takes up to a minute for each variant. In a short run all
    variants take as few steps, and are asked with the smaller supports alone.
    """
    conditions, steps = [], steps_of_short_run(bench)
    fewer = f"steps={steps}" if steps else ""
    variants = {name: ",".join(filter(None, (text, fewer))) for name, text in VARIANTS.items()}
    for size in SIZES[:1] if steps else SIZES:
        settings = replace(bench.settings, support_size=size, supports="shared", query_subjects="test")
        plans = first_of_each(plan_suite(bench.collection, settings)[0])
        series = f"{size} images"
        reference = Coordinates(UNTUNED, series)
        conditions.append(Condition(reference, "packaged", plans))
        conditions += [
            Condition(Coordinates(name, series), f"{NAME}{SETTING}{text}" if text else NAME, plans, reference)
            for name, text in variants.items()
        ]
    return conditions


def steps_of_short_run(bench: Bench) -> int | None:
    """Steps of tuning, where fewer training steps are asked for than it takes by default, which tells little."""
    return bench.options.steps if bench.options.steps < STEPS else None


def first_of_each(plans: Sequence[TaskPlan]) -> list[TaskPlan]:
    """Keep the first task of each dataset."""
    firsts: dict[str, TaskPlan] = {}
    for plan in plans:
        firsts.setdefault(plan.task.dataset, plan)
    return list(firsts.values())
