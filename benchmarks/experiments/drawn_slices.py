"""The experiment on volumes: how far one drawn slice reaches, and what whole volumes are worth from one, three, seven.

What is measured is what a user calls, `Segmenter.propagate`, on the files of volumes and on their own grid.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.experiments.averages import Score, averaged
from benchmarks.experiments.bench import Bench, Coordinates, Findings
from benchmarks.experiments.propagated_volumes import Question, questions
from benchmarks.experiments.source_volumes import (
    SourceVolume,
    VolumeSettings,
    datasets_below,
    find_volumes,
    read_volumes,
)
from benchmarks.plans.suites import SUITES
from benchmarks.plans.task_plans import stable_hash
from benchmarks.scoring.evaluator import exactly
from incontext import Segmenter
from incontext.inference.segmentation import dice

COUNTS = (1, 3, 7)
"""Numbers of drawn slices, spread evenly over those that show the structure."""
DISTANCES = (1, 3, 5, 8, 12)
"""Distances from the one drawn slice, in slices."""
REACH, WHOLE = "one slice drawn: Dice of slices so far away", "so many slices drawn: Dice of the whole volume"
EVERYWHERE = "mean over datasets"


def drawn_slices(bench: Bench) -> Findings:
    """Measure propagation from one drawn slice by the distance from it, and whole volumes by the number drawn.

    Raises:
        ValueError: If no folder of source files is given, no volume shows a structure on enough slices, or the
            predictor is no weights file.
    """
    if not bench.options.data:
        msg = "The files of volumes are missing: expected a folder of datasets, got none. Name it with --data."
        raise ValueError(msg)
    details = bench.claim_weights()
    segmenter = Segmenter(bench.weights, device=bench.execution.device)
    settings = _settings(bench)
    found = find_volumes(Path(bench.options.data), settings)
    asked = (
        each for card, cases in found for case in cases for each in _questions(list(read_volumes(card, case)), settings)
    )
    most = sum(len(case.images) * len(card.masks) for card, cases in found for case in cases)
    scores: dict[Coordinates, list[Score]] = {}
    for batch in bench.track(([(each, measured(bench, segmenter, each))] for each in asked), most):
        for question, dices in batch:
            for place, value in _places(question, dices):
                task = question.task
                scores.setdefault(place, []).append(Score(task.dataset, task.id, question.volume.subject, value))
    if not scores:
        msg = f"No volume can be asked about: expected a structure on more than {max(COUNTS)} slices, got none."
        raise ValueError(msg)
    if len({place.series for place in scores}) == 2:  # the mean is that of the one dataset
        scores = {place: values for place, values in scores.items() if place.series != EVERYWHERE}
    places = sorted(scores, key=lambda place: (place.panel != REACH, place.series != EVERYWHERE, place.series, place.x))
    references = {place: place._replace(x=COUNTS[0]) for place in places if place.panel == WHOLE}
    return Findings(averaged({place: scores[place] for place in places}, references, bench.settings.seed), details)


def _settings(bench: Bench) -> VolumeSettings:
    """Settings of the datasets of a suite that have source files."""
    suite, root = SUITES[bench.settings.suite], Path(bench.options.data)
    names = {task.dataset for task in suite.tasks(bench.collection)} & datasets_below(root)
    if not names:
        msg = f"{root} has no dataset of suite {bench.settings.suite!r}: expected some of it, got none. Name another."
        raise ValueError(msg)
    most, seed = bench.settings.queries, bench.settings.seed
    return VolumeSettings(tuple(sorted(names)), labelled=max(COUNTS), volumes=most, seed=seed)


def _questions(volumes: list[SourceVolume], settings: VolumeSettings) -> Iterator[Question]:
    """Questions on structures that more slices show than are drawn at most."""
    for question in questions(volumes, settings):
        if question.volume.planes(question.volume.labels[question.label]).any(axis=(1, 2)).sum() > max(COUNTS):
            yield question


def _places(question: Question, dices: dict[str, Any]) -> Iterator[tuple[Coordinates, float]]:
    for panel, values in dices.items():
        for x, value in values.items():
            for series in (question.volume.dataset, EVERYWHERE):
                yield Coordinates(float(x), series, panel), value


def measured(bench: Bench, segmenter: Segmenter, question: Question) -> dict[str, Any]:
    """Read what an earlier run measured of a structure in a volume, or measure it now."""
    key = f"{stable_hash(question.task.id, question.volume.case):016x}"
    return bench.kept(key, partial(measure, segmenter, question))


def measure(segmenter: Segmenter, question: Question) -> dict[str, Any]:
    """Dice of whole volumes, drawn slices included, by their number; and of the slices at each distance from one.

    A slice counts if it shows the structure; the two at equal distances count as one mean.
    """
    volume = question.volume
    truth = volume.labels[question.label]
    whole: dict[int, float] = {}
    reach: dict[int, float] = {}
    for count in COUNTS:
        asked = Question(volume, question.label, [volume], count)
        with TemporaryDirectory() as folder, exactly():
            mask = asked.answer(segmenter, "propagation", Path(folder))
        whole[count] = round(dice(mask, truth), 6)
        if count == 1:
            reach = dict(_by_distance(volume.planes(mask), volume.planes(truth), asked.own[0]))
    return {REACH: reach, WHOLE: whole}


def _by_distance(mask: np.ndarray, truth: np.ndarray, drawn: int) -> Iterator[tuple[int, float]]:
    for distance in DISTANCES:
        there = [index for index in (drawn - distance, drawn + distance) if 0 <= index < len(truth)]
        dices = [dice(mask[index], truth[index]) for index in there if truth[index].any()]
        if dices:
            yield distance, round(float(np.mean(dices)), 6)
