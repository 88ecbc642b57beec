"""Whoever scores, however it is cut up, the same comes out in the same order."""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import pytest

from benchmarks.plans.task_plans import Settings, plan_suite
from benchmarks.predictors import load_predictor
from benchmarks.scoring import workers
from benchmarks.scoring.evaluator import Evaluator, Execution, Work
from benchmarks.scoring.results import Row
from benchmarks.scoring.workers import choose_workers, in_order, own_device, score_all
from megamed import Collection
from megamed.executors import TASKS_PER_WORKER

NAMES = ("mean-mask", "nearest-copy")
BY_TWO = Execution(batch_size=2, report_seconds=0.0)


@pytest.fixture
def works(drawings: Collection) -> list[Work]:
    plans = plan_suite(drawings, Settings(support_size=3, draws=4, queries=6, ensemble=2))[0]
    return [Work.missing(name, plan, set()) for plan in plans for name in NAMES]


def score(collection: Collection, works: list[Work], execution: Execution) -> list[Row]:
    predictors = {name: (name, load_predictor(name)) for name in NAMES}
    return list(chain(*(part.rows for part in score_all(collection, works, predictors, execution))))


def test_parts_come_in_the_order_of_the_works(drawings: Collection, works: list[Work]) -> None:
    whole = score(drawings, works, Execution())
    assert len(whole) == len({row.key for row in whole}) == 2 * 6 * (4 + 2)
    assert score(drawings, works, BY_TWO) == whole


@pytest.mark.parametrize("ahead", [1, 5])
def test_what_is_left_comes_before_what_follows(drawings: Collection, works: list[Work], ahead: int) -> None:
    evaluator = Evaluator(drawings, BY_TWO)
    begun: list[str] = []

    def begin(work: Work) -> object:
        begun.append(work.name)
        return lambda: evaluator.score(work, load_predictor(work.name).predict)

    found = list(chain(*(part.rows for part in in_order(begin, works, ahead))))
    assert found == score(drawings, works, Execution())
    assert begun.count("mean-mask") > 3


def test_other_processes_score_the_same(
    drawings: Collection, works: list[Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here a thread stands for them."""
    drawings.path = Path("drawings")

    @contextmanager
    def one_thread(workers: int | None, scheduler: str | None) -> Iterator[tuple[Executor, int]]:
        with ThreadPoolExecutor(1) as executor:
            yield executor, TASKS_PER_WORKER

    monkeypatch.setattr(workers, "open_executor", one_thread)
    monkeypatch.setattr(workers, "Collection", lambda path: drawings)
    assert score(drawings, works, Execution(workers=2)) == score(drawings, works, Execution())


def test_few_episodes_need_one_process() -> None:
    assert choose_workers("cpu", 12) == 1
    assert choose_workers("cpu", 10**6) >= 1
    assert own_device("cpu") == "cpu"


def test_a_worker_with_another_version_of_a_predictor_scores_nothing() -> None:
    """A worker of Dask outlives a run, and would answer with the weights or the code that it loaded first."""
    with pytest.raises(ValueError, match="another version of predictor mean-mask: expected newer, got mean-mask"):
        workers._predictor("mean-mask", "newer", "cpu")
