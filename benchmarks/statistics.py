"""Means and intervals that respect how scores hang together: dataset, task, subject.

The score of a suite is the mean over datasets of the mean over tasks of the mean over subjects of the mean
over a subject's images and support draws. Its interval comes from a clustered bootstrap. Tasks are drawn with
replacement, each carrying its share of the mean: one over its dataset's number of tasks. Within every
dataset, subjects are drawn with replacement, once for all its tasks, because neither slices of a subject nor
two structures in one body are independent. Predictors share resamples, so that their difference is paired.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from benchmarks.results import Row

REPLICATES = 2000
"""Bootstrap resamples: the interval's ends move by less than a tenth of its width from seed to seed."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class DatasetScores:
    """Subject means of one dataset, for P predictors, T tasks and N subjects."""

    tasks: tuple[str, ...]
    dice: Float[np.ndarray, "P T N"]
    """NaN where a subject has no query in a task."""

    def task(self, name: str) -> "DatasetScores":
        """The same scores for one task and its subjects alone."""
        dice = self.dice[:, [self.tasks.index(name)]]
        return DatasetScores((name,), dice[:, :, ~np.isnan(dice).all(axis=(0, 1))])


def subject_means(rows: Iterable[Row], predictors: Sequence[str]) -> dict[str, DatasetScores]:
    """Average over images and draws, and arrange by dataset (sorted by id)."""
    cells: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)
    for row in rows:
        cells[row.dataset, row.task, row.subject, row.predictor].append(row.dice)
    return {
        dataset: _dataset_scores({key[1:]: dice for key, dice in cells.items() if key[0] == dataset}, predictors)
        for dataset in sorted({key[0] for key in cells})
    }


def _dataset_scores(cells: dict[tuple[str, str, str], list[float]], predictors: Sequence[str]) -> DatasetScores:
    tasks = sorted({task for task, _, _ in cells})
    subjects = sorted({subject for _, subject, _ in cells})
    dice = np.full((len(predictors), len(tasks), len(subjects)), np.nan)
    for (task, subject, predictor), values in cells.items():
        if predictor in predictors:
            dice[predictors.index(predictor), tasks.index(task), subjects.index(subject)] = np.mean(values)
    return DatasetScores(tuple(tasks), dice)


def estimate(scores: Sequence[DatasetScores]) -> Float[np.ndarray, " P"]:
    """Mean over datasets of the mean over tasks of the mean over subjects, per predictor."""
    return np.mean([np.nanmean(dataset.dice, axis=2).mean(axis=1) for dataset in scores], axis=0)


def resample(scores: Sequence[DatasetScores], seed: int = 0, replicates: int = REPLICATES) -> Float[np.ndarray, "R P"]:
    """The estimate on bootstrap resamples of tasks and, within datasets, of subjects."""
    rng = np.random.default_rng(seed)
    means = np.concatenate([_resample_subjects(dataset.dice, replicates, rng) for dataset in scores], axis=2)
    shares = np.concatenate([np.full(len(dataset.tasks), 1 / len(dataset.tasks)) for dataset in scores])
    drawn = rng.multinomial(len(shares), np.full(len(shares), 1 / len(shares)), size=replicates) * shares
    # A task none of whose subjects was drawn has no mean in that resample and gives its share to the others.
    weights = np.where(np.isnan(means), 0.0, drawn[:, None, :])
    with np.errstate(invalid="ignore"):
        resampled = (weights * np.nan_to_num(means)).sum(axis=2) / weights.sum(axis=2)
    return resampled[~np.isnan(resampled).any(axis=1)]


def _resample_subjects(
    dice: Float[np.ndarray, "P T N"], replicates: int, rng: np.random.Generator
) -> Float[np.ndarray, "R P T"]:
    """Task means over subjects drawn with replacement; NaN where none of a task's subjects was drawn."""
    n_subjects = dice.shape[2]
    counts = rng.multinomial(n_subjects, np.full(n_subjects, 1 / n_subjects), size=replicates).astype(float)
    totals = np.einsum("rn,ptn->rpt", counts, np.nan_to_num(dice))
    weights = np.einsum("rn,ptn->rpt", counts, (~np.isnan(dice)).astype(float))
    with np.errstate(invalid="ignore"):
        return totals / weights


def interval(mean: float, resampled: Float[np.ndarray, " R"]) -> Interval:
    """The 2.5th and 97.5th percentile of the resamples around an estimate."""
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Interval(float(mean), float(low), float(high))


def intervals(scores: Sequence[DatasetScores], seed: int = 0, replicates: int = REPLICATES) -> list[Interval]:
    """The estimate of every predictor with its interval."""
    resampled = resample(scores, seed, replicates)
    return [interval(mean, resampled[:, place]) for place, mean in enumerate(estimate(scores))]


def differences(
    scores: Sequence[DatasetScores], reference: int, seed: int = 0, replicates: int = REPLICATES
) -> list[Interval]:
    """The reference predictor minus every predictor, on the same resamples."""
    means, resampled = estimate(scores), resample(scores, seed, replicates)
    return [
        interval(means[reference] - mean, resampled[:, reference] - resampled[:, place])
        for place, mean in enumerate(means)
    ]
