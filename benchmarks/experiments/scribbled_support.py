"""The experiment on examples that are scribbled on in the place of being drawn: all but the scribbles is unknown."""

from collections.abc import Iterator

from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.scoring import Condition
from benchmarks.experiments.supports import first, pools
from benchmarks.predictors.altered import MARK, Alteration

SIZES = (1, 4, 16)
SCRIBBLES = (1, 3)
"""Numbers of scribbles inside each label, and as many outside."""
DENSE = "drawn"


def scribbled_support(bench: Bench) -> Iterator[Condition]:
    """Conditions with supports of each size that are drawn, or known by their scribbles alone."""
    whole = pools(bench)
    for name in bench.options.predictors:
        panel = bench.panel_of(name)
        for size in SIZES:
            plans, drawn = [first(plan, size) for plan in whole], Coordinates(size, DENSE, panel)
            yield Condition(drawn, name, plans, drawn)
            for count in SCRIBBLES:
                alteration = Alteration("scribbled", float(count), seed=bench.settings.seed)
                series = f"scribbled on, {count} inside and {count} outside"
                yield Condition(Coordinates(size, series, panel), f"{name}{MARK}{alteration}", plans, drawn)
