"""Several raters: a network that labels as it is shown agrees with people as they do, and is unsure where they are."""

from collections.abc import Callable

import pytest

from benchmarks.experiments.bench import Bench, Coordinates, Point
from benchmarks.experiments.raters import (
    AGREED_LABEL,
    ANOTHER,
    AUC,
    AUC_NEAR,
    BORDER,
    BUDGET,
    BY_PEOPLE,
    CRPS,
    EACH_PERSON,
    ENERGY,
    HALVED,
    MAJORITY,
    MIXED,
    ONE,
    PEOPLE,
    SINGLE,
    THAT,
    WITH_A_PERSON,
    WITH_AGREED,
    agreed,
    halved,
    mixed,
    one_person,
    place_of,
    raters,
)  # fmt: skip
from tests.benchmarks.conftest import disc

NewBench = Callable[..., Bench]


@pytest.fixture
def points(drawn_bench: NewBench) -> dict[Coordinates, Point]:
    return {point.place: point for point in raters(drawn_bench("raters")).points}


def value(points: dict[Coordinates, Point], measure: str, name: str) -> float:
    return points[place_of("cells", measure, name)].value.mean


def test_supports_are_labelled_by_one_by_all_or_by_each_in_turn() -> None:
    rows, people = [5, 6, 7], ["ann", "bob"]
    assert one_person(rows, people, 0) == [(5, "ann"), (6, "ann"), (7, "ann")]
    assert one_person(rows, people, 3) == [(5, "bob"), (6, "bob"), (7, "bob")]
    assert agreed(rows, people, 0) == [(5, ""), (6, ""), (7, "")]
    assert mixed(rows, people, 1) == [(5, "bob"), (6, "ann"), (7, "bob")]
    assert halved([*rows, 8], people, 1) == [(5, "bob"), (5, "ann"), (6, "bob"), (6, "ann")]


def test_whoever_is_shown_is_followed(points: dict[Coordinates, Point]) -> None:
    """Bob draws every second column of what ann draws, hence they differ alike on all images."""
    whole = disc(8)
    among = 2 * whole[:, 1::2].sum() / (whole.sum() + whole[:, 1::2].sum())
    assert value(points, WITH_A_PERSON, PEOPLE) == pytest.approx(among, abs=0.02)
    assert value(points, WITH_A_PERSON, THAT) == 1
    assert value(points, WITH_A_PERSON, ANOTHER) == value(points, WITH_A_PERSON, PEOPLE)
    assert value(points, WITH_A_PERSON, MAJORITY) == pytest.approx((1 + value(points, WITH_A_PERSON, PEOPLE)) / 2)
    assert value(points, WITH_A_PERSON, MIXED) == value(points, BUDGET, MIXED)
    assert value(points, BUDGET, HALVED) == pytest.approx(value(points, BUDGET, MIXED))
    assert value(points, WITH_AGREED, MAJORITY) == 1
    assert value(points, EACH_PERSON, "ann") == 1
    assert value(points, EACH_PERSON, "bob") == value(points, WITH_A_PERSON, PEOPLE)


def test_points_are_compared_with_what_people_do(points: dict[Coordinates, Point]) -> None:
    that = points[place_of("cells", WITH_A_PERSON, THAT)]
    assert that.reference == place_of("cells", WITH_A_PERSON, PEOPLE)
    assert that.difference.mean == pytest.approx(1 - value(points, WITH_A_PERSON, PEOPLE))
    bob = points[place_of("cells", EACH_PERSON, "bob")]
    assert bob.reference == place_of("cells", WITH_A_PERSON, MAJORITY)
    assert bob.difference.mean < 0
    assert {place.x for place in points} == {"cells"}, "one set is all sets"


def test_masks_of_both_people_are_nearer_to_them_than_one_answer(points: dict[Coordinates, Point]) -> None:
    assert value(points, ENERGY, ONE) == pytest.approx(0, abs=1e-6), "each of two draws is of one of the two"
    assert value(points, ENERGY, MAJORITY) == value(points, ENERGY, AGREED_LABEL) > 0.1
    assert value(points, CRPS, ONE) < value(points, CRPS, AGREED_LABEL)


def test_only_supports_of_both_people_are_unsure_where_these_disagree(points: dict[Coordinates, Point]) -> None:
    for measure in (AUC, AUC_NEAR):
        assert value(points, measure, BY_PEOPLE) == 1
        assert value(points, measure, SINGLE) == 0.5
        assert value(points, measure, BORDER) != 0.5
        assert points[place_of("cells", measure, SINGLE)].reference == place_of("cells", measure, BORDER)


def test_a_second_run_measures_nothing_anew(drawn_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = drawn_bench("raters")
    first = raters(bench)
    monkeypatch.setattr(type(bench.collection), "images", None)
    assert raters(bench) == first
