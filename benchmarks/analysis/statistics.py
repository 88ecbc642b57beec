"""Means, intervals, tests and ranks that respect how scores hang together: dataset, task, subject, image.

The score of a suite is the mean over datasets of the mean over tasks of the mean over subjects of the mean
over a subject's images and support draws. Its interval comes from a clustered bootstrap. Tasks are drawn with
replacement, each carrying its share of the mean: one over its dataset's number of tasks. Within every
dataset, subjects are drawn with replacement, once for all its tasks, because neither slices of a subject nor
two structures in one body are independent. A drawn subject brings all its images: they are never drawn apart.
Predictors share resamples, so that their difference is paired.

The interval is about further tasks like these. For a claim about further datasets, whose tasks resemble each other
more than those of others, draw whole datasets instead (`unit="dataset"`).

What a predictor has no score for, such as a task on which it failed, is left out of its mean, and out of its
difference from another predictor on both sides: a difference never profits from what is missing.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from statistics import NormalDist, fmean
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

REPLICATES = 2000
"""Bootstrap resamples: the interval's ends move by less than a tenth of its width from seed to seed."""

TAIL = 0.025
"""Share of the resamples that a 95 % interval excludes at either end."""

LEAST_SHARED = 0.5
"""Share of the subjects of a dataset that a task must have, on average, for all tasks to be added up together."""

Unit = Literal["task", "dataset"]
"""Top level of the clustered bootstrap: tasks, or whole datasets, are drawn with replacement."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    mean: float
    low: float
    high: float
    subjects: int = 0
    """Number of subjects that the estimate is of; 0 where it is not of subjects."""

    def scaled(self, factor: float) -> "Interval":
        """The interval in another unit."""
        return replace(self, mean=factor * self.mean, low=factor * self.low, high=factor * self.high)

    def written(self, form: str = ".1f") -> str:
        """The estimate and the ends of its interval, `81.2 (78.0, 84.1)`; one subject tells nothing of an interval."""
        if self.is_lone and self.subjects != 1:
            return f"{self.mean:{form}}"
        ends = "one subject" if self.is_lone else f"{self.low:{form}}, {self.high:{form}}"
        return f"{self.mean:{form}} ({ends})"

    @property
    def is_lone(self) -> bool:
        """Whether it has no interval, being of one subject, or a single measurement of something else."""
        return self.subjects == 1 or (self.subjects == 0 and self.low == self.high)


@dataclass(frozen=True)
class DatasetScores:
    """Subject means of one dataset, for P predictors (or groups of rows), T tasks and N subjects."""

    tasks: tuple[str, ...]
    values: Float[np.ndarray, "P T N"]
    """Mean score of each subject in each task; NaN where the subject has no query in the task."""

    def task(self, name: str) -> "DatasetScores":
        """Scores of a single task, with the subjects that occur in it alone."""
        values = self.values[:, [self.tasks.index(name)]]
        return DatasetScores((name,), values[:, :, ~np.isnan(values).all(axis=(0, 1))])

    @property
    def task_means(self) -> Float[np.ndarray, "P T"]:
        """Mean score of each task over its subjects, per predictor; subjects without a score are left out."""
        return _mean(self.values, axis=2)


@runtime_checkable
class OfSubject(Protocol):
    """Anything that was measured of a subject in a task, such as a `Row`."""

    @property
    def dataset(self) -> str:
        """Id of the dataset."""

    @property
    def task(self) -> str:
        """Id of the task."""

    @property
    def subject(self) -> str:
        """Name of the subject."""


def subject_means(
    rows: Iterable[OfSubject],
    columns: Sequence[str],
    metric: str = "dice",
    column: Callable[[Any], str] = attrgetter("predictor"),
) -> dict[str, DatasetScores]:
    """Average rows over images and draws, and arrange the means by dataset, sorted by id.

    The result is equal to the last bit for any order of the rows.

    Args:
        rows: Rows in any order.
        columns: Names along the first axis of the scores, in the order wanted; rows of other names are left out.
        metric: Field of the rows to average.
        column: Function from a row to the name that it counts for; by default, the name of its predictor.
    """
    cells: dict[str, dict[tuple[str, str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if (name := column(row)) in columns:
            cells[row.dataset][row.task, row.subject, name].append(float(getattr(row, metric)))
    return {dataset: _dataset_scores(cells[dataset], columns) for dataset in sorted(cells)}


def _dataset_scores(cells: dict[tuple[str, str, str], list[float]], columns: Sequence[str]) -> DatasetScores:
    tasks = sorted({task for task, _, _ in cells})
    subjects = sorted({subject for _, subject, _ in cells})
    task_at, subject_at = ({name: index for index, name in enumerate(names)} for names in (tasks, subjects))
    values = np.full((len(columns), len(tasks), len(subjects)), np.nan)
    for (task, subject, name), scores in cells.items():
        values[columns.index(name), task_at[task], subject_at[subject]] = fmean(scores)
    return DatasetScores(tuple(tasks), values)


def estimate(scores: Sequence[DatasetScores]) -> Float[np.ndarray, " P"]:
    """Mean over datasets of the mean over tasks of the mean over subjects, per predictor."""
    return _mean(np.stack([_mean(dataset.task_means, axis=1) for dataset in scores]), axis=0)


def resample(
    scores: Sequence[DatasetScores], seed: int = 0, replicates: int = REPLICATES, unit: Unit = "task"
) -> Float[np.ndarray, "R P"]:
    """Estimates on bootstrap resamples of tasks (or datasets) and, within datasets, of subjects.

    An estimate is NaN where the resample holds nothing that the predictor has a score for.
    """
    rng = np.random.default_rng(seed)
    means = np.concatenate([_resample_subjects(dataset.values, replicates, rng) for dataset in scores], axis=2)
    dataset_of = np.repeat(np.arange(len(scores)), [len(dataset.tasks) for dataset in scores])
    top = np.arange(len(dataset_of)) if unit == "task" else dataset_of
    n_top = int(top[-1]) + 1
    drawn = rng.multinomial(n_top, np.full(n_top, 1 / n_top), size=replicates)[:, top]
    shares = np.concatenate([_shares(dataset.task_means) for dataset in scores], axis=1)
    # A task none of whose subjects was drawn has no mean in that resample and gives its share to the others.
    weights = np.where(np.isnan(means), 0.0, drawn[:, None, :] * shares)
    return _divide((weights * np.nan_to_num(means)).sum(axis=2), weights.sum(axis=2))


def _shares(task_means: Float[np.ndarray, "P T"]) -> Float[np.ndarray, "P T"]:
    """Weight of each task in its dataset's mean: equal shares for those with a score."""
    known = ~np.isnan(task_means)
    return known / np.maximum(1, known.sum(axis=1, keepdims=True))


