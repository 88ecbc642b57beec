"""Tasks that several people drew: each is asked once, and none that the network was trained on."""

from collections.abc import Callable, Sequence

import pytest
import torch

from benchmarks.experiments import drawn_tasks
from benchmarks.experiments.bench import Bench
from benchmarks.experiments.drawn_tasks import AGREED, TaskReading, Values, judge_all, scores_of
from benchmarks.plans.task_plans import Episode
from benchmarks.scoring.leaks import Leaks

NewBench = Callable[..., Bench]


def cases_of(reading: TaskReading, draws: Sequence[Episode]) -> Values:
    assert len({episode.query.case for episode in draws}) == 1
    return {"draws": {"all": float(len(draws))}}


def test_queries_are_measured_once_with_all_their_draws(drawn_bench: NewBench) -> None:
    bench = drawn_bench("raters")
    found, details = judge_all(bench, cases_of)
    assert {each.values["draws"]["all"] for each in found} == {2}
    assert len({each.case for each in found}) == len(found) > 1
    assert details["queries"] == {"cells/drawing/2d/disc": len(found)}
    assert [score.value for score in scores_of(found, "draws", "all")] == [2] * len(found)
    assert scores_of(found, "draws", "none") == []

    def fail(reading: TaskReading, draws: Sequence[Episode]) -> Values:
        raise AssertionError

    assert judge_all(bench, fail) == (found, details)


def test_labels_are_those_of_whoever_is_named(drawn_bench: NewBench) -> None:
    seen = {}

    def look(reading: TaskReading, draws: Sequence[Episode]) -> Values:
        row = draws[0].query.row
        for who in (AGREED, "ann", "bob"):
            shown = [(sample.row, who) for sample in draws[0].support]
            seen[who] = reading.probabilities(row, shown) > 0.5, reading.drawings.label(row, who)[0, 0] == 1
            assert not (reading.uncertainty(row, shown, seed=0) > 0.01).any(), "whoever is asked again says the same"
        return {}

    judge_all(drawn_bench("raters"), look)
    assert all(torch.equal(found, drawn) for found, drawn in seen.values())
    assert seen["bob"][1].sum() < seen["ann"][1].sum()


def test_what_was_trained_on_is_not_asked(drawn_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Leaks({"follower": {"cells/drawing/2d/disc": "seen"}}, {})
    monkeypatch.setattr(drawn_tasks, "find_leaks", lambda *_: seen)
    with pytest.raises(ValueError, match="follower has no score: expected tasks that it was not trained on, got none"):
        judge_all(drawn_bench("raters"), cases_of)
