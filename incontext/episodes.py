"""From a collection to episodes: tasks in memory, and hierarchical sampling of labelled sets from them."""

import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from megamed import Collection, Task
from megamed.schema import Role


@dataclass(frozen=True)
class TaskImages:
    """One task with all its labelled images in memory."""

    task: Task
    images: UInt8[np.ndarray, "N H W"]
    """Intensities; 255 stands for 1."""
    labels: UInt8[np.ndarray, "N H W"]
    """Annotation in {0, 1}."""
    subjects: tuple[str, ...]
    """The subject of each image."""

    def __len__(self) -> int:
        return len(self.subjects)

    def pick(self, rows: Sequence[int]) -> tuple[Float[torch.Tensor, "n 1 H W"], Float[torch.Tensor, "n 1 H W"]]:
        """The images in [0, 1] and labels of some rows."""
        images = torch.from_numpy(self.images[rows]).float().div_(255)
        return images.unsqueeze(1), torch.from_numpy(self.labels[rows]).float().unsqueeze(1)


def load_tasks(collection: Collection, roles: Sequence[Role]) -> list[TaskImages]:
    """Read every task of the datasets with these roles, all splits together.

    What generalises is measured on whole datasets held out, so none of a training dataset's subjects is kept back.

    Raises:
        ValueError: If no dataset of the collection has one of the roles.
    """
    loaded = []
    for task in collection.tasks(roles=roles):
        samples = collection.samples(task)
        rows = [sample.row for sample in samples]
        subjects = tuple(sample.subject for sample in samples)
        if samples:
            loaded.append(TaskImages(task, collection.images(task, rows), collection.labels(task, rows), subjects))
    if not loaded:
        msg = (
            f"the collection holds no task to use: expected datasets of role {' or '.join(roles)}, got none. "
            "See `megamed list` for the roles it has."
        )
        raise ValueError(msg)
    return loaded


def draw_rows(subjects: Sequence[str], count: int, rng: np.random.Generator) -> list[int]:
    """Rows of `count` different images, of different subjects as far as there are enough.

    Raises:
        ValueError: If there are fewer images than asked for.
    """
    if count > len(subjects):
        msg = (
            f"count is too large: expected at most {len(subjects)} images, got {count}. Draw smaller sets of this task."
        )
        raise ValueError(msg)
    by_subject: dict[str, list[int]] = defaultdict(list)
    for row in rng.permutation(len(subjects)):
        by_subject[subjects[row]].append(int(row))
    queues = list(by_subject.values())
    rounds = [queue[i] for i in range(max(map(len, queues))) for queue in queues if i < len(queue)]
    return rounds[:count]


class TaskSampler:
    """Draws tasks uniformly down the hierarchy: dataset, modality, axis, label.

    Large datasets and those with many labels are seen no more often than others (UniverSeg, Butoi et al. 2023).

    Args:
        tasks: What to draw from.
        auxiliary: Names of the datasets that get `auxiliary_share` of the draws.
        auxiliary_share: Between 0 and 1; without effect if all or none of the tasks are auxiliary.
    """

    def __init__(self, tasks: Sequence[TaskImages], auxiliary: frozenset[str], auxiliary_share: float) -> None:
        self._primary = [t for t in tasks if t.task.dataset not in auxiliary]
        self._auxiliary = [t for t in tasks if t.task.dataset in auxiliary]
        self._auxiliary_share = auxiliary_share if self._primary else 1.0

    def draw(self, rng: np.random.Generator, at_least: int) -> TaskImages:
        """Draw a task that has at least so many images.

        Raises:
            ValueError: If after a thousand draws none had.
        """
        for _ in range(1000):
            task = self._draw(rng)
            if len(task) >= at_least:
                return task
        msg = f"no task is large enough: expected {at_least} images, got fewer in each. Draw smaller sets."
        raise ValueError(msg)

    def _draw(self, rng: np.random.Generator) -> TaskImages:
        use_auxiliary = rng.random() < self._auxiliary_share and self._auxiliary
        candidates = self._auxiliary if use_auxiliary else self._primary
        for level in ("dataset", "modality", "axis"):
            names = list(dict.fromkeys(getattr(c.task, level) for c in candidates))
            name = names[rng.integers(len(names))]
            candidates = [c for c in candidates if getattr(c.task, level) == name]
        return candidates[rng.integers(len(candidates))]


@dataclass(frozen=True)
class DevTask:
    """One task with a fixed support set and the queries of other subjects."""

    dataset: str
    support_images: Float[torch.Tensor, "1 S 1 H W"]
    support_labels: Float[torch.Tensor, "1 S 1 H W"]
    query_images: Float[torch.Tensor, "Q 1 H W"]
    query_labels: Float[torch.Tensor, "Q 1 H W"]


@dataclass(frozen=True)
class TrainingData:
    """What a training run takes from a collection."""

    tasks: list[TaskImages]
    """Tasks of the roles `train` and `auxiliary`, to learn from."""
    auxiliary: frozenset[str]
    """Those of their datasets that are auxiliary."""
    dev: list[DevTask]
    """Tasks of the role `dev`, to watch."""
    licenses: dict[str, str]
    """Of each dataset learned from."""

    @classmethod
    def load(cls, collection_path: Path, seed: int) -> "TrainingData":
        """Read a collection; the seed decides the dev supports.

        Raises:
            ValueError: If the collection has nothing to learn from.
        """
        collection = Collection(collection_path)
        tasks = load_tasks(collection, ("train", "auxiliary"))
        cards = [collection.card(dataset) for dataset in sorted({t.task.dataset for t in tasks})]
        return cls(
            tasks,
            frozenset(card.id for card in cards if card.role == "auxiliary"),
            dev_tasks(collection, seed),
            {card.id: card.license or "unstated" for card in cards},
        )


def dev_tasks(collection: Collection, seed: int, support_size: int = 16, queries: int = 8) -> list[DevTask]:
    """The tasks of the role `dev`, a third of each one's subjects for queries, the others for its support."""
    if not collection.tasks(roles=("dev",)):
        return []
    return [_dev_task(task, seed, support_size, queries) for task in load_tasks(collection, ("dev",))]


def _dev_task(task: TaskImages, seed: int, support_size: int, queries: int) -> DevTask:
    rng = np.random.default_rng((seed, zlib.crc32(task.task.id.encode())))
    subjects = rng.permutation(sorted(set(task.subjects)))
    asking = set(subjects[: max(1, len(subjects) // 3)])
    query_rows = [row for row, subject in enumerate(task.subjects) if subject in asking]
    support_rows = [row for row, subject in enumerate(task.subjects) if subject not in asking]

    def some(rows: list[int], count: int) -> tuple[torch.Tensor, torch.Tensor]:
        drawn = draw_rows([task.subjects[row] for row in rows], min(count, len(rows)), rng)
        return task.pick([rows[i] for i in drawn])

    support_images, support_labels = some(support_rows, support_size)
    query_images, query_labels = some(query_rows, queries)
    return DevTask(task.task.dataset, support_images[None], support_labels[None], query_images, query_labels)
