"""The experiment on expected Dice: do examples that segment each other tell how well other images will be segmented?

What is judged is what a user reads, `Segmenter.expected_`.
"""

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import torch

from benchmarks.analysis.statistics import Interval
from benchmarks.experiments.averages import Score, averaged
from benchmarks.experiments.bench import Bench, Coordinates, Findings, Point
from benchmarks.experiments.shared_supports import SharedSupport, measured, pairs
from incontext import Segmenter
from incontext.training.calibration import spearman

EXPECTED, TRUE = "expected by the examples", "of other images"
DICE, APART, RANKS = "Dice", "expected less true", "rank correlation"


def expected_dice(bench: Bench) -> Findings:
    """Compare the Dice that the examples of each draw expect with the mean Dice of other images."""
    details = bench.claim_weights()
    found = [(support, each) for support, each in measured(bench, compared) if each]
    scores: dict[Coordinates, list[Score]] = defaultdict(list)
    for support, each in found:
        apart = each["expected"] - each["true"]
        low, high = each["interval"]
        for series, value in ((EXPECTED, each["expected"]), (TRUE, each["true"])):
            scores[Coordinates(support.task.dataset, series, DICE)].append(support.score(value))
        for measure, value in (("absolute", abs(apart)), ("signed", apart), ("inside", low <= each["true"] <= high)):
            scores[Coordinates(measure, "", APART)].append(support.score(float(value)))
    by_task: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for support, each in found:
        by_task[support.task.id].append(each)
    means = [{key: fmean(each[key] for each in some) for key in ("expected", "true")} for some in by_task.values()]
    apart = fmean(abs(each["expected"] - each["true"]) for each in means)
    ranks = [_rank("draws", [each for _, each in found]), _rank("tasks", means)]
    of_tasks = Point(Coordinates("absolute, of the means of tasks", "", APART), Interval(apart, apart, apart))
    points = [*averaged(scores, {}, bench.settings.seed), of_tasks, *filter(None, ranks)]
    return Findings(points, {**details, "measured": by_task})


def compared(bench: Bench, segmenter: Segmenter, support: SharedSupport) -> dict[str, Any]:
    """Dice in [0, 1] that the examples of a support expect, its interval, and the mean of the queries; or nothing."""
    images, labels = pairs(bench, support, support.examples)
    subjects = [sample.subject for sample in support.examples]
    expected = segmenter.fit(images, labels, subjects=subjects).expected_
    if expected is None or 1 not in expected.dice:
        return {}
    true = segmenter.score(*pairs(bench, support, support.queries))
    return {"expected": expected.dice[1], "interval": list(expected.interval[1]), "true": true}


def _rank(what: str, found: Sequence[dict[str, Any]]) -> Point | None:
    """Rank correlation of expected with true Dice over tasks or draws; None if either is the same for all."""
    correlation = spearman(*(torch.tensor([each[key] for each in found]) for key in ("expected", "true")))
    if correlation is None:
        return None
    return Point(Coordinates(f"over {what}", "", RANKS), Interval(correlation, correlation, correlation))
