"""The experiment on few examples: what changed copies of them, as shown by default, gain over the examples alone."""

from dataclasses import replace

from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.scoring import Condition
from benchmarks.plans.task_plans import plan_suite
from benchmarks.predictors import AS_SHOWN

SIZES = (1, 2, 3, 4)
ALONE, COPIED = "the examples alone", "with changed copies"


def few_examples(bench: Bench) -> list[Condition]:
    """Conditions in which the packaged network is shown a few examples, alone and with changed copies of them."""
    conditions = []
    for size in SIZES:
        plans = plan_suite(bench.collection, replace(bench.settings, support_size=size))[0]
        alone = Coordinates(size, ALONE)
        conditions += [
            Condition(alone, f"{AS_SHOWN}0", plans),
            Condition(Coordinates(size, COPIED), f"{AS_SHOWN}{size}", plans, alone),
        ]
    return conditions
