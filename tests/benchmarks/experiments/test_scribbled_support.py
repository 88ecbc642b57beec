"""Scribbled supports are those that are drawn, but for their labels."""

from collections.abc import Callable

from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.scribbled_support import DENSE, SCRIBBLES, SIZES, scribbled_support

NewBench = Callable[..., Bench]


def test_scribbles_take_the_place_of_the_same_labels(new_bench: NewBench) -> None:
    found = list(scribbled_support(new_bench("scribbled-support")))
    assert len(found) == len(SIZES) * (1 + len(SCRIBBLES))
    for condition in found:
        drawn = next(each for each in found if each.place == Coordinates(condition.place.x, DENSE))
        assert condition.reference == drawn.place
        assert condition.plans is drawn.plans
    assert [each.predictor for each in found[:3]] == ["mean-mask", "mean-mask+scribbled-1", "mean-mask+scribbled-3"]
