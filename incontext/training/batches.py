"""The augmented batches of a training run, each a function of the seed and its number alone."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from incontext.synthesis.tasks import superpixel_set, synthetic_set
from incontext.training.augment import AugmentConfig, augment
from incontext.training.episodes import EpisodeConfig, LabelledSet, SetSize, TaskImages, TaskSampler, TrainingData
from incontext.training.partial import partly_known


class Batch(NamedTuple):
    """B sets of n labelled images, each of another task."""

    images: Float[Tensor, "B n 1 H W"]
    """Intensities in [0, 1]."""
    labels: Float[Tensor, "B n 1 H W"]
    """Annotation in {0, 1}, and `megamed.unknown.UNKNOWN_SHARE` where nobody judged."""
    shown: Float[Tensor, "B n 1 H W"]
    """Labels as they are shown as support, where some are partial; else the annotation itself."""
    queries: int
    """Number of queries, the first images of each set; the support of each is all other images of its set."""

    def to(self, device: torch.device) -> "Batch":
        """Copy the batch to a device."""
        images, labels, shown = (each.to(device, non_blocking=True) for each in self[:3])
        return Batch(images, labels, shown, self.queries)


class StepBatches(Dataset[Batch]):
    """Batches by their number, independent of the process and the order in which they are made.

    All sets of a batch have one size, drawn to fit its first task; the further tasks are drawn out of those that are
    large enough. So the first is uniform over the hierarchy, and of the others only tasks smaller than a set are seen
    less often.
    """

    def __init__(
        self, episodes: EpisodeConfig, augmentation: AugmentConfig, data: TrainingData, seed: int, count: int
    ) -> None:
        self._episodes = episodes
        self._augmentation = augmentation
        self._sampler = TaskSampler(data.tasks, data.auxiliary, episodes.auxiliary_share)
        self._seed = seed
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Batch:
        """Draw the sets of a batch and augment them; global generators stay as they are."""
        rng = np.random.default_rng((self._seed, index))
        sets, queries = self.draw(rng)
        images, labels = (torch.stack(parts) for parts in zip(*(drawn.tensors() for drawn in sets), strict=True))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**63)))
            images, labels = augment(images, labels, self._augmentation)
        is_partial = rng.random(len(labels)) < self._episodes.partial_share
        shown = [partly_known(each, rng) if some else each for each, some in zip(labels, is_partial, strict=True)]
        return Batch(images, labels, torch.stack(shown) if is_partial.any() else labels, queries)

    def draw(self, rng: np.random.Generator) -> tuple[list[LabelledSet], int]:
        """Draw the sets of a batch as they are in the collection, and their number of queries."""
        first = self._sampler.draw(rng, at_least=min(self._episodes.set_sizes))
        size = self._episodes.draw_size(len(first), rng)
        further = max(1, self._episodes.images_per_batch // size.images) - 1
        tasks = [first, *(self._sampler.draw(rng, at_least=size.images) for _ in range(further))]
        return [self._draw_set(task, size, rng) for task in tasks], size.queries

    def _draw_set(self, task: TaskImages, size: SetSize, rng: np.random.Generator) -> LabelledSet:
        """A set of a task or, at the stated shares, of one made up in its place."""
        source = rng.random() - self._episodes.synthetic_share
        if source < 0:
            return LabelledSet(*synthetic_set(size.images, task.labels.shape[-1], rng))
        if source < self._episodes.superpixel_share:
            image = task.view.images[rng.choice(task.rows)]
            return LabelledSet(*superpixel_set(image, size.images, rng))
        return task.draw(size, self._episodes, rng)
