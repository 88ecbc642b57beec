"""Clicks on drawings, by a predictor that needs as many as there are examples too few."""

import itertools
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from benchmarks.experiments import clicks, prompted_tasks
from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.dialogue import ROBOTS
from benchmarks.plans.task_plans import Settings
from benchmarks.predictors.protocol import NamedPrompted
from benchmarks.scoring.leaks import Leaks

NewBench = Callable[..., Bench]


class Slow:
    """Finds nothing until there are three prompts and examples together, then everything."""

    asked = 0

    def begin(self, query_images: Tensor, support_images: Tensor, support_labels: Tensor):
        Slow.asked += 1

        prompts = itertools.count(support_images.shape[1])

        def answer(maps: Tensor, previous: Tensor | None) -> Tensor:
            count = next(prompts) + 1 if maps.any() else support_images.shape[1]
            return torch.where(query_images > 0.5, 1.0 if count >= 3 else -1.0, -1.0)

        return answer


@pytest.fixture
def new_bench(new_bench: NewBench) -> NewBench:
    """Makes a bench that asks about two queries."""
    return partial(new_bench, settings=Settings("heldout", support_size=4, draws=1, queries=2))


@pytest.fixture(autouse=True)
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clicks, "SIZES", (0, 1, 4))
    monkeypatch.setattr(clicks, "TURNS", 4)
    monkeypatch.setattr(prompted_tasks, "load_prompted", lambda name, device: NamedPrompted(name, Slow(), "v1", {}))


def test_every_click_is_a_point_with_what_it_mends(new_bench: NewBench) -> None:
    bench = new_bench("clicks", predictors=("slow",))
    findings = clicks.clicks(bench)
    points = {(point.place.panel, point.place.series, point.place.x): point for point in findings.points}
    series = [(size, whole) for size in (0, 1, 4) for whole in (False, True)]
    starts = {(size, whole): (clicks.WHOLE if whole else "answered", f"S = {size}") for size, whole in series}
    assert points.keys() == {(*start, turns) for start in starts.values() for turns in range(5)}
    for (size, whole), (panel, name) in starts.items():
        for turns in range(5):
            needed = 1 if whole else 3 - size  # each drawing is one disc, which one mended error completes
            assert points[panel, name, turns].value.mean == float(turns >= needed or size >= 3)
            assert points[panel, name, turns].reference == (Coordinates(0, name, panel) if turns else None)
    assert points["answered", "S = 1", 2].about == "100% of the error gone"
    assert points["answered", "S = 1", 1].about == "0% of the error gone"
    assert points["answered", "S = 4", 0].about == ""
    assert points["answered", "S = 0", 4].about == (
        "100% of the error gone; to 0.80 in 3.0 (3.0, 3.0), 0% never; to 0.85 in 3.0 (3.0, 3.0), 0% never; "
        "to 0.90 in 3.0 (3.0, 3.0), 0% never; 100.0% of the prompted pixels obeyed"
    )
    assert findings.details["turns to"]["slow, S = 1"]["0.90"]["turns"]["mean"] == 2
    assert findings.details["fingerprints"] == {"slow": "v1"}


def test_queries_that_never_get_there_count_as_all_turns(new_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clicks, "TURNS", 2)
    told = clicks.clicks(new_bench("clicks", predictors=("slow",))).details["turns to"]["slow, S = 0"]["0.80"]
    assert (told["turns"]["mean"], told["never"]["mean"]) == (2, 1)


def test_what_was_measured_is_not_measured_again(new_bench: NewBench) -> None:
    bench = new_bench("clicks", predictors=("slow",))
    first, asked = clicks.clicks(bench), Slow.asked
    assert clicks.clicks(bench) == first
    assert Slow.asked == asked
    next((bench.out / "measured").glob("*.json")).unlink()
    assert clicks.clicks(bench) == first
    assert Slow.asked > asked


def test_robots_are_compared_at_one_support_size(new_bench: NewBench) -> None:
    findings = clicks.robots(new_bench("robots", predictors=("slow", "slower")))
    assert {point.place.series for point in findings.points} == set(ROBOTS)
    assert {point.place.panel for point in findings.points} == {"slow", "slower"}
    assert {point.value.mean for point in findings.points} == {1.0}  # four examples are enough


def test_nobody_is_asked_about_what_it_was_trained_on(new_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> None:
    leaks = Leaks({"slow": {"cells/drawing/2d/disc": "it was trained on it"}}, {})
    monkeypatch.setattr(prompted_tasks, "find_leaks", lambda collection, tasks, predictors: leaks)
    bench = new_bench("clicks", predictors=("slow", "slower"))
    with pytest.raises(ValueError, match="slow has no score: expected tasks that it was not trained on"):
        clicks.clicks(bench)
