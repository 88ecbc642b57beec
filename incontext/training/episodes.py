"""Episodes from a collection: tasks in memory, and hierarchical sampling of labelled sets from them."""

import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from pydantic import BaseModel, ConfigDict, Field, model_validator

from incontext.networks.unknown import as_shares
from incontext.training.windows import cut
from megamed import Collection, DatasetCard, Task
from megamed.files import sha256_of
from megamed.licences import is_open
from megamed.manifest import DatasetEntry
from megamed.vocabulary import Role

MOST_ABSENT = 0.7
"""Largest chance of an image to be one without the label, in sets that have many of these."""
TRAINING_ROLES: tuple[Role, ...] = ("train", "auxiliary")


class SetSize(NamedTuple):
    """Numbers of images of a set and of its queries, which come first."""

    images: int
    queries: int


class EpisodeConfig(BaseModel):
    """Configuration of the data to learn from, and of how sets of labelled images are drawn from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    licence: Literal["any", "open"] = "any"
    """`open` restricts training to datasets that anyone may use, change and share for any purpose."""
    datasets: tuple[str, ...] | None = None
    """Datasets to learn from; by default all of the roles `train` and `auxiliary`."""
    leave_out: tuple[str, ...] = ()
    """Datasets to leave out, in spite of their role."""
    min_label_px: int = Field(default=16, gt=0)
    """Least area in pixels, at the size of the collection, of a label to learn from."""
    images_per_batch: int = Field(default=24, gt=1)
    """Number of images in a batch, which holds as many sets as fit, at least one."""
    set_sizes: tuple[int, ...] = Field(default=(2, 3, 4, 6, 9, 13), min_length=1)
    """Sizes of sets, in images, each a query with the rest of its set as the support: the support size is one less."""
    large_set_sizes: tuple[int, ...] = (17, 33, 65)
    """Sizes of sets, in images, of which only some are queries."""
    large_share: float = Field(default=0.1, ge=0, le=1)
    """Chance that the sets of a batch are of a large size, if its first task has images enough."""
    queries_per_large_set: int = Field(default=8, gt=0)
    """Number of images of a large set that are queries."""
    auxiliary_share: float = Field(default=0.12, ge=0, le=1)
    """Share of the draws that go to datasets of the role `auxiliary`; without effect if there are no others."""
    background_rate: float = Field(default=0.05, ge=0, le=1)
    """Chance of an image to be replaced by one that is known to be without the label, where the task has any. Two
    images of a set are always labelled, so that every support shows what is wanted; sets of two have none replaced."""
    absent_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the sets in which more images are without the label than `background_rate` says: up to `MOST_ABSENT`."""
    window_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the sets of which windows are shown, as tiles of large images are; some are empty in every task then."""
    partial_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the sets in which labels are partial where they are shown as support: see `partial.partly_known`."""
    synthetic_share: float = Field(default=0.2, ge=0, le=1)
    """Share of the sets that are drawn from noise."""
    superpixel_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the sets whose label is a superpixel of one image of the drawn task."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if min(self.set_sizes + self.large_set_sizes) < 2:
            msg = f"set sizes are too small: expected at least 2, got {min(self.set_sizes + self.large_set_sizes)}."
            raise ValueError(msg)
        if (shares := self.synthetic_share + self.superpixel_share) > 1:
            msg = f"synthetic_share and superpixel_share are too large: expected a sum of at most 1, got {shares:g}."
            raise ValueError(msg)
        return self

    def draw_size(self, images: int, rng: np.random.Generator) -> SetSize:
        """Draw the size of the sets of a batch, which does not exceed the number of images of its first task."""
        if rng.random() < self.large_share and (large := [size for size in self.large_set_sizes if size <= images]):
            size = int(rng.choice(large))
            return SetSize(size, min(size, self.queries_per_large_set))
        size = int(rng.choice([size for size in self.set_sizes if size <= images]))
        return SetSize(size, size)


DEFAULT = EpisodeConfig()


class LabelledSet(NamedTuple):
    """A set of labelled images of one task."""

    images: UInt8[np.ndarray, "n H W"]
    """Intensities; 255 stands for 1."""
    labels: UInt8[np.ndarray, "n H W"]
    """Annotation in {0, 1} and `megamed.unknown.UNKNOWN`."""

    def tensors(self) -> tuple[Float[torch.Tensor, "n 1 H W"], Float[torch.Tensor, "n 1 H W"]]:
        """The images in [0, 1], and the labels as `incontext.networks.unknown` has them."""
        images, labels = (torch.from_numpy(array).unsqueeze(1) for array in self)
        return images.float().div_(255), as_shares(labels)


@dataclass(frozen=True)
class ViewImages:
    """All images of one view, shared by its tasks."""

    images: UInt8[np.ndarray, "R H W"]
    """Intensities; 255 stands for 1."""
    subjects: tuple[str, ...]
    """The subject of each image."""


