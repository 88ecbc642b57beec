"""Fairness: groups of images, tasks and people, each worst one beside the best."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from benchmarks.analysis.statistics import Interval
from benchmarks.analysis.subgroups import Gap, Subgroup, SubgroupTable
from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.fairness import fairness, points_of
from tests.benchmarks.conftest import AnnotatedCollection

NewBench = Callable[..., Bench]


def test_the_worst_group_is_compared_with_the_best() -> None:
    scores = {"small": Interval(0.4, 0.3, 0.5), "large": Interval(0.9, 0.8, 1.0)}
    groups = tuple(Subgroup(name, 2, 3, 5, {"net": score}) for name, score in scores.items())
    gap = Gap("large", "small", Interval(0.5, 0.35, 0.6, 3))
    worst, best = points_of(SubgroupTable("size", groups, {"net": gap}))
    assert worst.place == Coordinates("small", "net", "size")
    assert worst.reference == best.place
    assert worst.difference == Interval(-0.5, -0.6, -0.35, 3)
    assert (best.reference, best.difference) == (None, None)
    assert (worst.tasks, worst.about) == (2, "5 images")


def test_people_are_groups_of_their_dataset(new_bench: NewBench, annotated: AnnotatedCollection) -> None:
    """Bob draws every second column, and the mean of his labels is as good for him as ann's is for her."""
    bench = new_bench("fairness")
    annotated.path = bench.collection.path
    points = {point.place: point for point in fairness(replace(bench, collection=annotated)).points}
    people = {place.x for place in points if place.panel == "person, cells"}
    assert people == {"ann", "bob"}
    assert {place.panel for place in points} == {"", "modality", "anatomy", "person, cells"}, "discs of one size"
    compared = [point for point in points.values() if point.place.panel == "person, cells" and point.difference]
    assert [point.difference.mean <= 0 for point in compared] == [True]
    assert points[Coordinates("other", "mean-mask", "modality")].value.mean == pytest.approx(
        points[Coordinates("all", "mean-mask")].value.mean
    )
