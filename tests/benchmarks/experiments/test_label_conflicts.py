"""Two definitions in one support: a network that takes the mean of its labels is as sure as they are many."""

from collections.abc import Callable

import pytest
import torch

from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.drawn_tasks import AGREED, Drawings
from benchmarks.experiments.label_conflicts import (
    DISPUTED,
    NARROW,
    PEOPLE,
    RIM,
    RIMMED,
    SHARES,
    WIDE,
    label_conflicts,
    shared,
    with_rim,
)  # fmt: skip
from benchmarks.experiments.supports import pools
from benchmarks.plans.annotators import drawn_by_several
from tests.benchmarks.conftest import DrawnCollection

NewBench = Callable[..., Bench]


def test_the_first_examples_are_by_the_wider_definition() -> None:
    assert shared([1, 2, 3, 4], ("bob", "ann"), 0.25) == [(1, "ann"), (2, "bob"), (3, "bob"), (4, "bob")]
    assert {who for _, who in shared([1, 2], ("bob", "ann"), 1.0)} == {"ann"}
    assert {who for _, who in shared([1, 2], ("bob", "ann"), 0.0)} == {"bob"}


def test_what_two_people_dispute_is_as_probable_as_it_is_frequent(drawn_bench: NewBench) -> None:
    points = {point.place: point for point in label_conflicts(drawn_bench("label-conflicts")).points}
    assert {place.panel for place in points} == {PEOPLE, RIMMED}
    for share in SHARES:
        disputed = points[Coordinates(100 * share, DISPUTED, PEOPLE)]
        assert disputed.value.mean == pytest.approx(share, abs=0.04)
        assert disputed.reference == (Coordinates(0, DISPUTED, PEOPLE) if share else None)
        narrow, wide = (points[Coordinates(100 * share, name, PEOPLE)].value.mean for name in (NARROW, WIDE))
        assert (narrow == 1) == (share < 0.5)
        assert (wide == 1) == (share > 0.5)


def test_people_who_agree_dispute_nothing(drawn_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = drawn_bench("label-conflicts")
    monkeypatch.setattr(type(bench.collection), "labels", DrawnCollection.labels)
    names = {point.place.series for point in label_conflicts(bench).points if point.place.panel == PEOPLE}
    assert names == {NARROW, WIDE}


def test_a_rim_lies_around_the_agreed_label(drawn_bench: NewBench) -> None:
    bench = drawn_bench("label-conflicts")
    ((plan, people),) = drawn_by_several(bench.collection, pools(bench), 4)
    drawings = Drawings(bench.collection, plan, people)
    row = plan.episodes[0].query.row
    label, rimmed = (with_rim(drawings, row, who)[0, 0] for who in (AGREED, RIM))
    assert torch.equal(rimmed[1:-1, 1:-1] == 1, torch.stack([
        torch.roll(label, (up, across), (0, 1)) for up in (-1, 0, 1) for across in (-1, 0, 1)
    ]).amax(0)[1:-1, 1:-1] == 1)  # fmt: skip
    assert torch.equal(with_rim(drawings, row, "bob"), drawings.label(row, "bob"))
