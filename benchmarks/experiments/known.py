"""Lists of all that can be run: suites with their tasks, predictors and experiments, a line for each."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.experiments.catalogue import EXPERIMENTS
from benchmarks.plans.suites import SUITES
from benchmarks.predictors import PATTERNS, known_predictors
from megamed import Collection


def lines_of(what: str, collection: Path | None = None) -> Iterator[str]:
    """Describe every suite, predictor or experiment in a line.

    Args:
        what: Kind of things to list: `suites`, `predictors` or `experiments`.
        collection: A collection whose tasks are listed below each suite.
    """
    if what == "experiments":
        yield from (f"{name}: {each.question}" for name, each in EXPERIMENTS.items())
    elif what == "predictors":
        yield from (f"{name}: {known.about}" for name, known in known_predictors().items())
        yield from (f"{pattern}: {about}" for pattern, about in PATTERNS.items())
    else:
        source = None if collection is None else Collection(collection)
        for name, suite in SUITES.items():
            yield f"{name}: {suite}"
            yield from (f"  {task.id}" for task in suite.tasks(source)) if source else ()
