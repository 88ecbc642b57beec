"""Means by hand and intervals by law."""

import random
import sys
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from scipy import stats

from benchmarks.analysis.statistics import (
    DatasetScores,
    Unit,
    differences,
    estimate,
    holm,
    intervals,
    rank,
    resample,
    signed_ranks,
    small_sample_tail,
    subject_means,
    wilcoxon,
)
from benchmarks.scoring.results import Row

NAN = float("nan")


def row(task: str, subject: str, dice: float, draw: int = 0) -> Row:
    return Row("ours", task.split("/")[0], task, subject, "case", draw, 4, "0" * 8, 10, 10, dice)


def scores(*subjects_by_task: list[float]) -> DatasetScores:
    """One predictor's subject means."""
    return DatasetScores(tuple(map(str, range(len(subjects_by_task)))), np.array([subjects_by_task]))


def test_subject_means_average_over_draws_and_leave_gaps() -> None:
    rows = [row("a/x", "s1", 0.2), row("a/x", "s1", 0.4, draw=1), row("a/x", "s2", 1.0), row("a/y", "s2", 0.5)]
    means = subject_means(rows, ["ours"])["a"]
    assert means.tasks == ("a/x", "a/y")
    np.testing.assert_allclose(means.values, [[[0.3, 1.0], [NAN, 0.5]]])


def test_estimate_by_hand() -> None:
    # Dataset one: tasks 0.5 and 0.9 → 0.7. Dataset two: one task 0.1. Mean 0.4.
    assert estimate([scores([0.4, 0.6], [0.9, NAN]), scores([0.1, 0.1])]) == pytest.approx([0.4])


def test_equal_scores_have_a_degenerate_interval() -> None:
    (found,) = intervals([scores([0.8, 0.8], [0.8, NAN]), scores([0.8, 0.8, 0.8])])
    assert (found.mean, found.low, found.high) == pytest.approx((0.8, 0.8, 0.8))
    assert found.subjects == 5


def test_interval_is_wider_when_subjects_differ_more() -> None:
    calm, wild = (intervals([scores(list(0.5 + spread * np.linspace(-1, 1, 9)))])[0] for spread in (0.1, 0.4))
    assert wild.high - wild.low == pytest.approx(4 * (calm.high - calm.low))


def test_one_task_is_the_plain_bootstrap_of_its_subjects() -> None:
    values = np.random.default_rng(0).normal(0.6, 0.1, 30)
    (found,) = intervals([scores(list(values))], replicates=4000)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * values.std() / np.sqrt(30), rel=0.05)


def test_tasks_of_one_dataset_resample_the_same_subjects() -> None:
    """Two tasks that rank subjects oppositely cancel whenever both are drawn: in half of the resamples."""
    up = np.random.default_rng(2).uniform(0.2, 0.8, 8)
    opposed = DatasetScores(("up", "down"), np.array([[up, 1 - up]]))
    assert np.isclose(resample([opposed]), 0.5).mean() == pytest.approx(0.5, abs=0.05)


def test_paired_difference_of_a_constant_gain_has_no_width() -> None:
    base = np.random.default_rng(1).uniform(0.2, 0.7, (2, 6))
    table = DatasetScores(("x", "y"), np.stack([base + 0.15, base]))
    itself, gain = differences([table], reference=0)
    assert (itself.mean, itself.low, itself.high) == pytest.approx((0, 0, 0))
    assert (gain.mean, gain.low, gain.high) == pytest.approx((0.15, 0.15, 0.15))


def test_same_seed_same_interval() -> None:
    table = [scores([0.1, 0.5, 0.9])]
    assert intervals(table, seed=3) == intervals(table, seed=3)


def test_tasks_with_subjects_of_their_own_are_added_up_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.full((2, 5, 20), np.nan)
    for task in range(5):
        values[:, task, 4 * task : 4 * task + 4] = np.random.default_rng(task).random((2, 4))
    scores = [DatasetScores(tuple("abcde"), values)]
    apart = resample(scores, seed=1)
    monkeypatch.setattr("benchmarks.analysis.statistics.LEAST_SHARED", 0.0)
    np.testing.assert_allclose(apart, resample(scores, seed=1), rtol=1e-12)


def test_single_task_drops_subjects_without_it() -> None:
    table = scores([0.4, NAN, 0.6], [0.9, 0.9, 0.9])
    np.testing.assert_allclose(table.task("0").values, [[[0.4, 0.6]]])


