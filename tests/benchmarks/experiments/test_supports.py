"""Experiments on supports differ in nothing but what they are about: all draw from one pool."""

from collections import defaultdict
from collections.abc import Callable

import pytest

from benchmarks.experiments import supports
from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.scoring import Condition
from benchmarks.experiments.supports import DEALT, HALVES, ensemble_budget, support_size
from benchmarks.plans.task_plans import plan_suite

NewBench = Callable[..., Bench]


@pytest.fixture
def budgets(new_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> dict[Coordinates, Condition]:
    """Four or 1000 images, of which the drawings have as many as four."""
    monkeypatch.setattr(supports, "BUDGETS", (4, 1000))
    return {each.place: each for each in ensemble_budget(new_bench("ensemble-budget"))}


def test_a_support_is_the_beginning_of_the_next(new_bench: NewBench) -> None:
    bench = new_bench("support-size")
    conditions = {each.place.x: each for each in support_size(bench)}
    assert list(conditions) == list(supports.SIZES)
    assert list(conditions[4].plans) == plan_suite(bench.collection, bench.settings)[0]
    for small, large in zip(conditions[2].plans[0].episodes, conditions[8].plans[0].episodes, strict=True):
        assert (small.query, small.draw) == (large.query, large.draw)
        assert small.support == large.support[:2]


def test_all_members_together_see_the_budget_and_nothing_else(budgets: dict[Coordinates, Condition]) -> None:
    pool = {
        (episode.query.case, episode.draw): set(episode.support)
        for episode in budgets[Coordinates(1, f"4 images, {DEALT}")].plans[0].episodes
    }
    assert {len(images) for images in pool.values()} == {4}
    for members, way, size in ((2, DEALT, 2), (4, DEALT, 1), (2, HALVES, 2), (4, HALVES, 2)):
        seen = defaultdict(set)
        for group in budgets[Coordinates(members, f"4 images, {way}")].plans[0].groups:
            assert len(group) == members
            assert {len(set(episode.support)) for episode in group} == {size}
            seen[group[0].query.case, group[0].draw // members] = {each for one in group for each in one.support}
        assert all(seen[key] == pool[key] if way == DEALT else seen[key] <= pool[key] for key in pool)
        assert seen.keys() == pool.keys()


def test_members_draw_different_halves(budgets: dict[Coordinates, Condition]) -> None:
    groups = budgets[Coordinates(4, f"4 images, {HALVES}")].plans[0].groups
    assert any(len({frozenset(episode.support) for episode in group}) > 1 for group in groups)


def test_a_budget_that_no_task_has_is_left_out(budgets: dict[Coordinates, Condition]) -> None:
    assert {place.series for place in budgets} == {f"4 images, {DEALT}", f"4 images, {HALVES}"}
    assert {each.reference for each in budgets.values()} == {Coordinates(1, f"4 images, {DEALT}")}


def test_a_suite_without_enough_images_is_refused(new_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supports, "BUDGETS", (1000,))
    with pytest.raises(ValueError, match="No task has enough images: expected 1000 of other subjects"):
        ensemble_budget(new_bench("ensemble-budget"))
