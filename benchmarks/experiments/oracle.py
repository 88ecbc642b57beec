"""The experiment on the oracle support: the best of several random ones for each query, told by the query's label.

No rule can choose like that. It tells how much the choice matters, and how much of that the nearest support gains.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import comb

from benchmarks.experiments.bench import Bench, Coordinates, Findings
from benchmarks.experiments.choice import encoder, features_of, once, reordered
from benchmarks.experiments.scoring import Condition, by_place, measured, score
from benchmarks.experiments.supports import first, pools
from benchmarks.run import Store
from benchmarks.scoring.results import Row

SIZES = (1, 4)
COUNTS = (1, 2, 5, 10)
"""Numbers of random supports of which the oracle takes the best, up to the number of draws; one is the mean."""
FROM_RANDOM, FROM_NEAREST = "from a random support", "from the nearest support"


def oracle_support(bench: Bench) -> Findings:
    """Measure the best of several random supports, as difference from one of them and from the nearest."""
    pairs = list(random_and_nearest(bench))
    scored = [condition for pair in pairs for condition in pair]
    findings = score(bench, scored)
    rows = by_place(Store.open(bench.out), scored)
    conditions = []
    for random, nearest in pairs:
        conditions.append(nearest)
        drawn = rows[random.place]
        for reference, panel in ((random, FROM_RANDOM), (nearest, FROM_NEAREST)):
            for count in (each for each in COUNTS if each <= bench.settings.draws):
                place = Coordinates(count, random.place.series, panel)
                rows[place] = best_of(count, drawn)
                conditions.append(replace(random, place=place, reference=reference.place))
    return replace(findings, points=measured(rows, conditions, {}, bench.settings.seed))


def random_and_nearest(bench: Bench) -> Iterator[tuple[Condition, Condition]]:
    """Yield for each predictor and support size the condition of random supports and that of the nearest one."""
    whole, encode = pools(bench), encoder(bench)
    by_likeness = [reordered(once(plan), features_of(bench, plan, encode).nearest) for plan in whole]
    for name in bench.options.predictors:
        for size in SIZES:
            series = f"S = {size}" if len(bench.options.predictors) == 1 else f"{name}, S = {size}"
            yield (
                Condition(Coordinates(1, series, FROM_RANDOM), name, [first(plan, size) for plan in whole]),
                Condition(Coordinates(1, f"nearest, {series}"), name, [first(plan, size) for plan in by_likeness]),
            )


def best_of(count: int, rows: Iterable[Row]) -> list[Row]:
    """Reduce the draws of each query to one row, with the best Dice that `count` of them have on average.

    Args:
        count: Number of draws of which the best is taken.
        rows: Rows of one predictor.
    """
    draws: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        draws[row.task, row.case].append(row)
    return [replace(some[0], draw=0, dice=expected_best([row.dice for row in some], count)) for some in draws.values()]


def expected_best(scores: Sequence[float], count: int) -> float:
    """Mean of the highest score over all choices of `count` of the scores: their mean for one, the best for all.

    The score of rank i from below is the highest of C(i - 1, count - 1) choices.
    """
    ranked = sorted(scores)
    total = sum(comb(index, count - 1) * score for index, score in enumerate(ranked))
    return total / comb(len(ranked), count)
