"""Films in a collection: the images of one subject in the order of their names, with all labels of a dataset."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from jaxtyping import UInt8

from megamed import Collection, Task
from megamed.file_names import natural_order
from megamed.unknown import foreground

LEAST_FRAMES = 20
"""Number of frames from which on the images of a subject are a film."""


@dataclass(frozen=True, eq=False)
class Film:
    """Frames of one subject in their order, and their labels as one map."""

    subject: str
    tasks: tuple[Task, ...]
    """Tasks of the dataset, of which the first has the value 1 in the label maps, the second 2, and so on."""
    images: UInt8[np.ndarray, "N H W"]
    labels: UInt8[np.ndarray, "N H W"]

    @property
    def dataset(self) -> str:
        """Id of the dataset."""
        return self.tasks[0].dataset


def find_films(collection: Collection) -> Iterator[Film]:
    """Read the films of a collection, in which each subject is one.

    Frames that show no label at all are left out, since a collection does not tell whether anybody looked at them.
    """
    for _, same_view in groupby(collection.tasks(), key=lambda task: (task.dataset, task.view)):
        tasks = tuple(same_view)
        frames: dict[str, dict[int, str]] = defaultdict(dict)
        for task in tasks:
            for sample in collection.samples(task):
                frames[sample.subject][sample.row] = sample.case
        for subject, cases in sorted(frames.items()):
            if len(cases) >= LEAST_FRAMES:
                rows = sorted(cases, key=lambda row: natural_order(cases[row]))
                labels = np.zeros((len(rows), collection.size_px, collection.size_px), np.uint8)
                for value, task in enumerate(tasks, start=1):
                    labels[foreground(collection.labels(task, rows))] = value
                yield Film(subject, tasks, collection.images(tasks[0], rows), labels)
