"""Weights of the signs of presence, fitted on images with and without a structure, and how well they judge other ones.

`python -m benchmarks.perf.fit_presence COLLECTION` takes the tasks of `train` and `dev` datasets of which some images
lack the structure, shows examples of both kinds or of one, and asks about images of other subjects. For each dataset in
turn the weights that the others teach are told what its examples teach, and judge its images; then the weights in use
do, which were fitted on many of these datasets. That is told with a contrast and without, followed by the weights of
all datasets.
"""

import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from benchmarks.experiments.shared_supports import pairs_of
from benchmarks.plans.task_plans import lacking, stable_hash
from incontext import Segmenter
from incontext.inference.leave_one_out import LEAST_EXAMPLES
from incontext.inference.presence import CERTAINTY, CONTRAST_CERTAINTY, CONTRAST_PRIOR, PRIOR, PresenceModel, untaught
from incontext.inference.presence_signs import Finding, posterior
from incontext.inference.segmentation import dice
from megamed import Collection, Sample, Task
from megamed.unknown import UNKNOWN

CONTRASTED, SOME_LACK_IT, ALL_SHOW_IT = (0.4, 0.45, 0.5, 0.55), (0.3, 0.4, 0.5, 0.55, 0.6), (0.05, 0.08, 0.1, 0.15, 0.2)
"""Probabilities below which a structure counts as absent, by what the examples tell of it."""
SIZES = {
    (8, 8): CONTRASTED,
    (4, 4): CONTRASTED,
    (12, 4): CONTRASTED,
    (8, 2): SOME_LACK_IT,
    (16, 0): ALL_SHOW_IT,
    (4, 0): ALL_SHOW_IT,
}
"""Numbers of examples that show the structure, and that lack it, and what is tried of them."""
TASKS, DRAWS = 6, 3
"""Most tasks of a dataset, and draws of examples for each."""
ASKED, LEAST_ASKED = 16, 4
"""Most images to ask about of each kind, and fewest."""
FLAT = 0.01
"""Precision of the weights before anything is known, of which they are all 0."""


@dataclass(frozen=True, eq=False)
class Recorded(PresenceModel):
    """A model that keeps the inputs of its only class."""

    kept: list[Tensor] = field(default_factory=list)

    def probability(
        self,
        images: Tensor,
        reaches: Tensor,
        stages: list[Tensor] | None,
        log_odds: Tensor,
        masks: Tensor,
    ) -> Tensor:
        """Probability as it is, while the inputs are kept."""
        (found,) = Finding.in_squares(self.reader.classes.probabilities(log_odds), masks, stages)
        self.kept.append(self.classes[0].inputs(found, self.quality)[1])
        return super().probability(images, reaches, stages, log_odds, masks)


@dataclass(frozen=True)
class JudgedTask:
    """Inputs of examples and queries, whether they show the structure, and the Dice of the queries' masks."""

    dataset: str
    size: tuple[int, int]
    examples: Float[Tensor, "M W"]
    present: Float[Tensor, " M"]
    queries: Float[Tensor, "N W"]
    shown: Bool[np.ndarray, " N"]
    dice: Float[np.ndarray, " N"]
    """Dice of what is drawn; of a query that lacks the structure 1 if nothing is."""

    def taught(self, prior: Float[Tensor, " W"]) -> Float[Tensor, " W"]:
        """Weights that the examples make of those of other datasets."""
        if self.present.all():
            return prior
        certainty = CONTRAST_CERTAINTY if len(prior) == len(CONTRAST_CERTAINTY) else CERTAINTY
        return posterior(self.examples, self.present, prior, torch.tensor(certainty))

    def values(self, weights: Float[Tensor, " W"], threshold: float) -> tuple[float, float, float]:
        """Share of false alarms, Dice lost where the structure is, and Dice over as many images of both kinds."""
        off = (self.queries @ weights).sigmoid().numpy() < threshold
        right = np.where(off, ~self.shown, self.dice)
        there, elsewhere = right[self.shown].mean(), right[~self.shown].mean()
        return 1 - elsewhere, self.dice[self.shown].mean() - there, (there + elsewhere) / 2


def trials(collection: Collection) -> Iterator[JudgedTask]:
    """Try the tasks of which some images lack the structure, one after the other."""
    by_dataset: dict[str, list[Task]] = defaultdict(list)
    for task in collection.tasks():
        if collection.card(task.dataset).role in ("train", "dev") and len(lacking(collection, task)) >= LEAST_ASKED:
            by_dataset[task.dataset].append(task)
    for tasks in by_dataset.values():
        for task in sorted(tasks, key=lambda each: stable_hash(each.id))[:TASKS]:
            for size in SIZES:
                for draw in range(DRAWS):
                    yield from trial(collection, task, size, draw)


