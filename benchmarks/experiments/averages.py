"""Points of a figure from what was measured of single queries, averaged as all results are."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from benchmarks.analysis.statistics import Interval, differences, intervals, subject_means
from benchmarks.experiments.bench import Coordinates, Point


@dataclass(frozen=True)
class Score:
    """A value that was measured of one query."""

    dataset: str
    task: str
    subject: str
    value: float
    place: str = ""
    """Name of the point that it belongs to."""


def mean_of(scores: Iterable[Score], seed: int) -> Interval:
    """Average over datasets, tasks, subjects and queries, with a 95 % interval."""
    return intervals(list(subject_means(scores, [""], "value", lambda score: score.place).values()), seed)[0]


def ranging(values: Sequence[float], middle: Callable[[Iterable[float]], float]) -> Interval:
    """Middle of some values, with their lowest and highest as the ends of the interval."""
    return Interval(middle(values), min(values), max(values))


def averaged(
    scores: dict[Coordinates, list[Score]], references: dict[Coordinates, Coordinates], seed: int
) -> list[Point]:
    """Average the scores of each point, with its paired difference from the point that it is compared with.

    Args:
        scores: Scores of each point, in the order wanted.
        references: Point that each is compared with, where there is one.
        seed: Seed of the bootstrap.
    """
    points = []
    for place, own in scores.items():
        reference, difference = references.get(place), None
        if reference is not None and reference != place:
            pair = [replace(score, place=str(where)) for where in (place, reference) for score in scores[where]]
            means = subject_means(pair, [str(place), str(reference)], "value", lambda score: score.place)
            difference = differences(list(means.values()), reference=0, seed=seed)[1]
        tasks = len({score.task for score in own})
        points.append(Point(place, mean_of(own, seed), reference if difference else None, difference, tasks=tasks))
    return points
