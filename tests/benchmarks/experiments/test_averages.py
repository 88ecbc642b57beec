"""Means of what was measured of single queries: over datasets, tasks, subjects and queries, and paired differences."""

import pytest

from benchmarks.experiments.averages import Score, averaged, mean_of
from benchmarks.experiments.bench import Coordinates


def test_a_mean_is_over_datasets_tasks_and_subjects() -> None:
    scores = [
        Score("a", "a/1", "s1", 0.0),
        Score("a", "a/1", "s1", 2.0),
        Score("a", "a/1", "s2", 5.0),
        Score("b", "b/1", "s1", 9.0),
    ]
    mean = mean_of(scores, seed=0)
    assert mean.mean == pytest.approx(((1 + 5) / 2 + 9) / 2)
    assert mean.low <= mean.mean <= mean.high
    assert mean == mean_of(scores, seed=0)


def test_points_are_compared_with_their_reference() -> None:
    here, there = Coordinates(1, "more"), Coordinates(0, "more")
    scores = {
        there: [Score("a", "t", f"s{i}", float(i)) for i in range(4)],
        here: [Score("a", "t", f"s{i}", i + 2.0) for i in range(4)],
    }
    first, second = averaged(scores, {here: there, there: there}, seed=0)
    assert (first.place, first.reference, first.difference, first.tasks) == (there, None, None, 1)
    assert (second.value.mean, second.reference) == (3.5, there)
    assert second.difference is not None
    assert (second.difference.low, second.difference.mean, second.difference.high) == (2, 2, 2)