def _resample_subjects(
    values: Float[np.ndarray, "P T N"], replicates: int, rng: np.random.Generator
) -> Float[np.ndarray, "R P T"]:
    """Task means over subjects drawn with replacement; NaN where none of a task's subjects was drawn."""
    n_subjects = values.shape[2]
    counts = rng.multinomial(n_subjects, np.full(n_subjects, 1 / n_subjects), size=replicates).astype(float)
    known = ~np.isnan(values)
    if known.mean() >= LEAST_SHARED:
        sums = [each @ counts.T for each in (np.nan_to_num(values), known.astype(float))]
    else:  # tasks of few subjects out of many, as where each has its own: theirs alone are added up
        per_task = [_sums_of_task(values[:, index], known[:, index], counts) for index in range(values.shape[1])]
        sums = [np.stack(each, axis=1) for each in zip(*per_task, strict=True)]
    totals, weights = (np.moveaxis(each, 2, 0) for each in sums)
    return _divide(totals, weights)


def _sums_of_task(
    values: Float[np.ndarray, "P N"], known: Bool[np.ndarray, "P N"], counts: Float[np.ndarray, "R N"]
) -> tuple[Float[np.ndarray, "P R"], Float[np.ndarray, "P R"]]:
    """Sums of a task's scores over the drawn subjects, and numbers of those with a score."""
    shown = known.any(axis=0)
    drawn = counts[:, shown].T
    return np.nan_to_num(values[:, shown]) @ drawn, known[:, shown].astype(float) @ drawn


def interval(mean: float, resampled: Float[np.ndarray, " R"], tail: float = TAIL) -> Interval:
    """Percentile interval of an estimate: `tail` of the resamples lies beyond either end; NaN without resamples."""
    known = resampled[~np.isnan(resampled)]
    low, high = np.percentile(known, [100 * tail, 100 - 100 * tail]) if len(known) else (np.nan, np.nan)
    return Interval(float(mean), float(low), float(high))


def intervals(
    scores: Sequence[DatasetScores], seed: int = 0, replicates: int = REPLICATES, unit: Unit = "task"
) -> list[Interval]:
    """Estimate of every predictor with its bootstrap interval."""
    resampled = resample(scores, seed, replicates, unit)
    tail = small_sample_tail(len(scores)) if unit == "dataset" and len(scores) > 2 else TAIL
    found = (interval(mean, resampled[:, index], tail) for index, mean in enumerate(estimate(scores)))
    return [replace(each, subjects=count) for each, count in zip(found, count_subjects(scores), strict=True)]


def count_subjects(scores: Sequence[DatasetScores]) -> list[int]:
    """Number of subjects with a score, by predictor."""
    return [int(count) for count in sum((~np.isnan(each.values)).any(axis=1).sum(axis=1) for each in scores)]


def small_sample_tail(count: int) -> float:
    """Share to cut off at either end of a bootstrap over `count` clusters, so that it is as wide as a t-interval.

    A plain percentile interval is too narrow where clusters are few.

    Source:
        Hesterberg, Am. Stat. 2015: expanded percentiles; Student's t by the expansion of Cornish and Fisher.
    """
    normal, freedom = NormalDist(), count - 1
    z = normal.inv_cdf(1 - TAIL)
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return normal.cdf(-t * math.sqrt(count / freedom))


