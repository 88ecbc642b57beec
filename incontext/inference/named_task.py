"""Labelled images of a collection for a structure that is named: of its tasks the one that fits the queries best."""

import copy
import math
import textwrap
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import UInt8
from torch.nn import functional as F

from incontext.images.close_ups import extent, magnified
from incontext.images.contrast import CONTRAST, QUANTILES, distances
from incontext.images.examples import SAMPLED_CASES, Pictures, as_list, as_source_images, spread, thinned
from incontext.images.normalisation import Normalisation, choose
from incontext.images.source_image import SourceImage
from incontext.inference.image_source import ImageSource
from incontext.inference.leave_one_out import LEAST_EXAMPLES, leave_one_out
from incontext.inference.task_estimator import TaskEstimator
from megamed.collection import Collection
from megamed.names import find, named_tasks
from megamed.schema import Sample, Task
from megamed.squares import CT_WINDOW_HU
from megamed.terms import fold, split_modalities
from megamed.unknown import UNKNOWN, foreground

Learner = TypeVar("Learner", bound=TaskEstimator)

MOST_TASKS = 8
"""Tasks of a structure that are compared; further ones are the less likely meanings of its name."""
LOOKED_AT = 64
"""Labelled images of a task that are compared with the images to segment."""
SHOWN = 16
"""Labelled images by which the magnification is chosen."""
MOST_IMAGES = 32
"""Labelled images of a task that are kept to choose supports from: those most like the images to segment."""
JUDGED = 12
"""Labelled images of a task that segment each other, by which it is ranked."""
NEAREST = 3
"""Labelled images that an image to segment has to be like."""
LIKENESS_SCALE = 0.03
"""Lack of likeness by which a task's Dice counts less by a factor of e."""
CONTRAST_SCALE = CONTRAST
"""Difference in contrast by which it counts less by that factor: the largest within a dataset. A negative of the images
has much the same features, and is no example for them."""
MAGNIFICATIONS = (1.0, 0.5, 0.7, 1.4, 2.0, 2.8, 4.0)
"""Magnifications that labelled images may be shown at, to be like the images to segment."""
LEAST_GAIN = 0.5
"""Least decrease of their `_unlikeness` for which they are shown otherwise than they are."""
LEAST_SEEN = 0.75
"""Least share of these labels that has to be seen at a magnification for it to be tried."""
LONGEST_LICENCE = 60
"""Letters of a licence that a line on a source has room for."""
FULL = 255
"""Stored value of 1."""


@dataclass(frozen=True)
class ComparedTask:
    """A task of a collection that answers to a name, and how well it suits.

    Attributes:
        task: The task.
        title: Title of its dataset.
        licence: Licence of the dataset as its source states it; empty if it is not known.
        images: Number of its labelled images that were looked at.
        dice: Mean Dice of some of its images, each segmented by the others; None if they are too few.
        likeness: Mean cosine of the features of the images to segment and of those nearest to them, at most 1; None if
            no images to segment were given.
        contrast: Median difference of their quantiles of grey values in [0, 1], as in `incontext.images.contrast`.
        magnification: How many times as large they are shown as they are in the collection.
        unread: Words of the name that nothing is known of, and that were left out.
    """

    task: Task
    title: str
    licence: str
    images: int
    dice: float | None
    likeness: float | None = None
    contrast: float = 0.0
    magnification: float = 1.0
    unread: tuple[str, ...] = ()

    def __str__(self) -> str:
        signs = {"Dice on itself": self.dice, "likeness": self.likeness}
        told = "".join(f", {name} {value:.2f}" for name, value in signs.items() if value is not None)
        close = f", shown {self.magnification:g} times as large" if self.magnification != 1 else ""
        licence = textwrap.shorten(self.licence or "unknown", LONGEST_LICENCE, placeholder=" …")
        left_out = f"; not knowing {', '.join(self.unread)}" if self.unread else ""
        return f"{self.task.id} ({self.title}; licence: {licence}; {self.images} images{close}{told}{left_out})"

    @property
    def worth(self) -> float:
        """Dice of the task on itself, the less the more unlike its images are."""
        unlike = 0.0 if self.likeness is None else _unlikeness(self.likeness, self.contrast)
        return (self.dice or 0.0) * math.exp(-unlike)


def opened(collection: str | Path | Collection) -> AbstractContextManager[Collection]:
    """Open a collection for as long as it is needed, unless somebody has opened it."""
    return nullcontext(collection) if isinstance(collection, Collection) else Collection(collection)