def simulated(unit: Unit, rng: np.random.Generator) -> list[DatasetScores]:
    """Images of twelve subjects, in tasks of mean 0.6 whose difficulty differs by task, or rather by dataset."""
    found = []
    of_dataset, of_task = (0.0, 0.1) if unit == "task" else (0.1, 0.05)
    for tasks in [4] * 6 if unit == "task" else [1, 1, 2] * 8:
        means = 0.6 + rng.normal(0, of_dataset) + rng.normal(0, of_task, (tasks, 1))
        subjects = rng.normal(0, 0.06, 12) + rng.normal(0, 0.08, (tasks, 12))
        images = rng.normal(0, 0.1, (tasks, 12, 3)).mean(axis=2)
        found.append(DatasetScores(tuple(map(str, range(tasks))), (means + subjects + images)[None]))
    return found


@pytest.mark.parametrize("unit", ["task", "dataset"])
def test_of_100_intervals_95_hold_the_truth(unit: Unit) -> None:
    """Between 92 and 98, in 150 repetitions."""
    rng = np.random.default_rng(0)
    found = [intervals(simulated(unit, rng), replicates=200, unit=unit)[0] for _ in range(150)]
    assert 0.92 <= np.mean([each.low <= 0.6 <= each.high for each in found]) <= 0.98


def test_few_datasets_have_the_tails_of_student() -> None:
    for count in (7, 9, 30):
        expected = stats.norm.cdf(stats.t.ppf(0.025, count - 1) * np.sqrt(count / (count - 1)))
        assert small_sample_tail(count) == pytest.approx(expected, rel=0.05)


def test_datasets_whose_tasks_are_alike_need_a_wider_interval() -> None:
    alike = [scores(*[[mean] * 4] * 6) for mean in np.linspace(0.3, 0.9, 7)]
    by_task, by_dataset = (intervals(alike, unit=unit)[0] for unit in ("task", "dataset"))
    assert by_task.mean == by_dataset.mean
    assert by_dataset.high - by_dataset.low > 1.5 * (by_task.high - by_task.low)


def many_rows(predictors: int = 3, tasks: int = 25, subjects: int = 40, draws: int = 5) -> list[Row]:
    rng = random.Random(0)
    return [
        Row(f"p{p}", f"d{t % 9}", f"d{t % 9}/t{t}", f"s{s}", "0", draw, 4, "0" * 8, 10, 10, round(rng.random(), 6))
        for p, t, s, draw in product(range(predictors), range(tasks), range(subjects), range(draws))
    ]


