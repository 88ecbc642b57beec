"""The experiment on wrong labels: of some examples whose labels are made wrong, do the others tell which?

What is judged is what a user reads, `Segmenter.expected_`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from benchmarks.experiments.averages import Score, averaged
from benchmarks.experiments.bench import Bench, Coordinates, Findings
from benchmarks.experiments.shared_supports import SharedSupport, measured, pairs
from benchmarks.plans.task_plans import stable_hash
from benchmarks.predictors import annotation_errors
from incontext import Segmenter
from incontext.inference.expected import Expected

Label = UInt8[np.ndarray, "H W"]
Errors = Mapping[int, Label]
"""Mapping of an example's index in a support → the wrong label that it gets."""

FOUND, CALLED = "among the three most contradicted", "called wrong"
SOUND = "none: sound labels"
WRONG, LOOKED_AT = 2, 3
"""Number of labels that are made wrong, and of the most contradicted examples among which they are looked for."""
SHIFT = 0.1
"""Distance by which a label is shifted, as a share of the image's side."""
APART = 0.1
"""Largest share of a structure's pixels in another one that may be taken for it: neither is a part of the other."""


def wrong_labels(bench: Bench) -> Findings:
    """Share of wrong labels that the others contradict most, or call wrong, by kind of error."""
    details = bench.claim_weights()
    scores: dict[Coordinates, list[Score]] = defaultdict(list)
    for support, shares in measured(bench, detected):
        for kind, by_rule in shares.items():
            for rule, share in by_rule.items():
                scores[Coordinates(kind, rule)].append(support.score(share))
    return Findings(averaged(scores, {}, bench.settings.seed), details)


def detected(bench: Bench, segmenter: Segmenter, support: SharedSupport) -> dict[str, Any]:
    """Shares in [0, 1] of wrong labels that are found, by kind of error and rule, and of sound ones called wrong."""
    images, labels = pairs(bench, support, support.examples)
    subjects, found = [sample.subject for sample in support.examples], {}
    for kind, errors in {SOUND: {}, **errors_of(bench, support, labels)}.items():
        shown = [errors.get(index, label) for index, label in enumerate(labels)]
        expected = segmenter.fit(images, shown, subjects=subjects).expected_
        if expected is not None:
            found[kind] = told(expected, list(errors))
    return found


def told(expected: Expected, wrong: Sequence[int]) -> dict[str, float]:
    """Share of wrong examples, or of all if none is, that each rule names."""
    asked = wrong or expected.examples
    order = np.argsort(-np.nan_to_num(expected.contradiction), kind="stable")
    most = [*expected.forgotten, *(expected.examples[index] for index in order)][:LOOKED_AT]
    rules = {FOUND: most, CALLED: expected.suspects} if wrong else {CALLED: expected.suspects}
    return {rule: float(np.isin(asked, named).mean()) for rule, named in rules.items()}


def errors_of(bench: Bench, support: SharedSupport, labels: Sequence[Label]) -> dict[str, Errors]:
    """Wrong labels of some examples, chosen by chance, by kind; a kind that the support does not allow is left out."""
    seed = stable_hash(bench.settings.seed, support.name) % 2**62
    order = [int(index) for index in np.random.default_rng(seed).permutation(len(labels))]
    chosen = order[:WRONG]
    kinds: dict[str, Errors] = {
        "exchanged with each other": {index: labels[other] for index, other in zip(chosen, chosen[::-1], strict=True)},
        "shifted by a tenth of the side": {index: shifted(labels[index], seed + index) for index in chosen},
    }
    others = {index: other for index in order if (other := another(bench, support, index)) is not None}
    if len(others) >= WRONG:
        kinds["of another structure"] = {index: others[index] for index in list(others)[:WRONG]}
    kinds = {kind: errors for kind, errors in kinds.items() if all((label == 1).any() for label in errors.values())}
    if len(labels) > WRONG:
        kinds["forgotten altogether"] = {index: np.zeros_like(labels[index]) for index in chosen}
    return kinds


def shifted(label: Label, seed: int) -> Label:
    """Shift a label by `SHIFT` in a direction that a seed draws; what leaves the image is lost."""
    drawn = torch.from_numpy(label == 1).float()[None, None, None]
    moved = annotation_errors.shifted(drawn, SHIFT * label.shape[-1], torch.tensor([[seed]]))
    return moved[0, 0, 0].numpy().astype(np.uint8)


def another(bench: Bench, support: SharedSupport, index: int) -> Label | None:
    """Label of another structure of the same image, neither a part of the task's nor the whole of it; None without."""
    task, row = support.task, support.examples[index].row
    own = bench.collection.label(task, row) == 1
    for other in bench.collection.tasks([task.dataset]):
        if other.view == task.view and other != task:
            label = bench.collection.label(other, row)
            if (label == 1).any() and ((label == 1) & own).sum() <= APART * min((label == 1).sum(), own.sum()):
                return label
    return None