@dataclass(frozen=True)
class TaskImages:
    """One task with all its labelled images in memory."""

    task: Task
    view: ViewImages
    rows: Int[np.ndarray, " N"]
    """The images of the view that show the label."""
    labels: UInt8[np.ndarray, "N H W"]
    """Annotation of these rows, in the values of `LabelledSet`."""
    absent: Int[np.ndarray, " A"]
    """The images of the view that are known to be without the label."""

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def subjects(self) -> tuple[str, ...]:
        """The subject of each labelled image."""
        return tuple(self.view.subjects[row] for row in self.rows)

    def pick(self, indices: Sequence[int]) -> LabelledSet:
        """Return a set of the labelled images that have these indices."""
        return LabelledSet(self.view.images[self.rows[indices]], self.labels[indices])

    def draw(self, size: SetSize, config: EpisodeConfig, rng: np.random.Generator) -> LabelledSet:
        """Draw a set of which the first images are queries.

        Images without the label are of another subject if there is one; at least two keep theirs.

        Args:
            size: Numbers of images and of queries.
            config: Chances of images without the label, and of windows.
            rng: Source of randomness.
        """
        indices = draw_rows(self.subjects, size.images, rng, size.queries)
        images, labels = self.pick(indices)
        rate = rng.uniform(0, MOST_ABSENT) if rng.random() < config.absent_share else config.background_rate
        replaced = rng.permutation(np.flatnonzero(rng.random(size.images) < rate))[: size.images - 2]
        if rng.random() < config.window_share:
            return LabelledSet(*cut(images, labels, np.isin(np.arange(size.images), replaced), rng))
        shown = {self.subjects[index] for index in indices}
        absent = sorted(rng.permutation(self.absent), key=lambda row: self.view.subjects[row] in shown)
        for index, row in zip(replaced, absent, strict=False):
            images[index], labels[index] = self.view.images[row], 0
        return LabelledSet(images, labels)


def load_tasks(collection: Collection, tasks: Iterable[Task], min_label_px: int = 1) -> list[TaskImages]:
    """Read tasks, all splits together, without labels of fewer pixels than asked for.

    What generalises is measured on whole datasets held out, so none of a training dataset's subjects is kept back.
    """
    views: dict[tuple[str, str], ViewImages] = {}
    loaded = []
    for task in tasks:
        if (key := (task.dataset, task.view)) not in views:
            views[key] = _load_view(collection, task)
        areas = collection.areas(task)
        rows = np.flatnonzero(areas >= min_label_px)
        labels = collection.labels(task, rows.tolist())
        absent = (areas == 0) & (collection.unknown_areas(task) == 0)
        loaded.append(TaskImages(task, views[key], rows, labels, np.flatnonzero(absent)))
    return [task for task in loaded if len(task)]


def _load_view(collection: Collection, task: Task) -> ViewImages:
    """Read all images of a task's view and whose they are."""
    subjects = collection.subjects(task)
    return ViewImages(collection.images(task, range(len(subjects))), subjects)


