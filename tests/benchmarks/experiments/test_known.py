"""All that there is to run is listed, a line for each."""

from benchmarks.experiments.catalogue import EXPERIMENTS
from benchmarks.experiments.known import lines_of
from benchmarks.plans.suites import SUITES
from benchmarks.predictors import PATTERNS, known_predictors


def test_everything_is_listed_by_its_name() -> None:
    expected = {
        "suites": list(SUITES),
        "experiments": list(EXPERIMENTS),
        "predictors": [*known_predictors(), *PATTERNS],
    }
    for what, names in expected.items():
        lines = list(lines_of(what))
        assert len(lines) == len(names)
        assert all(line.startswith(f"{name}: ") for line, name in zip(lines, names, strict=True))
