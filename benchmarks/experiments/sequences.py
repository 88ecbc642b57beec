"""The experiment on films: do labels that travel from frame to frame beat those that each frame is segmented by alone?

What is measured is what a user calls, `Segmenter.propagate`, on the frames of a collection of films.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby, islice
from typing import Any

import numpy as np

from benchmarks.experiments.averages import Score, averaged
from benchmarks.experiments.bench import Bench, Coordinates, Findings
from benchmarks.experiments.films import Film, find_films
from benchmarks.plans.task_plans import stable_hash
from benchmarks.scoring.evaluator import exactly
from benchmarks.scoring.leaks import dataset_ids
from incontext import Segmenter
from incontext.inference.propagation import Propagation
from incontext.inference.segmentation import dice
from incontext.networks.checkpoint import Checkpoint

PROPAGATED, ALONE = "propagation", "frame by frame"
METHODS: Mapping[str, Propagation | None] = {
    PROPAGATED: None,
    ALONE: Propagation(reach=0, continuity=0.0, neighbours=0.0),
}
"""Parameters of propagation that make each method; None are those that are chosen for films."""
LABELLED: Mapping[str, int | None] = {"the first": None, "every 20th": 20, "every 10th": 10}
"""Steps from one labelled frame to the next, the first frame being labelled; None labels no other."""
ALL = "all"
DISTANCES: Mapping[str, range] = {
    "1 to 4": range(1, 5), "5 to 9": range(5, 10), "10 to 19": range(10, 20), "20 or more": range(20, 10**6),
}  # fmt: skip
"""Distances from the nearest labelled frame, in frames."""


@dataclass(frozen=True)
class FrameScore:
    """Dice of one structure on one frame that shows it."""

    task: str
    distance: int
    """Distance from the nearest labelled frame, in frames."""
    dice: float


def sequences(bench: Bench) -> Findings:
    """Measure propagation and prediction frame by frame on films, by the distance from the nearest labelled frame.

    Of each dataset at most as many films as a task may have queries are measured, in the order of their names.

    Raises:
        ValueError: If the collection has no film, or the predictor is no weights file.
    """
    details = bench.claim_weights()
    segmenter = Segmenter(bench.weights, device=bench.execution.device)
    by_dataset = groupby(find_films(bench.collection), key=lambda film: film.dataset)
    films = [film for _, some in by_dataset for film in islice(some, bench.settings.queries)]
    if not films:
        msg = "No film was found: expected subjects with twenty labelled images or more, got none. Build a collection."
        raise ValueError(msg)
    asked = [(film, spacing, method) for film in films for spacing in LABELLED for method in METHODS]
    scores: dict[Coordinates, list[Score]] = {}
    for batch in bench.track(([(each, measured(bench, segmenter, *each))] for each in asked), len(asked)):
        for (film, spacing, method), found in batch:
            for each in found:
                score = Score(film.dataset, each.task, film.subject, each.dice)
                for where in (ALL, *(name for name, within in DISTANCES.items() if each.distance in within)):
                    scores.setdefault(Coordinates(where, series(spacing, method), film.dataset), []).append(score)
    order = [ALL, *DISTANCES]
    places = sorted(scores, key=lambda place: (place.panel, order.index(str(place.x))))
    references = {place: place._replace(series=place.series.replace(PROPAGATED, ALONE)) for place in places}
    details |= {"trained on the same patients": kin(bench)}
    return Findings(averaged({place: scores[place] for place in places}, references, bench.settings.seed), details)


def series(spacing: str, method: str) -> str:
    """Name of a curve."""
    return f"{spacing} labelled, {method}"


def kin(bench: Bench) -> dict[str, list[str]]:
    """Datasets of the training of the weights that share patients with the films, by the dataset of these."""
    learned = dataset_ids(Checkpoint.read(bench.weights).inspect())
    shared = {name: bench.collection.card(name).shares_patients_with for name in bench.collection.datasets}
    return {name: sorted({name, *others} & {*learned}) for name, others in shared.items()}


def measured(bench: Bench, segmenter: Segmenter, film: Film, spacing: str, method: str) -> list[FrameScore]:
    """Read what an earlier run measured of a film, or measure it now."""
    key = f"{stable_hash(film.dataset, film.subject, spacing, method):016x}"
    kept = bench.kept(key, partial(measure, segmenter, film, spacing, method))
    return [FrameScore(**each) for each in kept["scores"]]


def measure(segmenter: Segmenter, film: Film, spacing: str, method: str) -> dict[str, Any]:
    """Segment a film by some of its frames, and score the structures that these show on all others."""
    labelled = range(0, len(film.images), LABELLED[spacing] or len(film.images))
    labels = {index: film.labels[index] for index in labelled}
    with exactly():
        masks = segmenter.propagate([*film.images], labels, config=METHODS[method])[0]
    return {"scores": [asdict(each) for each in scored(film, masks, labelled)]}


def scored(film: Film, masks: np.ndarray, labelled: Sequence[int]) -> Iterator[FrameScore]:
    """Score each structure on each frame that shows it and was not labelled."""
    sought = {int(value) for index in labelled for value in np.unique(film.labels[index]) if value}
    for index in sorted({*range(len(masks))} - {*labelled}):
        for value in sorted(sought & {*np.unique(film.labels[index]).tolist()}):
            found, truth = masks[index] == value, film.labels[index] == value
            distance = min(abs(index - each) for each in labelled)
            yield FrameScore(film.tasks[value - 1].id, distance, round(dice(found, truth), 6))
