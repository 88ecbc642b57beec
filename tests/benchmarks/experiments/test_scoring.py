"""Conditions become points: means of known scores, paired differences, and no row twice."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from benchmarks.experiments import scoring
from benchmarks.experiments.bench import Bench, Coordinates, Findings
from benchmarks.experiments.scoring import Condition, score
from benchmarks.experiments.supports import ensembles
from benchmarks.plans.task_plans import TaskPlan, plan_suite
from benchmarks.predictors import NamedPredictor
from benchmarks.scoring.leaks import Leaks
from benchmarks.scoring.results import read_rows

NewBench = Callable[..., Bench]
CLEAN, WORSE = Coordinates(0, "clean"), Coordinates(1, "worse")


def perfect(query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
    """On the drawings, bright is foreground."""
    return query_images - 0.5


def flooding(query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
    """Everything is foreground: 49 of 256 pixels are right."""
    return torch.ones_like(query_images)


def failing(query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
    return 1 / 0


KNOWN = {"perfect": perfect, "flooding": flooding, "failing": failing}
DICE = 2 * 49 / (49 + 256)


@pytest.fixture(autouse=True)
def predictors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        scoring, "load_predictor", lambda name, device: NamedPredictor(name, KNOWN[name], name, provenance={})
    )


@pytest.fixture
def bench(new_bench: NewBench) -> Bench:
    return new_bench("corruption")


@pytest.fixture
def plans(bench: Bench) -> list[TaskPlan]:
    return plan_suite(bench.collection, bench.settings)[0]


def two(bench: Bench, plans: list[TaskPlan]) -> Findings:
    return score(bench, [Condition(CLEAN, "perfect", plans), Condition(WORSE, "flooding", plans, CLEAN, "wet")])


def test_points_hold_means_and_paired_differences(bench: Bench, plans: list[TaskPlan]) -> None:
    clean, worse = two(bench, plans).points
    assert (clean.place, clean.value.mean, clean.difference, clean.reference) == (CLEAN, 1.0, None, None)
    assert (worse.place, worse.reference, worse.about, worse.tasks) == (WORSE, CLEAN, "wet", 1)
    for end in ("mean", "low", "high"):
        assert getattr(worse.value, end) == pytest.approx(DICE, abs=1e-6)
        assert getattr(worse.difference, end) == pytest.approx(DICE - 1, abs=1e-6)
    assert worse.seconds_per_query is not None


def test_nothing_is_scored_twice(bench: Bench, plans: list[TaskPlan]) -> None:
    found = two(bench, plans)
    rows = (bench.out / "rows.csv").read_bytes()
    asked = []
    again = two(replace(bench, track=lambda batches, total: asked.append(total) or batches), plans)
    assert asked == [0]
    assert (bench.out / "rows.csv").read_bytes() == rows
    assert again.points == found.points
    assert len(read_rows(bench.out / "rows.csv")) == 2 * 4 * 2


def test_a_torn_table_is_completed(bench: Bench, plans: list[TaskPlan]) -> None:
    found = two(bench, plans)
    path = bench.out / "rows.csv"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert [point.value for point in two(bench, plans).points] == [point.value for point in found.points]
    assert sorted(path.read_bytes().splitlines()) == sorted(whole.splitlines())


def test_an_ensemble_is_scored_and_not_its_members(bench: Bench, plans: list[TaskPlan]) -> None:
    pairs = [ensembles(plan, 2, lambda episode, member: episode.support[member::2]) for plan in plans]
    point = score(bench, [Condition(CLEAN, "perfect", pairs)]).points[0]
    rows = read_rows(bench.out / "rows.csv")
    assert {row.ensemble for row in rows} == {1, 2}
    assert point.value.mean == 1.0
    single = [row.key for row in rows if row.ensemble == 1]
    assert len(single) == len(set(single)) == 2 * 2 * 4


def test_seeds_of_a_place_are_averaged(bench: Bench, plans: list[TaskPlan]) -> None:
    points = score(bench, [Condition(CLEAN, "perfect", plans), Condition(CLEAN, "flooding", plans, seed=1)]).points
    assert [point.value.mean for point in points] == [pytest.approx((1 + DICE) / 2, abs=1e-6)]


def test_a_condition_without_score_is_told(bench: Bench, plans: list[TaskPlan]) -> None:
    with pytest.raises(ValueError, match=r"worse, 1 has no score: .* got none: ZeroDivisionError: division by zero"):
        score(bench, [Condition(CLEAN, "perfect", plans), Condition(WORSE, "failing", plans)])


def test_details_are_json_and_name_plans_and_predictors(bench: Bench, plans: list[TaskPlan]) -> None:
    details = json.loads(json.dumps(two(bench, plans).details))
    assert details["fingerprints"] == {"clean, 0": "perfect", "worse, 1": "flooding"}
    assert len(set(details["plan_hashes"].values())) == 1
    assert details["failed"] == {}


def test_only_a_leak_on_purpose_is_scored(bench: Bench, plans: list[TaskPlan], monkeypatch: pytest.MonkeyPatch) -> None:
    leaks = Leaks({"perfect": {"cells/drawing/2d/disc": "it was trained on it"}}, {})
    monkeypatch.setattr(scoring, "find_leaks", lambda collection, tasks, predictors: leaks)
    assert score(bench, [Condition(CLEAN, "perfect", plans, seen=True)]).points[0].value.mean == 1.0
    with pytest.raises(ValueError, match=r"worse, 1 has no score: .* got none: it was trained on it"):
        score(bench, [Condition(WORSE, "perfect", plans)])


def test_what_a_condition_is_not_asked_about_is_no_leak(
    bench: Bench, plans: list[TaskPlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    leaks = Leaks({"perfect": {"cells/of/another/condition": "it was trained on it"}}, {})
    monkeypatch.setattr(scoring, "find_leaks", lambda collection, tasks, predictors: leaks)
    assert score(bench, [Condition(CLEAN, "perfect", plans)]).details["failed"] == {}