def fit_named(
    learner: Learner, collection: Collection, name: str, like: Pictures | None = None
) -> tuple[Learner, tuple[ComparedTask, ...]]:
    """Let an estimator learn a structure that is named from a collection.

    Of the tasks that mean it, the one is taken whose images do best in segmenting each other and are most like the
    images to segment, at the magnification that makes them so. A collection's images are scaled already; those to
    segment are scaled as their own values call for, and if none are given as the task's modality does.

    Args:
        learner: Estimator with parameters and no examples; it stays as it is.
        collection: Collection to look in.
        name: Name of a structure, and if wanted of a modality, in the words of `megamed.names.find`.
        like: Some of the images to segment.

    Returns:
        The estimator that has learned, and the tasks that were compared, of which it learned from the first.

    Raises:
        ValueError: If no task is of the structure; the message has the nearest names.
    """
    found = find(name, named_tasks(collection))
    if not found.hits:
        raise ValueError(found.refusal())
    compared = compared_tasks(learner, collection, found.tasks[:MOST_TASKS], like)
    best = compared[0][0]
    if learner.tune:
        best.set_params(tune=learner.tune).tuned  # noqa: B018 - it is tuned now and not at the first image
    return best, tuple(replace(source, unread=tuple(found.unread)) for _, source in compared)


def compared_tasks(
    learner: Learner, collection: Collection, tasks: Sequence[Task], like: Pictures | None = None
) -> list[tuple[Learner, ComparedTask]]:
    """Let copies of an estimator learn each of some tasks, and order them by how well they suit, the best first.

    Args:
        learner: Estimator with parameters and no examples; it stays as it is.
        collection: Collection of the tasks.
        tasks: Tasks to compare.
        like: Some of the images to segment.
    """
    sample = [] if like is None else _sample(learner, like)
    compared = [_Candidate(learner, collection, task, sample).learned() for task in tasks]
    return sorted(compared, key=lambda each: -each[1].worth)


def _sample(learner: TaskEstimator, like: Pictures) -> list[SourceImage]:
    """Read some of the images to segment, thinned."""
    pictures = as_list(like)
    chosen = [pictures[index] for index in spread(len(pictures), SAMPLED_CASES)]
    return [thinned(case) for case in as_source_images(chosen, learner.channel, learner.level)]


class Nearness(NamedTuple):
    """Order of labelled images by their likeness to those to segment, and what `ComparedTask` tells of them."""

    order: Sequence[int]
    likeness: float | None = None
    contrast: float = 0.0
    magnification: float = 1.0

    @property
    def unlikeness(self) -> float:
        """Lack of likeness and difference in contrast, on one scale."""
        assert self.likeness is not None
        return _unlikeness(self.likeness, self.contrast)


