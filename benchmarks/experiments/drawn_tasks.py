"""Tasks that several people drew: whose labels a network is shown, and what is measured of each query."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from benchmarks.experiments.averages import Score
from benchmarks.experiments.bench import Bench
from benchmarks.experiments.supports import pools
from benchmarks.plans.annotators import Annotators, drawn_by_several
from benchmarks.plans.task_plans import Episode, TaskPlan, plan_hash
from benchmarks.predictors import NamedPredictor, load_network
from benchmarks.predictors.weights import from_weights
from benchmarks.scoring.evaluator import exactly
from benchmarks.scoring.leaks import find_leaks
from incontext.inference.backends import backend_of
from incontext.inference.uncertainty import uncertainty
from incontext.networks.protocols import Backend, Codes
from incontext.networks.unknown import as_shares
from incontext.networks.weights_metadata import Calibration
from megamed import Collection

AGREED = ""
"""Name, in the place of a person's, of what all agreed on."""

Shown = tuple[int, str]
"""Row of an image, and whose label of it is shown."""
Values = dict[str, dict[str, float]]
"""Values by what they measure and of what."""


@dataclass(frozen=True)
class JudgedQuery:
    """All that was measured of one query."""

    dataset: str
    task: str
    subject: str
    case: str
    values: Values


@dataclass(frozen=True)
class Drawings:
    """Images of a task with what each person drew on them."""

    collection: Collection
    plan: TaskPlan
    people: Annotators
    device: str = "cpu"

    def image(self, row: int) -> Float[Tensor, "1 1 H W"]:
        """An image, in [0, 1]."""
        return self._tensor(self.collection.images(self.plan.task, [row])) / 255

    def label(self, row: int, who: str) -> Float[Tensor, "1 1 H W"]:
        """Label that somebody drew on an image: 0, 1 and, where the person did not judge, 1/2."""
        task = self.plan.task if who == AGREED else self.people.drawn[who][row]
        return as_shares(self._tensor(self.collection.labels(task, [row])))

    def _tensor(self, arrays: UInt8[np.ndarray, "1 H W"]) -> UInt8[Tensor, "1 1 H W"]:
        return torch.from_numpy(arrays)[:, None].to(self.device)


Label = Callable[[Drawings, int, str], Tensor]
"""Function that gives somebody's label of an image to show."""


@dataclass(frozen=True)
class TaskReading:
    """A network that reads a task, and encodes a labelled image the first time that it is shown."""

    drawings: Drawings
    network: Backend
    temperature: float = 1.0
    """Number that logits are divided by."""
    label: Label = Drawings.label
    """Function that gives the labels to show."""
    _codes: dict[Shown, Codes] = field(default_factory=dict)

    def support(self, shown: Sequence[Shown]) -> Codes:
        """Codes of the labelled images of one support."""
        for row, who in shown:
            if (row, who) not in self._codes:
                label = self.label(self.drawings, row, who)
                self._codes[row, who] = self.network.encode_images(self.drawings.image(row), label)
        codes = [self._codes[each] for each in shown]
        return type(codes[0]).joined(codes)

    def probabilities(self, row: int, shown: Sequence[Shown]) -> Float[Tensor, "H W"]:
        """Probability of foreground at each pixel of an image, by a support."""
        logits = self.network.segment(self.drawings.image(row), self.support(shown).pooled())
        return (logits / self.temperature).sigmoid()[0, 0]

    def uncertainty(self, row: int, shown: Sequence[Shown], seed: int) -> Float[Tensor, "H W"]:
        """Uncertainty of each pixel, had other examples been labelled, as `Segmenter.uncertainty` tells it."""
        image, codes = self.drawings.image(row), self.support(shown)
        return uncertainty(self.network, image, codes, seed=seed, temperature=self.temperature)[0, 0]


Measure = Callable[[TaskReading, Sequence[Episode]], Values]
"""Function that asks about a query, whose draws it is given, and measures the answers."""


def judge_all(
    bench: Bench, measure: Measure, label: Label = Drawings.label
) -> tuple[list[JudgedQuery], dict[str, Any]]:
    """Measure every query that several people drew, except those that an earlier run has kept.

    Returns:
        What was measured; and the fingerprint, the hash of the plans and what was left out, for the protocol.

    Raises:
        ValueError: If several people drew nothing of the suite, the predictor is no network, or it was trained on all.
    """
    named, network, temperature = opened(bench)
    asked = drawn_by_several(bench.collection, pools(bench), bench.settings.support_size)
    plans = [plan for plan, _ in asked]
    leaks = find_leaks(bench.collection, [plan.task for plan in plans], [named]).seen.get(named.name, {})
    bench.claim({named.name: f"{named.fingerprint} on plan {plan_hash(plans)}"})
    readings = [
        TaskReading(Drawings(bench.collection, plan, people, bench.execution.device), network, temperature, label)
        for plan, people in asked
        if plan.task.id not in leaks
    ]
    if not readings:
        msg = f"{named.name} has no score: expected tasks that it was not trained on, got none. Choose another suite."
        raise ValueError(msg)
    batches = ([kept(bench, reading, measure)] for reading in readings)
    judged = [each for batch in bench.track(batches, len(readings)) for found in batch for each in found]
    return judged, {
        "plan_hashes": {named.name: plan_hash(plans)},
        "fingerprints": {named.name: named.fingerprint},
        "failed": {named.name: leaks} if leaks else {},
        "queries": dict(Counter(each.task for each in judged)),
    }


def opened(bench: Bench) -> tuple[NamedPredictor, Backend, float]:
    """Open the one network to examine: its name and fingerprint, what computes, and its temperature.

    Raises:
        ValueError: If there are several predictors, or the only one is no weights file.
    """
    weights, device = bench.weights, bench.execution.device
    named = from_weights(weights, device)
    return named, backend_of(load_network(weights, device)), Calibration.of(named.provenance).temperature


def kept(bench: Bench, reading: TaskReading, measure: Measure) -> list[JudgedQuery]:
    """Read what an earlier run measured of a task, or measure it now."""
    plan = reading.drawings.plan

    def judged() -> dict[str, Any]:
        episodes = sorted(plan.episodes, key=lambda each: (each.query.row, each.draw))
        with exactly():
            return {
                "queries": [
                    asdict(judge(plan, reading, list(draws), measure))
                    for _, draws in groupby(episodes, lambda each: each.query.row)
                ]
            }

    return [JudgedQuery(**each) for each in bench.kept(plan_hash([plan]), judged)["queries"]]


def judge(plan: TaskPlan, reading: TaskReading, draws: Sequence[Episode], measure: Measure) -> JudgedQuery:
    """Measure one query."""
    query = draws[0].query
    return JudgedQuery(plan.task.dataset, plan.task.id, query.subject, query.case, measure(reading, draws))


def scores_of(judged: Sequence[JudgedQuery], measure: str, name: str) -> list[Score]:
    """Scores of those queries of which something was measured."""
    return [
        Score(each.dataset, each.task, each.subject, each.values[measure][name])
        for each in judged
        if name in each.values.get(measure, {})
    ]