def draw_rows(subjects: Sequence[str], count: int, rng: np.random.Generator, queries: int = 0) -> list[int]:
    """Rows of `count` different images, the queries first, and as few of one subject as possible.

    Images come from different subjects while there are enough. If not, those that are no queries come from subjects
    that are not asked about, and only where even these are used up does a query see its own subject.

    Args:
        subjects: The subject of each image.
        count: Number of images to draw.
        rng: Source of randomness.
        queries: Number of queries among them; 0 means all.

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
    asked, others = queues[: queries or count], queues[queries or count :]
    return [*(queue[0] for queue in asked), *_rounds(others), *_rounds(queue[1:] for queue in asked)][:count]


def _rounds(queues: Iterable[list[int]]) -> list[int]:
    """The first row of every queue, then the second of every queue, and so on."""
    return [row for turn in zip_longest(*queues) for row in turn if row is not None]


class TaskSampler:
    """Draws tasks uniformly down the hierarchy: dataset, modality, axis, label.

    Large datasets and those with many labels are seen no more often than others (UniverSeg, Butoi et al. 2023).

    Args:
        tasks: Tasks to draw from.
        auxiliary: Names of the datasets that get `auxiliary_share` of the draws.
        auxiliary_share: Share of the draws, in [0, 1]; without effect if all or none of the tasks are auxiliary.
    """

    def __init__(self, tasks: Sequence[TaskImages], auxiliary: frozenset[str], auxiliary_share: float) -> None:
        self._tasks = tasks
        self._auxiliary = auxiliary
        self._auxiliary_share = auxiliary_share

    def draw(self, rng: np.random.Generator, at_least: int) -> TaskImages:
        """Draw a task out of those that have at least a number of images, as if there were no others.

        Raises:
            ValueError: If there is none.
        """
        large_enough = [t for t in self._tasks if len(t) >= at_least]
        if not large_enough:
            msg = (
                f"no task is large enough: expected {at_least} images, got at most "
                f"{max(map(len, self._tasks), default=0)}. Draw smaller sets."
            )
            raise ValueError(msg)
        use_auxiliary = rng.random() < self._auxiliary_share
        candidates = [t for t in large_enough if (t.task.dataset in self._auxiliary) == use_auxiliary] or large_enough
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
    """Data of a training run."""

    tasks: list[TaskImages]
    """Tasks of the roles `train` and `auxiliary`, to learn from."""
    auxiliary: frozenset[str]
    """Datasets of the tasks that are auxiliary."""
    dev: list[DevTask]
    """Tasks of the role `dev`, to watch."""
    licenses: dict[str, str]
    """Licence of each dataset that is learned from."""
    content: dict[str, str] = field(default_factory=dict)
    """Hash of the content of each dataset that is learned from."""

    @classmethod
    def load(cls, collection_path: Path, seed: int, config: EpisodeConfig = DEFAULT) -> "TrainingData":
        """Read what a configuration selects of a collection; the seed decides the dev supports.

        Raises:
            ValueError: If that is nothing, or names datasets that are unknown or not for training.
        """
        collection = Collection(collection_path)
        cards = training_cards(collection, config)
        tasks = load_tasks(collection, collection.tasks([card.id for card in cards]), config.min_label_px)
        learned = {t.task.dataset for t in tasks if len(t) >= min(config.set_sizes)}
        if not learned:
            msg = (
                f"the collection holds nothing to learn from: expected tasks of at least {min(config.set_sizes)} "
                f"images in datasets of role train or auxiliary and of {config.licence} licence, got none. "
                "See `megamed list`."
            )
            raise ValueError(msg)
        return cls(
            tasks,
            frozenset(card.id for card in cards if card.role == "auxiliary"),
            dev_tasks(collection, seed),
            {card.id: card.license or "unstated" for card in cards if card.id in learned},
            {card.id: content_hash(collection, card.id) for card in cards if card.id in learned},
        )


def content_hash(collection: Collection, dataset: str) -> str:
    """SHA-256 of the file of a dataset, which holds its images, labels and card; from the manifest if there is one."""
    entry = collection.entry(dataset)
    return entry.sha256 if isinstance(entry, DatasetEntry) else sha256_of(collection.path)


def training_cards(collection: Collection, config: EpisodeConfig) -> list[DatasetCard]:
    """The datasets of a collection to learn from.

    Raises:
        ValueError: If a dataset that is asked for is unknown, or one that generalisation is measured on.
    """
    left_out = {collection.card(name).id for name in config.leave_out}
    cards = [collection.card(name) for name in config.datasets or collection.datasets]
    usable = [card for card in cards if card.role in TRAINING_ROLES]
    if config.datasets and (kept_back := sorted({card.id for card in cards} - {card.id for card in usable})):
        msg = f"datasets are not for training: expected the role train or auxiliary, got {kept_back}. Leave them out."
        raise ValueError(msg)
    return [c for c in usable if c.id not in left_out and (config.licence == "any" or is_open(c.license))]


def dev_tasks(
    collection: Collection,
    seed: int,
    support_size: int = 16,
    queries: int = 8,
    roles: Sequence[Role] = ("dev",),
) -> list[DevTask]:
    """The tasks of some roles, a third of each one's subjects for queries, the others for its support.

    A task that is too small for a support of that size has one of all the images of the others; the queries are the
    same whatever the support size.
    """
    tasks = load_tasks(collection, collection.tasks(roles=roles))
    return [_dev_task(task, seed, support_size, queries) for task in tasks if len(set(task.subjects)) > 1]


def _dev_task(task: TaskImages, seed: int, support_size: int, queries: int) -> DevTask:
    rng = np.random.default_rng((seed, zlib.crc32(task.task.id.encode())))
    subjects = rng.permutation(sorted(set(task.subjects)))
    asking = set(subjects[: max(1, len(subjects) // 3)])
    query_rows = [row for row, subject in enumerate(task.subjects) if subject in asking]
    support_rows = [row for row, subject in enumerate(task.subjects) if subject not in asking]

    def some(rows: list[int], count: int) -> tuple[torch.Tensor, torch.Tensor]:
        drawn = draw_rows([task.subjects[row] for row in rows], min(count, len(rows)), rng)
        return task.pick([rows[i] for i in drawn]).tensors()

    support_images, support_labels = some(support_rows, support_size)
    query_images, query_labels = some(query_rows, queries)
    return DevTask(task.task.dataset, support_images[None], support_labels[None], query_images, query_labels)