def trial(collection: Collection, task: Task, size: tuple[int, int], draw: int) -> Iterator[JudgedTask]:
    """Show examples of half of the subjects, and ask about images of the others; nothing if they are too few."""
    kinds = [
        sorted(each, key=lambda sample: stable_hash(task.id, draw, sample.case))
        for each in (collection.samples(task), lacking(collection, task))
    ]
    subjects = {each.subject for kind in kinds for each in kind}
    asked = {*sorted(subjects, key=lambda subject: stable_hash(task.id, draw, subject))[len(subjects) // 2 :]}
    known = [[each for each in kind if each.subject not in asked] for kind in kinds]
    queries = [[each for each in kind if each.subject in asked] for kind in kinds]
    count = min(ASKED, *map(len, queries))
    if count >= LEAST_ASKED and all(len(kind) >= least for kind, least in zip(known, size, strict=True)):
        examples = [each for kind, most in zip(known, size, strict=True) for each in kind[:most]]
        yield from tried(collection, task, size, examples, [each for kind in queries for each in kind[:count]])


def tried(
    collection: Collection, task: Task, size: tuple[int, int], examples: Sequence[Sample], queries: Sequence[Sample]
) -> Iterator[JudgedTask]:
    """Segment queries by examples; nothing if presence is not judged, or without a contrast of so many examples."""
    segmenter = Segmenter(unknown=UNKNOWN, absent="mark", tiling="never")
    segmenter.show_progress = False
    segmenter.fit(*pairs_of(collection, task, examples), subjects=[each.subject for each in examples])
    judgement = segmenter.judgement
    model = judgement.presence
    if model is None or (model.classes[0].contrast is None) != (size[1] < LEAST_EXAMPLES):
        return
    recorded = Recorded(model.reader, model.quality, model.classes, model.dice_shifts)
    vars(judgement)["presence"] = recorded
    images, labels = pairs_of(collection, task, queries)
    found = zip(segmenter.predict(images).masks, labels, strict=True)
    yield JudgedTask(
        task.dataset,
        size,
        untaught(judgement.left_out, 0, model.quality)[1],
        judgement.left_out.shows[:, 0].float(),
        torch.cat(recorded.kept),
        np.array([(label == 1).any() for label in labels]),
        np.array([float(dice(mask > 0, label == 1)) for mask, label in found]),
    )


def fitted(found: Sequence[JudgedTask]) -> Float[Tensor, " W"]:
    """Weights by which the queries of trials are judged best."""
    inputs, shown = torch.cat([each.queries for each in found]), np.concatenate([each.shown for each in found])
    width = inputs.shape[1]
    return posterior(inputs, torch.from_numpy(shown).float(), torch.zeros(width), torch.full((width,), FLAT))


def told(found: Sequence[JudgedTask], priors: Mapping[str, Tensor]) -> Iterator[str]:
    """Tell what weights are worth on the trials of each dataset."""
    values: dict[tuple[tuple[int, int], float], dict[str, list[tuple[float, float, float]]]] = {}
    for each in found:
        weights = each.taught(priors[each.dataset])
        for threshold in (0.0, *SIZES[each.size]):
            by_dataset = values.setdefault((each.size, threshold), defaultdict(list))
            by_dataset[each.dataset].append(each.values(weights, threshold))
    for (size, threshold), by_dataset in sorted(values.items()):
        means = [[fmean(some) for some in zip(*of, strict=True)] for of in by_dataset.values()]
        alarms, lost, over_all = (100 * fmean(some) for some in zip(*means, strict=True))
        where = f"{size[0]} + {size[1]} examples of {len(means)} datasets, absent below {threshold:g}"
        yield f"{where}: drawn where it is not {alarms:.1f} %, Dice lost {lost:.1f}, over all {over_all:.1f}"


def main() -> None:
    """Print what the weights of other datasets are worth, what those in use are, and those of all datasets."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    warnings.simplefilter("ignore")
    found = []
    for each in trials(Collection(Path(sys.argv[1]))):
        found.append(each)
        print(f"\r{len(found)} trials, {each.dataset:40}", end="", file=sys.stderr, flush=True)
    for in_use in (CONTRAST_PRIOR, PRIOR):
        some = [each for each in found if each.queries.shape[1] == len(in_use)]
        datasets = {each.dataset for each in some}
        others = {dataset: fitted([each for each in some if each.dataset != dataset]) for dataset in datasets}
        print("weights of the other datasets", *told(some, others), sep="\n")
        print("weights in use", *told(some, dict.fromkeys(datasets, torch.tensor(in_use))), sep="\n")
        print(f"weights of all datasets: {', '.join(f'{each:.2f}' for each in fitted(some).tolist())}")


if __name__ == "__main__":
    main()
