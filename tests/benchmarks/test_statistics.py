"""Means by hand and intervals by law."""

import numpy as np
import pytest

from benchmarks.results import Row
from benchmarks.statistics import DatasetScores, differences, estimate, intervals, resample, subject_means

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
    np.testing.assert_allclose(means.dice, [[[0.3, 1.0], [NAN, 0.5]]])


def test_estimate_by_hand() -> None:
    # Dataset one: tasks 0.5 and 0.9 → 0.7. Dataset two: one task 0.1. Mean 0.4.
    assert estimate([scores([0.4, 0.6], [0.9, NAN]), scores([0.1, 0.1])]) == pytest.approx([0.4])


def test_equal_scores_have_a_degenerate_interval() -> None:
    (found,) = intervals([scores([0.8, 0.8], [0.8, NAN]), scores([0.8, 0.8, 0.8])])
    assert (found.mean, found.low, found.high) == pytest.approx((0.8, 0.8, 0.8))


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


def test_coverage_of_a_known_mean() -> None:
    """Sixteen tasks of random difficulty with ten subjects each: about 95 of 100 intervals hold the truth."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(100):
        tasks = 0.6 + rng.normal(0, 0.1, (16, 1)) + rng.normal(0, 0.1, (16, 10))
        (found,) = intervals([scores(list(task)) for task in tasks], replicates=200)
        held += found.low <= 0.6 <= found.high
    assert 88 <= held <= 100


def test_single_task_drops_subjects_without_it() -> None:
    table = scores([0.4, NAN, 0.6], [0.9, 0.9, 0.9])
    np.testing.assert_allclose(table.task("0").dice, [[[0.4, 0.6]]])
