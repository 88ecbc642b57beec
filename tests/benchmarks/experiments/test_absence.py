"""The experiment on absence: examples and queries without the structure, and what is drawn on them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.experiments import absence
from benchmarks.experiments.absence import (
    ALARMS,
    ALL_SHOW,
    EVERYWHERE,
    HALF_SHOW,
    KEEP,
    PRESENT,
    SUPPRESS,
    TUNED,
    judged,
    supports_of,
    valued,
)
from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.shared_supports import SharedSupport
from benchmarks.plans.task_plans import Settings
from incontext import Segmenter
from megamed.unknown import UNKNOWN
from tests.benchmarks.conftest import DrawnCollection, SparseCollection

NewBench = Callable[..., Bench]


@pytest.fixture
def bench(new_bench: NewBench, sparse: SparseCollection) -> Bench:
    settings = Settings("heldout", support_size=4, draws=1, queries=2)
    made = new_bench("absence", settings, predictors=("packaged",), steps=1)
    sparse.path = made.collection.path
    return replace(made, collection=sparse)


@pytest.fixture
def support(bench: Bench) -> SharedSupport:
    """Eight examples of four subjects; one query shows the disc, one of the same subject and one of another do not."""
    task = bench.collection.tasks()[0]
    rows = bench.collection.rows(task)
    examples = [each for each in bench.collection.samples(task) if each.subject not in ("s5", "s6")]
    queries = [each for each in rows if each.subject in ("s5", "s6")]
    return SharedSupport(task, 0, tuple(examples[:6]), tuple(queries))


def test_half_of_the_examples_lack_the_structure_and_are_of_no_query_subject(
    bench: Bench, support: SharedSupport
) -> None:
    found = supports_of(bench, support)
    assert found[ALL_SHOW] == support.examples
    lacking = [each for each in found[HALF_SHOW] if each.row >= SparseCollection.LACKING]
    assert (len(found[HALF_SHOW]), len(lacking)) == (6, 3)
    assert not {each.subject for each in lacking} & {"s5", "s6"}


def test_values_are_of_images_with_and_without_the_structure() -> None:
    nothing, left, all_of_it = (np.full((2, 2), value, np.uint8) for value in (0, 0, 1))
    left[:, 0] = 1
    undecided = np.full((2, 2), UNKNOWN, np.uint8)
    undecided[:, 1] = 0
    found = valued([left, all_of_it, left, nothing], [nothing, left, undecided, all_of_it])
    assert found == {ALARMS: pytest.approx(0.5), PRESENT: pytest.approx(1 / 3), EVERYWHERE: pytest.approx(5 / 12)}


def test_queries_that_all_show_the_structure_tell_nothing(bench: Bench, support: SharedSupport) -> None:
    shown = tuple(each for each in support.queries if each.row < SparseCollection.LACKING)
    assert judged(bench, Segmenter(), support._replace(queries=shown)) == {}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_a_user_gets_is_measured(bench: Bench) -> None:
    found = {point.place: point for point in absence.absence(bench).points}
    alarms = {
        (examples, treatment): found[Coordinates(examples, treatment, ALARMS)].value.mean
        for examples in (ALL_SHOW, HALF_SHOW)
        for treatment in (KEEP, SUPPRESS, TUNED)
    }
    assert alarms[HALF_SHOW, SUPPRESS] <= alarms[HALF_SHOW, KEEP]
    assert alarms[ALL_SHOW, SUPPRESS] <= alarms[ALL_SHOW, KEEP]
    assert found[Coordinates(ALL_SHOW, KEEP, PRESENT)].value.mean > 0.9
    assert found[Coordinates(ALL_SHOW, SUPPRESS, ALARMS)].reference == Coordinates(ALL_SHOW, KEEP, ALARMS)


def test_a_collection_without_such_images_is_refused(new_bench: NewBench) -> None:
    bench = new_bench("absence", predictors=("packaged",))

    class Full(DrawnCollection):
        def rows(self, task: object) -> list[object]:
            return []

        areas = unknown_areas = lambda self, task: np.zeros(0, int)

    full = Full()
    full.path = bench.collection.path
    with pytest.raises(ValueError, match="No task has images without its structure"):
        absence.absence(replace(bench, collection=full))