def differences(
    scores: Sequence[DatasetScores],
    reference: int,
    seed: int = 0,
    replicates: int = REPLICATES,
    unit: Unit = "task",
) -> list[Interval]:
    """Paired differences, reference minus every predictor, where both have a score, on the same resamples."""
    minus = [replace(dataset, values=dataset.values[[reference]] - dataset.values) for dataset in scores]
    return intervals(minus, seed, replicates, unit)


@dataclass(frozen=True)
class SignedRank:
    """Wilcoxon's signed-rank test of a reference against another predictor, over tasks."""

    tasks: int
    """Number of tasks on which both have a score."""
    wins: int
    """Number of tasks on which the reference is better."""
    losses: int
    p: float
    """Two-sided p-value: probability of ranks at least as uneven if neither predictor were better."""
    adjusted_p: float
    """P-value adjusted by Holm's method for the number of predictors that the reference is compared with."""


def signed_ranks(scores: Sequence[DatasetScores], reference: int) -> list[SignedRank]:
    """Test the reference against every predictor on the task means; against itself, nothing is found.

    Every task counts once, whatever its dataset, and as if independent of the others: beside a difference whose
    interval holds 0, a small p means that the gain is frequent rather than that it is large.
    """
    means = np.concatenate([dataset.task_means for dataset in scores], axis=1)
    gains = [each[~np.isnan(each)] for each in means[reference] - means]
    chances = np.array([wilcoxon(each) for each in gains])
    others = np.arange(len(gains)) != reference
    adjusted = np.ones(len(gains))
    adjusted[others] = holm(chances[others])
    return [
        SignedRank(len(gain), int((gain > 0).sum()), int((gain < 0).sum()), float(p), float(corrected))
        for gain, p, corrected in zip(gains, chances, adjusted, strict=True)
    ]


def wilcoxon(gains: Float[np.ndarray, " N"]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test: exact at any N, also with ties; zeros are left out.

    Given the ranks, every pattern of signs is equally likely. The chance of each sum of positive ranks follows by
    adding one rank after the other, with or without; ranks are doubled, so that those of ties are whole.

    Source:
        Wilcoxon 1945; checked against scipy.stats.wilcoxon, which knows no exact test with ties.
    """
    rounded = np.round(gains, 9)
    nonzero = rounded[rounded != 0]
    _, group, ties = np.unique(np.abs(nonzero), return_inverse=True, return_counts=True)
    doubled: Int[np.ndarray, " N"] = (2 * ties.cumsum() - ties + 1)[group]
    chances = np.zeros(doubled.sum() + 1)
    chances[0] = 1
    for rank in doubled:
        chances[rank:] = (chances[rank:] + chances[:-rank]) / 2
        chances[:rank] /= 2
    positive = doubled[nonzero > 0].sum()
    smaller = min(positive, doubled.sum() - positive)
    return float(min(1.0, 2 * chances[: smaller + 1].sum()))


def holm(chances: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Adjust p-values so that the chance of any false finding among them stays below the level.

    Source:
        Holm, Scand. J. Statist. 1979.
    """
    order = np.argsort(chances, kind="stable")
    steps = np.minimum(1, chances[order] * np.arange(len(chances), 0, -1))
    adjusted = np.empty_like(chances)
    adjusted[order] = np.maximum.accumulate(steps)
    return adjusted


@dataclass(frozen=True)
class Ranking:
    """Uncertainty of a ranking of predictors."""

    shares: Float[np.ndarray, "P P"]
    """Share of resamples in which a predictor (row) has a rank (column, the first is best); ties share their ranks."""
    kendall_tau: float
    """Mean agreement of the resamples' order with that of the estimates: 1 if always the same, 0 if unrelated."""


def rank(means: Float[np.ndarray, " P"], resampled: Float[np.ndarray, "R P"]) -> Ranking:
    """Rank predictors on every resample, the highest first; negate both for errors.

    Args:
        means: Estimate of each predictor.
        resampled: Resampled means, as from `resample`; one in which a predictor has no score is left out.
    """
    known = resampled[~np.isnan(resampled).any(axis=1)]
    signs = np.sign(known[:, :, None] - known[:, None, :])
    better, equal = (signs < 0).sum(axis=2)[..., None], (signs == 0).sum(axis=2)[..., None]
    ranks = np.arange(len(means))
    holds: Bool[np.ndarray, "R P P"] = (better <= ranks) & (ranks < better + equal)
    pairs = np.triu_indices(len(means), k=1)
    agreement = (signs * np.sign(means[:, None] - means[None, :]))[:, pairs[0], pairs[1]]
    tau = float(agreement.mean()) if agreement.size else 1.0
    return Ranking((holds / equal).mean(axis=0), tau)


def _mean(values: Float[np.ndarray, "..."], axis: int) -> Float[np.ndarray, "..."]:
    """Mean over the values that are not NaN; NaN where all of them are."""
    return _divide(np.nan_to_num(values).sum(axis=axis), (~np.isnan(values)).sum(axis=axis))


def _divide(totals: Float[np.ndarray, "..."], weights: np.ndarray) -> Float[np.ndarray, "..."]:
    """Totals divided by weights; NaN where a weight is 0."""
    return np.divide(totals, weights, out=np.full(totals.shape, np.nan), where=weights > 0)
