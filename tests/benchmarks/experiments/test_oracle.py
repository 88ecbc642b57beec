"""The oracle support: the best of so many, between the mean and the best of all, as seen by the query's label."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from statistics import fmean

import pytest
import torch
from torch import Tensor

from benchmarks.experiments import choice, oracle, scoring
from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.oracle import FROM_NEAREST, FROM_RANDOM, best_of, expected_best, oracle_support
from benchmarks.predictors import NamedPredictor
from benchmarks.scoring.results import Row
from tests.benchmarks.experiments.conftest import SETTINGS

NewBench = Callable[..., Bench]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_the_best_of_so_many_is_the_mean_over_all_choices(count: int) -> None:
    scores = [0.4, 0.9, 0.1, 0.4, 0.7]
    assert expected_best(scores, count) == pytest.approx(fmean(max(some) for some in combinations(scores, count)))


def test_each_query_takes_its_own_best() -> None:
    rows = [
        Row("random", "cells", "disc", "s0", case, draw, 1, "", 49, 49, dice)
        for case, scores in {"a": (0.2, 0.6), "b": (0.9, 0.1)}.items()
        for draw, dice in enumerate(scores)
    ]
    assert [(row.case, row.dice) for row in best_of(2, rows)] == [("a", 0.6), ("b", 0.9)]


class Centre:
    """Sees where the disc is."""

    def features(self, images: Tensor) -> list[Tensor]:
        columns = images[:, 0].sum(1)
        centre = (columns * torch.arange(columns.shape[1])).sum(1) / columns.sum(1)
        return [torch.stack([centre, torch.full_like(centre, 30.0)], 1)[..., None, None]]


def copying(query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
    """Copy the first label, which is right if the disc of the query is where that of the support is."""
    return support_labels[:, 0] - 0.5


@pytest.fixture
def bench(new_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(choice, "load_network", lambda path, device: Centre())
    copier = NamedPredictor("copier", copying, "copier", provenance={})
    monkeypatch.setattr(scoring, "load_predictor", lambda name, device: copier)
    monkeypatch.setattr(oracle, "COUNTS", (1, 2, 5))
    return new_bench("oracle-support", replace(SETTINGS, draws=3), predictors=("copier",))


def test_more_supports_can_only_help_the_oracle(bench: Bench) -> None:
    points = {point.place: point for point in oracle_support(bench).points}
    for size in oracle.SIZES:
        one, two = (points[Coordinates(count, f"S = {size}", FROM_RANDOM)] for count in (1, 2))
        assert one.difference is None
        assert two.reference == one.place
        assert two.difference.mean == pytest.approx(two.value.mean - one.value.mean)
        assert two.difference.low >= 0
        assert two.difference.mean > 0
    assert {place.x for place in points} == {1, 2}  # for no more than three are drawn


def test_the_oracle_is_compared_with_the_nearest_support(bench: Bench) -> None:
    points = {point.place: point for point in oracle_support(bench).points}
    nearest = points[Coordinates(1, "nearest, S = 1")]
    for count in (1, 2):
        point = points[Coordinates(count, "S = 1", FROM_NEAREST)]
        assert point.value == points[Coordinates(count, "S = 1", FROM_RANDOM)].value
        assert point.reference == nearest.place
        assert point.difference.mean == pytest.approx(point.value.mean - nearest.value.mean)
    assert nearest.value.mean > points[Coordinates(1, "S = 1", FROM_RANDOM)].value.mean


def test_what_is_scored_is_not_scored_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    found = oracle_support(bench)
    monkeypatch.setattr(scoring, "score_all", lambda collection, works, sources, execution: works and iter(()))
    assert oracle_support(bench).points == found.points
