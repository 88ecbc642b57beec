"""The experiment on a shift of domain: what are examples worth that are of another scanner than the queries?

Another scanner is another dataset in which a task has the same label, axis and family of modality. What is judged is
what a user gets, the masks of `Segmenter.predict`.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import UInt8

from benchmarks.experiments.averages import Score, averaged
from benchmarks.experiments.bench import Bench, Coordinates, Findings
from benchmarks.experiments.shared_supports import SharedSupport, mean_dice, measured, pairs
from benchmarks.plans.suites import MODALITIES, family
from benchmarks.plans.task_plans import round_robin, stable_hash
from incontext import Segmenter
from megamed import Collection, Sample, Task

COUNTS = (0, 1, 4, 16)
"""Numbers of examples that are of the queries' own dataset."""
ALONE, BESIDE = "own examples alone", "own examples beside those of another scanner"
ALL = "mean over datasets"


def domain_shift(bench: Bench) -> Findings:
    """Measure Dice by examples of the queries' own dataset, with and without as many as the support of another one.

    Raises:
        ValueError: If no other dataset shows a structure of the suite in the same way.
    """
    details = bench.claim_weights()
    scores: dict[Coordinates, list[Score]] = defaultdict(list)
    for support, found in measured(bench, judged):
        for series, values in found.items():
            for count, value in values.items():
                for panel in (ALL, support.task.dataset):
                    scores[Coordinates(int(count), series, panel)].append(support.score(value))
    if not scores:
        msg = (
            "No other dataset shows what the suite asks: expected tasks of equal label, axis and family of modality "
            "in two datasets, got none. Name another suite."
        )
        raise ValueError(msg)
    points = averaged(scores, {place: compared_with(place, scores) for place in scores}, bench.settings.seed)
    return Findings(sorted(points, key=lambda point: point.place.panel != ALL), details)


def compared_with(place: Coordinates, places: Iterable[Coordinates]) -> Coordinates:
    """Point with as many own examples alone, or with all of them where there are none or only these."""
    if place.series == BESIDE and place.x:
        return place._replace(series=ALONE)
    return place._replace(series=ALONE, x=max(other.x for other in places))


class ShownExamples(NamedTuple):
    """Labelled images to show, with their subjects."""

    images: list[UInt8[np.ndarray, "H W"]]
    labels: list[UInt8[np.ndarray, "H W"]]
    subjects: list[str]

    @classmethod
    def of(cls, bench: Bench, support: SharedSupport, samples: Sequence[Sample]) -> Self:
        """Read samples of a support's task."""
        subjects = [f"{support.task.dataset} {sample.subject}" for sample in samples]
        return cls(*pairs(bench, support, samples), subjects)

    def beside(self, others: "ShownExamples", count: int) -> "ShownExamples":
        """The first `count` of these examples, and others."""
        return ShownExamples(
            self.images[:count] + others.images,
            self.labels[:count] + others.labels,
            self.subjects[:count] + others.subjects,
        )


NOTHING = ShownExamples([], [], [])


def judged(bench: Bench, segmenter: Segmenter, support: SharedSupport) -> dict[str, Any]:
    """Mean Dice of the queries by series and number of own examples, over other scanners; nothing if there is none."""
    others = [foreign(bench, support, twin) for twin in twins(bench.collection, support.task)]
    own = ShownExamples.of(bench, support, support.examples)
    found: dict[str, dict[str, float]] = {ALONE: {}, BESIDE: {}}
    for count in COUNTS if others else ():
        if count <= bench.settings.support_size:
            shown = [own.beside(each, count) for each in others]
            found[BESIDE][str(count)] = fmean(scored(bench, segmenter, support, each) for each in shown)
            if count:
                found[ALONE][str(count)] = scored(bench, segmenter, support, own.beside(NOTHING, count))
    return found


def scored(bench: Bench, segmenter: Segmenter, support: SharedSupport, shown: ShownExamples) -> float:
    """Mean Dice of the queries by some examples."""
    images, labels = pairs(bench, support, support.queries)
    masks = segmenter.fit(shown.images, shown.labels, subjects=shown.subjects).predict(images).masks
    return mean_dice(masks, labels)


def twins(collection: Collection, task: Task) -> list[Task]:
    """Tasks of other datasets, without patients in common, that show the same structure in the same way."""

    def way(some: Task) -> tuple[str, str, str]:
        return some.label, some.axis, family(some.modality, MODALITIES)

    related = {task.dataset, *collection.card(task.dataset).shares_patients_with}
    return [
        other
        for other in collection.tasks()
        if way(other) == way(task)
        and other.dataset not in related
        and task.dataset not in collection.card(other.dataset).shares_patients_with
    ]


def foreign(bench: Bench, support: SharedSupport, twin: Task) -> ShownExamples:
    """Draw as many examples of another dataset as a support may have, of distinct subjects first."""
    by_chance = sorted(
        bench.collection.samples(twin), key=lambda sample: stable_hash(bench.settings.seed, support.name, sample.case)
    )
    return ShownExamples.of(bench, support._replace(task=twin), round_robin(by_chance)[: bench.settings.support_size])
