"""Definitions of one structure side by side: what each dataset of a collection draws by its name, and how large."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from megamed.collection import Collection
from megamed.names import Named, find, named_tasks
from megamed.schema import Task, slugify


@dataclass(frozen=True)
class Definition:
    """Definition of a task's label, as far as its collection tells.

    Attributes:
        task: The task.
        title: Title of its dataset.
        licence: Licence of the dataset as its source states it; empty if it is not known.
        images: Number of images that show the label.
        area: Median share of an image that the label covers where it is shown, in [0, 1].
        unites: Labels whose union the label is; none if it was drawn as such.
        is_asked: Whether the label is what was asked for, not a part of it or more than it.
    """

    task: Task
    title: str
    licence: str
    images: int
    area: float
    unites: tuple[str, ...] = ()
    is_asked: bool = True

    @classmethod
    def of(cls, collection: Collection, task: Task, is_asked: bool = True) -> "Definition":
        """Look up what a collection tells of a task."""
        card, areas = collection.card(task.dataset), collection.areas(task)
        share = float(np.median(areas[areas > 0])) / collection.size_px**2
        united = next((values for name, values in card.derived_labels.items() if slugify(name) == task.label), ())
        unites = tuple(slugify(card.labels[value]) for value in united)
        licence = card.license or ""
        return cls(task, card.title, licence, int(np.count_nonzero(areas > 0)), share, unites, is_asked)

    def row(self) -> dict[str, str | int]:
        """The definition as a row of a table."""
        meaning = " + ".join(self.unites) if self.unites else "drawn as such"
        return {
            "label": self.task.label if self.is_asked else f"({self.task.label})",
            "dataset": self.task.dataset,
            "images of": self.task.view,
            "images": self.images,
            "area": f"{self.area:.1%}",
            "what it is": meaning,
            "licence": self.licence or "unknown",
        }

    def as_dict(self) -> dict[str, object]:
        """The definition as JSON holds it."""
        return {"task": self.task.id, **{name: value for name, value in asdict(self).items() if name != "task"}}


def definitions(collection: Collection, words: str = "") -> list[Definition]:
    """List what a collection means by a name: the tasks of that structure, and beside them what is part of it or more.

    Args:
        collection: The collection.
        words: Name of a structure, and if wanted of a modality; empty for all tasks.

    Raises:
        ValueError: If no task is of it; the message has the nearest names.
    """
    if not words.strip():
        return [Definition.of(collection, task) for task in collection.tasks()]
    named = named_tasks(collection)
    found = find(words, named)
    if not found.hits:
        raise ValueError(found.refusal())
    asked = [hit.task for hit in found.hits]
    beside = _beside(asked, named)
    return [Definition.of(collection, task, task in asked) for task in (*asked, *beside)]


def _beside(asked: Sequence[Task], named: Sequence[Named]) -> list[Task]:
    """Return the tasks on the same images whose labels' names say more than those of some tasks, or less."""
    meant = {each.task: each.readings[0].words for each in named}
    views: dict[tuple[str, str], list[frozenset[str]]] = defaultdict(list)
    for task in asked:
        views[task.dataset, task.view].append(meant[task])
    return [
        task
        for task, words in meant.items()
        if task not in asked and any(words < own or own < words for own in views[task.dataset, task.view])
    ]
