"""Alterations as conditions: every kind at every strength, paired with what is unaltered."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.robustness import CORRUPTIONS, ERRORS, corruption, label_noise, position, resolution
from benchmarks.predictors import corruptions, load_predictor
from benchmarks.predictors.annotation_errors import ANNOTATION_ERRORS

NewBench = Callable[..., Bench]


def test_every_known_alteration_is_asked_about() -> None:
    assert CORRUPTIONS.keys() == corruptions.CORRUPTIONS.keys()
    assert ERRORS.keys() | {"scribbled"} == ANNOTATION_ERRORS.keys()  # of which an experiment of its own asks


@pytest.mark.parametrize(("experiment", "expected"), [(corruption, 1 + 2 * 7 * 3), (label_noise, 1 + 5 * 3)])
def test_every_strength_is_compared_with_the_unaltered(
    experiment: Callable[[Bench], list], expected: int, new_bench: NewBench
) -> None:
    unaltered, *others = experiment(new_bench("corruption"))
    assert (unaltered.place, unaltered.predictor) == (Coordinates(0, "mean-mask as they are"), "mean-mask")
    assert len({each.place for each in others}) == len({each.predictor for each in others}) == expected - 1
    for each in others:
        assert (each.reference, each.plans) == (unaltered.place, unaltered.plans)
        assert load_predictor(each.predictor).name == each.predictor
        assert each.predictor.endswith("-query") == (each.place.panel == "query alone")
        assert each.predictor.split("-")[2] in each.about


def test_the_seed_reaches_the_alterations(new_bench: NewBench) -> None:
    bench = new_bench("corruption")
    bench = new_bench("corruption", settings=replace(bench.settings, seed=5))
    assert all(each.predictor.endswith("-seed5") for each in corruption(bench)[1:])


def test_grids_are_multiples_of_the_stored_one(new_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = new_bench("resolution", predictors=("mean-mask", "atlas"))
    monkeypatch.setattr(type(bench.collection), "size_px", 128)
    conditions = resolution(bench)
    assert [each.predictor for each in conditions[:5]] == [
        "mean-mask+size-64", "mean-mask+size-96", "mean-mask", "mean-mask+size-192", "mean-mask+size-256"
    ]  # fmt: skip
    assert {each.reference for each in conditions} == {Coordinates(128, "mean-mask"), Coordinates(128, "atlas")}


def test_supports_are_moved_up_to_half_of_the_side(new_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = new_bench("position", predictors=("mean-mask", "atlas"))
    monkeypatch.setattr(type(bench.collection), "size_px", 128)
    conditions = position(bench)
    assert [each.predictor for each in conditions[:5]] == [
        "mean-mask", "mean-mask+moved-8", "mean-mask+moved-16", "mean-mask+moved-32", "mean-mask+moved-64"
    ]  # fmt: skip
    assert [each.place.x for each in conditions[5:]] == [0, 8, 16, 32, 64]
    assert {each.reference for each in conditions} == {Coordinates(0, "mean-mask"), Coordinates(0, "atlas")}
    assert all(load_predictor(each.predictor).name == each.predictor for each in conditions)
