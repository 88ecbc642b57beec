"""The experiment on absence: how often is something drawn where nothing is, and what does it cost to draw nothing?

What is judged is what a user gets, the masks of `Segmenter.predict`.
"""

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.experiments.averages import Score, averaged
from benchmarks.experiments.bench import Bench, Coordinates, Findings
from benchmarks.experiments.shared_supports import SharedSupport, measured, pairs
from benchmarks.experiments.tuning import steps_of_short_run
from benchmarks.plans.task_plans import lacking, stable_hash
from incontext import Segmenter
from incontext.inference.segmentation import dice
from megamed import Sample
from megamed.unknown import UNKNOWN

KEEP, SUPPRESS, TUNED = "keep", "suppress", "suppress, tuned"
"""Treatments of a class where it is improbable, the last by a network that is tuned on the examples.

`auto` is the second if some examples lack the class, else nearly the first.
"""
ALL_SHOW, HALF_SHOW = "all examples show it", "half of the examples lack it"
ALARMS, PRESENT, EVERYWHERE = "drawn where it is not", "Dice where it is", "Dice over all, 1 where both are empty"


def absence(bench: Bench) -> Findings:
    """Measure false alarms and Dice, with and without examples that lack the structure.

    Raises:
        ValueError: If no task has an image without its structure, of a subject that may be a query.
    """
    details = bench.claim_weights()
    scores: dict[Coordinates, list[Score]] = defaultdict(list)
    for support, found in measured(bench, judged, absent=bench.settings.queries):
        for examples, by_treatment in found.items():
            for treatment, values in by_treatment.items():
                for panel, value in values.items():
                    scores[Coordinates(examples, treatment, panel)].append(support.score(value))
    if not scores:
        msg = "No task has images without its structure: expected some of query subjects, got none. Name another suite."
        raise ValueError(msg)
    references = {place: place._replace(series=KEEP) for place in scores}
    return Findings(averaged(scores, references, bench.settings.seed), details)


def judged(bench: Bench, segmenter: Segmenter, support: SharedSupport) -> dict[str, Any]:
    """Values in [0, 1] of each panel, by examples and treatment; nothing if all queries show the structure."""
    images, labels = pairs(bench, support, support.queries)
    if all((label == 1).any() for label in labels):
        return {}
    found: dict[str, Any] = {}
    treatments = {
        KEEP: ("keep", 0),
        SUPPRESS: ("suppress", 0),
        TUNED: ("suppress", steps_of_short_run(bench) or "auto"),
    }
    for name, examples in supports_of(bench, support).items():
        subjects = [sample.subject for sample in examples]
        segmenter.fit(*pairs(bench, support, examples), subjects=subjects)
        found[name] = {}
        for treatment, (absent, tune) in treatments.items():
            segmenter.set_params(absent=absent, tune=tune)
            found[name][treatment] = valued(segmenter.predict(images).masks, labels)
    return found


def supports_of(bench: Bench, support: SharedSupport) -> dict[str, Sequence[Sample]]:
    """Examples of a support, and equally many of which half lack the structure, if other subjects have such images."""
    asked = {query.subject for query in support.queries}
    without = [each for each in lacking(bench.collection, support.task) if each.subject not in asked]
    without.sort(key=lambda sample: stable_hash(support.name, sample.case))
    half = len(support.examples) // 2
    mixed = [*support.examples[: len(support.examples) - half], *without[:half]]
    return {ALL_SHOW: support.examples} | ({HALF_SHOW: mixed} if len(without) >= half else {})


def valued(masks: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> dict[str, float]:
    """Share of the images without the structure in which some is drawn, mean Dice of the others, and of all."""
    drawn = [(mask > 0) & (label != UNKNOWN) for mask, label in zip(masks, labels, strict=True)]
    shown = [(label == 1).any() for label in labels]
    values = [
        float(dice(mask, label == 1)) if is_shown else float(not mask.any())
        for mask, label, is_shown in zip(drawn, labels, shown, strict=True)
    ]
    right = [value for value, is_shown in zip(values, shown, strict=True) if not is_shown]
    there = [value for value, is_shown in zip(values, shown, strict=True) if is_shown]
    return {ALARMS: 1 - fmean(right), PRESENT: fmean(there), EVERYWHERE: fmean(values)}
