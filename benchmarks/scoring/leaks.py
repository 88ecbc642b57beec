"""Search for test images that weights were trained on, by content rather than by name."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, runtime_checkable

from megamed import Collection, Task
from megamed.audit import content_hash, each_image

EXAMPLES = 3


@runtime_checkable
class HasProvenance(Protocol):
    """Anything with the metadata of a weights file, such as a `NamedPredictor`."""

    @property
    def name(self) -> str:
        """Name by which results know it."""

    @property
    def provenance(self) -> dict[str, Any]:
        """Metadata of the weights file, which states the training data."""


@dataclass(frozen=True)
class Leaks:
    """Findings on images of some tasks that weights were trained on."""

    seen: dict[str, dict[str, str]]
    """Mapping of a predictor → id of a task on whose images it was trained → message that names some of them."""
    not_compared: dict[str, list[str]]
    """Mapping of a predictor → ids of its training datasets that the collection lacks, which cannot be compared."""


def find_leaks(collection: Collection, tasks: Iterable[Task], predictors: Iterable[HasProvenance]) -> Leaks:
    """Look for images of some tasks among the training data that the weights' provenance lists."""
    tasks = list(tasks)
    seen: dict[str, dict[str, str]] = {}
    not_compared: dict[str, list[str]] = {}
    of_dataset = cache(lambda dataset: _contents(collection, collection.tasks([dataset])))
    of_task = cache(lambda task: _contents(collection, [task]))
    for predictor in predictors:
        if not (trained := trained_on(predictor)):
            continue
        present = sorted(set(trained) & set(collection.datasets))
        not_compared[predictor.name] = sorted(set(trained) - set(present))
        learned = {image: name for dataset in reversed(present) for image, name in of_dataset(dataset).items()}
        for task in tasks:
            pairs = [(image, learned[name]) for name, image in of_task(task).items() if name in learned]
            if pairs:
                seen.setdefault(predictor.name, {})[task.id] = _leak_message(sorted(pairs))
    return Leaks(seen, not_compared)


def trained_on(predictor: HasProvenance) -> list[str]:
    """Ids of the datasets that a predictor's weights were trained on, as far as their file says."""
    return dataset_ids(predictor.provenance)


def dataset_ids(metadata: Mapping[str, Any]) -> list[str]:
    """Ids of the datasets that weights were trained on, as far as their metadata say."""
    return sorted(metadata.get("provenance", {}).get("datasets", ()))


def _contents(collection: Collection, tasks: Iterable[Task]) -> dict[str, str]:
    """Name each distinct image of some tasks by the hash of its pixels."""
    return {
        content_hash(collection.image(task, sample.row)): f"{task.dataset}/{task.view} {sample.case}"
        for task, sample in each_image(collection, tasks)
    }


def _leak_message(pairs: Sequence[tuple[str, str]]) -> str:
    """Phrase the finding on pairs of a test image and its copy in the training data, with some examples."""
    examples = "; ".join(image if image == learned else f"{image} is {learned}" for image, learned in pairs[:EXAMPLES])
    return (
        f"The weights were trained on its images: expected none in common, got {len(pairs)}, such as {examples}. "
        "Leave this dataset out of the collection, or train without it."
    )
