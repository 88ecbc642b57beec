"""Queries and supports: fair, seeded, stable."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.plans.task_plans import (
    Settings,
    choose_queries,
    draw_support,
    held_out_subjects,
    lacking,
    plan_hash,
    plan_suite,
    plan_task,
    round_robin,
    stable_hash,
    with_annotators,
)
from megamed import Collection, Sample, Task
from tests.benchmarks.conftest import SparseCollection

TASK = Task(dataset="cells", modality="drawing", axis="2d", label="disc")


def sample(subject: str, image: int) -> Sample:
    return Sample(row=image, subject=subject, case=f"{subject}-{image}", split="train", area_px=9)


SAMPLES = [sample(subject, image) for subject in "abcde" for image in range(4)]


def test_hash_is_the_same_in_every_process() -> None:
    assert stable_hash(0, "heart", "p1") == 15259178919741006313
    assert stable_hash("ab", "c") != stable_hash("a", "bc")


def test_support_never_holds_the_querys_subject(drawings: Collection) -> None:
    plans, _ = plan_suite(drawings, Settings(support_size=4, draws=3))
    for episode in (episode for plan in plans for episode in plan.episodes):
        assert episode.query.subject not in {sample.subject for sample in episode.support}


@pytest.mark.parametrize(
    "settings",
    [Settings(queries=5), Settings(query_subjects="test"), Settings(query_subjects="test", supports="shared")],
)
def test_queries_without_the_structure_come_after_all_others_and_change_none(
    sparse: Collection, settings: Settings
) -> None:
    (plain,), _ = plan_suite(sparse, settings)
    (plan,), _ = plan_suite(sparse, replace(settings, absent=4))
    assert [each for each in plan.episodes if each.query.area_px] == list(plain.episodes)
    further = [each for each in plan.episodes if not each.query.area_px]
    assert 1 < len({each.query.case for each in further}) <= 4
    assert all(len(each.support) and each.query.subject not in {s.subject for s in each.support} for each in further)
    if settings.query_subjects == "test":
        shown = {sample.subject for each in plan.episodes for sample in each.support}
        assert not shown & {each.query.subject for each in plan.episodes}


def test_rows_of_which_somebody_judged_no_all_pixels_lack_nothing(sparse: SparseCollection) -> None:
    task = sparse.tasks()[0]
    unsure, unseen = SparseCollection.LACKING, SparseCollection.LACKING + 1
    areas, unknown = sparse.areas(task), sparse.unknown_areas(task)
    areas[unseen], unknown[unsure] = -1, 3
    sparse.areas, sparse.unknown_areas = lambda task: areas, lambda task: unknown  # type: ignore[method-assign]
    assert [each.row for each in lacking(sparse, task)] == list(range(unseen + 1, SparseCollection.LACKING + 7))


def test_support_takes_distinct_subjects_first_and_no_sample_twice() -> None:
    support = draw_support(SAMPLES, SAMPLES[0], 6, np.random.default_rng(0))
    assert {sample.subject for sample in support[:4]} == set("bcde")
    assert len(set(support)) == 6


def test_support_is_all_there_is_when_too_few() -> None:
    support = draw_support(SAMPLES, SAMPLES[0], 100, np.random.default_rng(0))
    assert set(support) == {sample for sample in SAMPLES if sample.subject != "a"}


def test_support_does_not_depend_on_the_order_of_samples() -> None:
    first, second = (
        draw_support(samples, SAMPLES[0], 5, np.random.default_rng(3)) for samples in (SAMPLES, SAMPLES[::-1])
    )
    assert first == second


def test_round_robin_by_hand() -> None:
    a0, a1, b0, b1, b2 = (sample(name[0], int(name[1])) for name in ("a0", "a1", "b0", "b1", "b2"))
    assert round_robin([a0, a1, b0, b1, b2]) == [a0, b0, a1, b1, b2]


def test_queries_spread_over_subjects() -> None:
    queries = choose_queries(SAMPLES, TASK.id, Settings(queries=7))
    assert {query.subject for query in queries[:5]} == set("abcde")
    assert len(set(queries)) == 7


def test_queries_of_known_subjects_keep_their_order_when_subjects_are_added() -> None:
    def order(samples: list[Sample]) -> list[Sample]:
        queries = choose_queries(samples, TASK.id, Settings(queries=100))
        return [query for query in queries if query.subject in "abcde"]

    assert order(SAMPLES) == order([*SAMPLES, sample("new", 0), sample("newer", 1)])


def test_draws_differ_and_seeds_differ_and_repetition_does_not() -> None:
    settings = Settings(support_size=3, draws=2)
    plan = plan_task(TASK, SAMPLES, settings)
    first, second = (
        [episode.support for episode in plan.episodes if episode.draw == draw] for draw in range(settings.draws)
    )
    assert first != second
    assert plan == plan_task(TASK, SAMPLES, settings)
    assert plan_hash([plan]) != plan_hash([plan_task(TASK, SAMPLES, replace(settings, seed=1))])


def in_test(samples: list[Sample], subjects: str) -> list[Sample]:
    return [replace(each, split="test") if each.subject in subjects else each for each in samples]


def test_queries_of_test_subjects_have_supports_of_the_others() -> None:
    settings = Settings(support_size=100, draws=2, queries=3, query_subjects="test")
    plan = plan_task(TASK, in_test(SAMPLES, "bd"), settings)
    assert {episode.query.subject for episode in plan.episodes} == set("bd")
    assert len(plan.episodes) == 2 * 3
    for episode in plan.episodes:
        assert {each.subject for each in episode.support} == set("ace")
        assert len(episode.support) == 12


@pytest.mark.parametrize("in_the_split", ["", "abcde"])
def test_where_the_split_has_no_test_subject_or_no_other_a_fifth_is_held_out(in_the_split: str) -> None:
    samples = in_test(SAMPLES, in_the_split)
    held_out = held_out_subjects("cells", samples)
    assert held_out == held_out_subjects("cells", samples[::-1])
    assert len(held_out) == 1
    for seed in range(3):
        plan = plan_task(TASK, samples, Settings(query_subjects="test", seed=seed))
        assert {episode.query.subject for episode in plan.episodes} == held_out


def test_the_fifth_held_out_is_rounded_up_and_never_all() -> None:
    for subjects, expected in (("ab", 1), ("abcde", 1), ("abcdef", 2)):
        assert len(held_out_subjects("cells", [sample(subject, 0) for subject in subjects])) == expected


def test_shared_supports_are_those_of_a_draw() -> None:
    samples = in_test(SAMPLES, "bd")
    settings = Settings(support_size=4, draws=3, queries=5, query_subjects="test", supports="shared")
    plan = plan_task(TASK, samples, settings)
    by_draw = [{episode.support for episode in plan.episodes if episode.draw == draw} for draw in range(3)]
    assert [len(supports) for supports in by_draw] == [1, 1, 1]
    assert len(set.union(*by_draw)) == 3
    fewer = plan_task(TASK, samples, replace(settings, queries=1))
    assert [episode.support for episode in fewer.episodes] == [supports.pop() for supports in by_draw]
    asked = plan_task(TASK, samples, replace(settings, supports="per-query"))
    assert [episode.query for episode in plan.episodes] == [episode.query for episode in asked.episodes]


def test_ensembles_are_consecutive_draws_of_one_query() -> None:
    plan = plan_task(TASK, SAMPLES, Settings(support_size=2, draws=6, queries=2, ensemble=3))
    cases = [episode.query.case for episode in plan.episodes[:2]]
    drawn = [({episode.query.case for episode in group}, [episode.draw for episode in group]) for group in plan.groups]
    assert drawn == [({case}, draws) for draws in ([0, 1, 2], [3, 4, 5]) for case in cases]
    alone = plan_task(TASK, SAMPLES, Settings(support_size=2, draws=6, queries=2))
    assert alone.episodes == plan.episodes
    assert alone.groups == [(episode,) for episode in alone.episodes]
    assert plan_hash([alone]) != plan_hash([plan])


def test_queries_on_which_several_drew_have_all_their_draws_together(annotated: Collection) -> None:
    plans, _ = plan_suite(annotated, Settings(support_size=2, draws=4, queries=20, ensemble=2))
    consensus, ann, bob = with_annotators(annotated, plans)
    assert plan_hash(plans) == plan_hash([consensus, ann, bob])
    assert (ann, bob) == tuple(plans[1:])
    assert {row // 10 for row in consensus.annotators} == {2, 3, 4, 5}  # the subjects on which bob drew, too
    assert set(consensus.annotators.values()) == {(ann.task, bob.task)}
    assert {tuple(episode.draw for episode in group) for group in consensus.groups} == {(0, 1, 2, 3)}
    assert {tuple(episode.draw for episode in group) for group in bob.groups} == {(0, 1), (2, 3)}


def test_task_of_one_subject_is_skipped_with_a_reason(drawings: Collection) -> None:
    plans, skipped = plan_suite(drawings, Settings())
    assert [plan.task.dataset for plan in plans] == ["cells"]
    assert skipped == {"lonely/drawing/2d/disc": "needs 2 labelled subjects, has 1"}


def test_suite_without_tasks_is_an_error(drawings: Collection) -> None:
    expected = r"expected datasets of role dev and 2 labelled subjects, got cells, lonely\. .*: `all` asks for no role"
    with pytest.raises(ValueError, match=expected):
        plan_suite(drawings, Settings(suite="dev"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"suite": "held-out"},
        {"draws": 0},
        {"support_size": -1},
        {"queries": 0},
        {"ensemble": 0},
        {"seed": -1},
        {"absent": -1},
        {"query_subjects": "some"},
        {"query_subjects": "test", "supports": "some"},
        {"supports": "shared"},
        {"draws": 4, "ensemble": 3},
    ],
)
def test_settings_reject_nonsense(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Settings(**wrong)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(support_size=4, draws=2, queries=6), "5458d5918e64cba5"),
        (
            Settings(support_size=4, draws=2, queries=6, seed=1, query_subjects="test", ensemble=2),
            "449fcf417d3749b8",
        ),
        (
            Settings(support_size=4, draws=2, queries=6, query_subjects="test", supports="shared"),
            "f69d66929ab795bf",
        ),
    ],
)
def test_plans_never_change(drawings: Collection, settings: Settings, expected: str) -> None:
    """Published figures are of these episodes."""
    assert plan_hash(plan_suite(drawings, settings)[0]) == expected