class _Candidate(Generic[Learner]):
    """A task that answers to a name, and some of the images to segment."""

    def __init__(self, learner: Learner, collection: Collection, task: Task, sample: Sequence[SourceImage]) -> None:
        self.learner = learner
        self.collection = collection
        self.task = task
        self.sample = sample
        self.scaling = choose(sample, learner.scaling) if sample else _usual_scaling(task)

    @cached_property
    def labelled(self) -> "_Labelled":
        """Labelled images of as many subjects as possible."""
        samples = _of_many_subjects(self.collection.samples(self.task), LOOKED_AT)
        rows = [sample.row for sample in samples]
        images, labels = self.collection.images(self.task, rows), self.collection.labels(self.task, rows)
        return _Labelled(list(images), list(labels), [sample.subject for sample in samples])

    def learned(self) -> tuple[Learner, ComparedTask]:
        """Learn from the images that are most like those to segment, and say how well the task suits."""
        near, shown = Nearness(range(len(self.labelled.images))), self.labelled
        if self.sample:
            magnification = self._magnification()
            shown = shown.at(magnification)
            near = self._nearness(shown, magnification)
        learned = self._fitted(shown.some(near.order[:MOST_IMAGES]))
        card, dice = self.collection.card(self.task.dataset), _dice_on_itself(learned)
        learned.credit(ImageSource.of(card.title or card.id, card.license))
        told = ComparedTask(self.task, card.title, card.license or "", len(near.order), dice, *near[1:])
        return learned, told

    def _magnification(self) -> float:
        """Choose the magnification at which labelled images are most like those to segment.

        A close-up has to show the whole of what is labelled, and from afar it still has to be seen.
        """
        few = self.labelled.some(range(len(self.labelled.images))[:SHOWN])
        largest = max(1.0, 1 / float(np.median([extent(label) for label in few.labels])))
        shown = {each: few.at(each) for each in MAGNIFICATIONS if each <= largest}
        seen = {each: some for each, some in shown.items() if len(some.images) >= LEAST_SEEN * len(few.images)}
        plain, *others = (self._nearness(some, each) for each, some in seen.items())
        best = min(others, key=lambda near: near.unlikeness, default=plain)
        return best.magnification if plain.unlikeness - best.unlikeness > LEAST_GAIN else plain.magnification

    def _fitted(self, shown: "_Labelled") -> Learner:
        """Fit a copy of the estimator to labelled images, in the grey values of the images to segment."""
        images: Sequence[np.ndarray] = shown.images
        if self.scaling.low is not None and self.scaling.high is not None:
            width = self.scaling.high - self.scaling.low
            images = [self.scaling.low + image / np.float32(FULL) * np.float32(width) for image in images]
        unknown = UNKNOWN if any((label == UNKNOWN).any() for label in shown.labels) else self.learner.unknown
        copied = copy.copy(self.learner).set_params(scaling=self.scaling.kind, unknown=unknown, tune=0)
        fitted = copied.fit(images, shown.labels, {1: self.task.label}, shown.subjects).fitted
        apart = replace(fitted.preparation.normalisation, shared=None)  # a collection has grey values of its own
        return copied.go_back_to(replace(fitted, preparation=replace(fitted.preparation, normalisation=apart)))

    def _nearness(self, shown: "_Labelled", magnification: float) -> Nearness:
        """Compare the images to segment with labelled ones."""
        fitted = self._fitted(shown)
        reader, preparation = fitted.judgement.reader, fitted.fitted.preparation
        squares = np.stack([square for case in self.sample for square in preparation.squares(case)])
        known = reader.pool.images
        features = [reader.features(each.to(reader.device)) for each in (torch.from_numpy(squares)[:, None], known)]
        asked, found = (F.normalize(each, dim=1) for each in features)
        cosines, units = asked @ found.T, reader.pool.units
        quantiles = [np.quantile(each.reshape(len(each), -1), QUANTILES, axis=1).T for each in (squares, known.numpy())]
        return Nearness(
            list(dict.fromkeys(units[cosines.amax(0).argsort(descending=True, stable=True)].tolist())),
            float(cosines.topk(min(NEAREST, len(known)), dim=1).values.mean()),
            float(np.median(distances(*quantiles))),
            magnification,
        )


@dataclass(frozen=True)
class _Labelled:
    """Labelled images as a collection stores them, and their subjects."""

    images: list[UInt8[np.ndarray, "S S"]]
    labels: list[UInt8[np.ndarray, "S S"]]
    subjects: list[str]

    def some(self, chosen: Sequence[int]) -> "_Labelled":
        """Return those of some indices."""
        images, labels = ([each[index] for index in chosen] for each in (self.images, self.labels))
        return _Labelled(images, labels, [self.subjects[index] for index in chosen])

    def at(self, magnification: float) -> "_Labelled":
        """Return those that still show at a magnification what is labelled."""
        pairs = zip(self.images, self.labels, strict=True)
        images, labels = map(list, zip(*(magnified(*pair, magnification) for pair in pairs), strict=True))
        seen = [index for index, label in enumerate(labels) if foreground(label).any()]
        return _Labelled(images, labels, self.subjects).some(seen)


def _unlikeness(likeness: float, contrast: float) -> float:
    """Logarithm of the factor by which a task's Dice counts less."""
    return (1 - likeness) / LIKENESS_SCALE + contrast / CONTRAST_SCALE


def _usual_scaling(task: Task) -> Normalisation:
    """Scaling of images that nobody has seen: CT is in Hounsfield units, MR has outliers, others have neither."""
    modalities, _ = split_modalities(fold(task.modality))
    if "ct" in modalities:
        return Normalisation("window", *CT_WINDOW_HU)
    return Normalisation("percentile" if "mr" in modalities else "min-max")


def _of_many_subjects(samples: Sequence[Sample], most: int) -> list[Sample]:
    """Choose samples, evenly spread over each subject's, of as many subjects as possible: one of each, then another."""
    by_subject: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_subject[sample.subject].append(sample)
    each = max(1, most // len(by_subject))
    chosen = [[found[index] for index in spread(len(found), each)] for found in by_subject.values()]
    turns = [found[turn] for turn in range(each) for found in chosen if turn < len(found)]
    return [turns[index] for index in spread(len(turns), most)]


def _dice_on_itself(learned: TaskEstimator) -> float | None:
    """Mean Dice of some examples by the others; None if they are too few to say, or none shows what others show."""
    reader = learned.judgement.reader
    present = reader.pool.units.unique().tolist()
    if len(present) < LEAST_EXAMPLES:
        return None
    with learned._load().evaluating():
        found = leave_one_out(reader, [present[index] for index in spread(len(present), JUDGED)])
    return float(found.dice.nanmean()) if found.shown.any() else None
