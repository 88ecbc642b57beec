"""A budget of labels: so many in all, by everybody in turn, shown one by one or as what most people drew."""

from collections.abc import Callable

import pytest
import torch

from benchmarks.experiments.annotator_budget import (
    EACH,
    TOGETHER,
    annotator_budget,
    each_label,
    joined,
    one_label,
)  # fmt: skip
from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.drawn_tasks import Drawings
from benchmarks.experiments.raters import WITH_A_PERSON, WITH_AGREED
from benchmarks.experiments.supports import pools
from benchmarks.plans.annotators import drawn_by_several
from megamed.unknown import UNKNOWN_SHARE
from tests.benchmarks.conftest import disc

NewBench = Callable[..., Bench]


def test_all_spend_the_budget_on_labels_of_everybody_in_turn() -> None:
    rows, people = [1, 2, 3, 4], ["ann", "bob", "eve"]
    assert each_label(1, rows, people, 1) == [(1, "bob"), (2, "eve"), (3, "ann"), (4, "bob")]
    assert each_label(2, rows, people, 0) == [(1, "ann"), (1, "bob"), (2, "eve"), (2, "ann")]
    assert one_label(2, rows, people, 0) == [(1, "ann\nbob"), (2, "ann\neve")]
    assert one_label(1, rows, people, 1) == each_label(1, rows, people, 1)


def test_what_half_of_them_drew_is_unknown(drawn_bench: NewBench) -> None:
    """Bob draws every second column of what ann draws."""
    bench = drawn_bench("annotator-budget")
    ((plan, people),) = drawn_by_several(bench.collection, pools(bench), 4)
    drawings, row = Drawings(bench.collection, plan, people), plan.episodes[0].query.row
    label, whole = joined(drawings, row, "ann\nbob")[0, 0], torch.from_numpy(disc(5 + row % 7))
    assert (label[:, ::2] == UNKNOWN_SHARE * whole[:, ::2]).all()
    assert (label[:, 1::2] == whole[:, 1::2]).all()
    assert torch.equal(joined(drawings, row, "bob"), drawings.label(row, "bob"))


def test_both_ways_are_one_with_a_person_per_image(drawn_bench: NewBench) -> None:
    points = {point.place: point for point in annotator_budget(drawn_bench("annotator-budget")).points}
    assert {(place.x, place.panel) for place in points} == {(1, "cells"), (2, "cells")}, "two people, and one set"
    for measure in (WITH_A_PERSON, WITH_AGREED):
        single, shown, together = (
            points[Coordinates(count, f"{measure}, {way}", "cells")]
            for count, way in ((1, EACH), (2, EACH), (2, TOGETHER))
        )
        assert single.value == points[Coordinates(1, f"{measure}, {TOGETHER}", "cells")].value
        assert shown.reference == single.place
        assert shown.difference.mean == pytest.approx(shown.value.mean - single.value.mean)
        assert together.reference == single.place._replace(series=f"{measure}, {TOGETHER}")
