"""The experiment on expected Dice: do examples that segment each other tell how well other images will be segmented?

What is judged is what a user reads, `Segmenter.expected_`.
"""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from statistics import fmean
from typing import Any

import numpy as np
import torch

from benchmarks.analysis.statistics import Interval
from benchmarks.experiments.averages import Score, averaged
from benchmarks.experiments.bench import Bench, Coordinates, Findings, Point
from benchmarks.experiments.shared_supports import SharedSupport, measured, pairs
from incontext import Segmenter
from incontext.training.calibration import spearman

EXPECTED, TRUE = "expected by the examples", "of other images"
DICE, APART, RANKS = "Dice", "expected less true", "rank correlation"
BY_IMAGE = "error of an image's predicted Dice"
ALONE, SHIFTED = "by its probabilities", "shifted by the examples"


def expected_dice(bench: Bench) -> Findings:
    """Compare the Dice that the examples of each draw expect with the mean Dice of other images."""
    details = bench.claim_weights()
    found = [(support, each) for support, each in measured(bench, compared) if each]
    if not found:
        return Findings([], details)
    scores: dict[Coordinates, list[Score]] = defaultdict(list)
    for support, each in found:
        apart = each["expected"] - each["true"]
        low, high = each["interval"]
        for series, value in ((EXPECTED, each["expected"]), (TRUE, each["true"])):
            scores[Coordinates(support.task.dataset, series, DICE)].append(support.score(value))
        for measure, value in (("absolute", abs(apart)), ("signed", apart), ("inside", low <= each["true"] <= high)):
            scores[Coordinates(measure, "", APART)].append(support.score(float(value)))
        for how, value in each["by_image"].items():
            scores[Coordinates(how, "", BY_IMAGE)].append(support.score(value))
    by_task: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for support, each in found:
        by_task[support.task.id].append(each)
    means = [{key: fmean(each[key] for each in some) for key in ("expected", "true")} for some in by_task.values()]
    apart = fmean(abs(each["expected"] - each["true"]) for each in means)
    ranks = [_rank("draws", [each for _, each in found]), _rank("tasks", means)]
    of_tasks = Point(Coordinates("absolute, of the means of tasks", "", APART), Interval(apart, apart, apart))
    references = {Coordinates(SHIFTED, "", BY_IMAGE): Coordinates(ALONE, "", BY_IMAGE)}
    points = [*averaged(scores, references, bench.settings.seed), of_tasks, *filter(None, ranks)]
    return Findings(points, {**details, "measured": by_task})


def compared(bench: Bench, segmenter: Segmenter, support: SharedSupport) -> dict[str, Any]:
    """Dice in [0, 1] that the examples of a support expect, its interval, and the mean of the queries; or nothing.

    With it come the mean errors of the Dice that is predicted for each query, if the weights predict any.
    """
    images, labels = pairs(bench, support, support.examples)
    subjects = [sample.subject for sample in support.examples]
    expected = segmenter.fit(images, labels, subjects=subjects).expected_
    if expected is None or 1 not in expected.dice:
        return {}
    queries, drawn = pairs(bench, support, support.queries)
    true = [segmenter.score([image], [label]) for image, label in zip(queries, drawn, strict=True)]
    by_image = {}
    with suppress(ValueError):  # weights without a model of quality predict none
        for how, absent in ((SHIFTED, "auto"), (ALONE, "keep")):  # of the latter the examples do not judge each other
            predicted = segmenter.set_params(absent=absent).predict(queries).predicted_dice[:, 0]
            by_image[how] = float(np.abs(predicted - true).mean())
    return {
        "expected": expected.dice[1],
        "interval": list(expected.interval[1]),
        "true": fmean(true),
        "by_image": by_image,
    }


def _rank(what: str, found: Sequence[dict[str, Any]]) -> Point | None:
    """Rank correlation of expected with true Dice over tasks or draws; None if either is the same for all."""
    correlation = spearman(*(torch.tensor([each[key] for each in found]) for key in ("expected", "true")))
    if correlation is None:
        return None
    return Point(Coordinates(f"over {what}", "", RANKS), Interval(correlation, correlation, correlation))
