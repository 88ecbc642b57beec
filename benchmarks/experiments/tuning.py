"""The experiment on tuning: what a minute of tuning on the support gains, and what had better be tuned, and how."""

from dataclasses import replace

from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.scoring import Condition
from benchmarks.plans.task_plans import plan_suite
from benchmarks.predictors.tuned import NAME, SETTING
from incontext.training.tuning import STEPS

SIZES = (4, 16)
UNTUNED = "not tuned"
DECODER = "decoder/rising/head/guess"
VARIANTS = {
    "as by default": "",
    "half as many steps": "steps=30",
    "learning rate × 2": "learning_rate=2e-3",
    "learning rate ÷ 2": "learning_rate=5e-4",
    "half the augmentation": "augmentation=0.5",
    "no augmentation": "augmentation=0",
    "decoder alone": f"learned={DECODER},learning_rate=5e-4",
    "all but the encoder": "learned=matches/values/contrasts/fits/decoder/rising/head/guess",
}
"""Settings of tuning by their names in the figure."""


def tuning(bench: Bench) -> list[Condition]:
    """Conditions in which the packaged network is tuned on supports that all queries of a task share, or is not.

    Fewer training steps than tuning takes by default hold for every variant, on the smaller supports alone, which
    shortens a run and tells little.
    """
    conditions = []
    is_short = bench.options.steps < STEPS
    fewer = f"steps={bench.options.steps}" if is_short else ""
    variants = {name: ",".join(filter(None, (text, fewer))) for name, text in VARIANTS.items()}
    for size in SIZES[:1] if is_short else SIZES:
        settings = replace(bench.settings, support_size=size, supports="shared", query_subjects="test")
        plans = plan_suite(bench.collection, settings)[0]
        series = f"{size} images"
        reference = Coordinates(UNTUNED, series)
        conditions.append(Condition(reference, "packaged", plans))
        conditions += [
            Condition(Coordinates(name, series), f"{NAME}{SETTING}{text}" if text else NAME, plans, reference)
            for name, text in variants.items()
        ]
    return conditions