def calls(work: Callable[[], object]) -> int:
    """How many functions some work calls: what the interpreter does, whatever its machine does besides."""
    count = 0

    def counted(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_resamples_are_drawn_together() -> None:
    scores = list(subject_means(many_rows(tasks=4, subjects=5), ["p0", "p1", "p2"]).values())
    few = calls(lambda: resample(scores, replicates=10))
    assert calls(lambda: resample(scores, replicates=1000)) < few + 100


def test_the_order_of_rows_changes_no_bit() -> None:
    rows, names = many_rows(), ["p0", "p1", "p2"]
    resampled = resample(list(subject_means(rows, names).values()), replicates=10_000)
    random.Random(1).shuffle(rows)
    assert np.array_equal(resample(list(subject_means(rows, names).values()), replicates=10_000), resampled)


def test_published_intervals_stay() -> None:
    """What this seed gave for the figures of README must not drift: a new stream of numbers would change them all."""
    (found, *_) = intervals(list(subject_means(many_rows(draws=1), ["p0"]).values()))
    assert (found.mean, found.low, found.high) == pytest.approx((0.4962218833, 0.4659613670, 0.5268296407))


def test_rows_may_be_arranged_by_anything() -> None:
    rows = [row("a/x", "s1", 0.2), row("a/x", "s2", 0.6)]
    means = subject_means(rows, ["s2", "s1"], metric="label_px", column=lambda each: each.subject)
    np.testing.assert_allclose(means["a"].values, [[[NAN, 10]], [[10, NAN]]])


def test_what_failed_is_left_out_on_both_sides() -> None:
    """The first predictor failed on the hard task: its mean rises, its difference does not."""
    table = [DatasetScores(("easy", "hard"), np.array([[[0.9, 0.9], [NAN, NAN]], [[0.8, 0.8], [0.2, 0.2]]]))]
    np.testing.assert_allclose(estimate(table), [0.9, 0.5])
    itself, gain = differences(table, reference=0)
    assert (itself.mean, gain.mean, gain.low, gain.high) == pytest.approx((0, 0.1, 0.1, 0.1))
    (failed,) = intervals([scores([NAN, NAN])])
    assert np.isnan([failed.mean, failed.low, failed.high]).all()


def test_a_task_that_failed_gives_its_share_to_the_others_of_its_dataset() -> None:
    both = DatasetScores(("x", "y"), np.array([[[0.9, 0.9], [NAN, NAN]]]))
    assert estimate([both, scores([0.1, 0.1])]) == pytest.approx([0.5])
    assert np.nanmean(resample([both, scores([0.1, 0.1])])) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("count", [1, 5, 12, 40])
def test_wilcoxon_is_that_of_scipy(count: int) -> None:
    gains = np.random.default_rng(count).normal(0.3, 1, count)
    assert wilcoxon(gains) == pytest.approx(stats.wilcoxon(gains, method="exact").pvalue, abs=1e-12)


def test_wilcoxon_with_ties_is_that_of_all_patterns_of_signs() -> None:
    gains = np.array([0.1, 0.1, -0.1, 0.3, 0.2, 0.2, -0.3, 0.3, 0.5])
    ranks = stats.rankdata(abs(gains))
    sums = np.array([ranks[np.array(signs)].sum() for signs in product([False, True], repeat=9)])
    expected = 2 * min((sums <= ranks[gains > 0].sum()).mean(), (sums >= ranks[gains > 0].sum()).mean())
    assert wilcoxon(gains) == pytest.approx(expected)


def test_wilcoxon_by_hand() -> None:
    assert wilcoxon(np.array([])) == wilcoxon(np.zeros(4)) == 1
    assert wilcoxon(np.array([0.1, 0.2, 0.3, 0.4])) == pytest.approx(2 / 2**4)
    assert wilcoxon(np.array([0.1, 0.2, 0.3, -0.4])) == pytest.approx(2 * 7 / 2**4)  # {}, 1, 2, 3, 1+2, 4, 1+3 are ≤ 4
    assert wilcoxon(np.array([0.3 - 0.2, 0.1, 0.1])) == wilcoxon(np.ones(3))


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm(np.array([0.03, 0.01, 0.04, 0.6])), [0.09, 0.04, 0.09, 0.6])
    assert holm(np.array([])).shape == (0,)


def test_signed_ranks_over_tasks() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0.2, 0.7, (10, 6))
    noisy = base + 0.1 + rng.normal(0, 0.1, base.shape)
    table = DatasetScores(tuple(map(str, range(10))), np.stack([base + 0.1, base, noisy]))
    itself, better, noise = signed_ranks([table], reference=0)
    assert (better.tasks, better.wins, better.losses) == (10, 10, 0)
    assert (better.p, better.adjusted_p) == pytest.approx((2 / 2**10, 4 / 2**10))
    assert noise.p == noise.adjusted_p > 0.05
    assert (itself.wins, itself.losses, itself.p, itself.adjusted_p) == (0, 0, 1, 1)


def test_ranks_by_hand() -> None:
    """Of four resamples, the second predictor overtakes the first in one and equals it in another."""
    resampled = np.array([[0.9, 0.5, 0.1], [0.5, 0.9, 0.1], [0.7, 0.7, 0.1], [0.9, 0.5, 0.1], [0.9, 0.5, NAN]])
    found = rank(np.array([0.8, 0.6, 0.1]), resampled)
    np.testing.assert_allclose(found.shares, [[2.5 / 4, 1.5 / 4, 0], [1.5 / 4, 2.5 / 4, 0], [0, 0, 1]])
    assert found.kendall_tau == pytest.approx(np.mean([1, 1 / 3, 2 / 3, 1]))


def test_kendall_tau_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    means, resampled = rng.random(6), rng.random((20, 6))
    expected = np.mean([stats.kendalltau(means, each).statistic for each in resampled])
    assert rank(means, resampled).kendall_tau == pytest.approx(expected)


def test_one_predictor_is_always_first() -> None:
    found = rank(np.array([0.5]), np.array([[0.4], [0.6]]))
    assert (found.shares.item(), found.kendall_tau) == (1, 1)
