"""Whether a suite tests weights on images that they were trained on, by content rather than by name."""

from collections.abc import Iterable, Sequence

from benchmarks.predictors import NamedPredictor
from megamed import Collection, Task
from megamed.audit import content_hash, each_image

EXAMPLES = 3


def refuse_leaks(
    collection: Collection, tasks: Iterable[Task], predictors: Iterable[NamedPredictor]
) -> dict[str, list[str]]:
    """Make sure that no image of some tasks is among the training data that the weights' provenance lists.

    Returns:
        Per predictor, the training datasets that the collection lacks, so that they could not be compared.

    Raises:
        ValueError: If the same pixels are on both sides.
    """
    tested: dict[str, str] = {}
    missing: dict[str, list[str]] = {}
    for predictor in predictors:
        if not (trained := trained_on(predictor)):
            continue
        tested = tested or _contents(collection, tasks)
        present = set(trained) & set(collection.datasets)
        missing[predictor.name] = sorted(set(trained) - present)
        learned = _contents(collection, collection.tasks(sorted(present)))
        if common := sorted(tested.keys() & learned.keys(), key=tested.__getitem__):
            raise ValueError(_leak_message(predictor.name, [(tested[name], learned[name]) for name in common]))
    return missing


def trained_on(predictor: NamedPredictor) -> list[str]:
    """Ids of the datasets that a predictor's weights were trained on, as far as their file says."""
    return sorted(predictor.provenance.get("provenance", {}).get("datasets", ()))


def _contents(collection: Collection, tasks: Iterable[Task]) -> dict[str, str]:
    """Name each distinct image of some tasks by the hash of its pixels."""
    return {
        content_hash(collection.image(task, sample.row)): f"{task.dataset}/{task.view} {sample.case}"
        for task, sample in each_image(collection, tasks)
    }


def _leak_message(name: str, pairs: Sequence[tuple[str, str]]) -> str:
    """Phrase the refusal, with some examples."""
    examples = "; ".join(place if place == learned else f"{place} is {learned}" for place, learned in pairs[:EXAMPLES])
    return (
        f"The suite tests {name} on images that it was trained on: expected none in common, got {len(pairs)}, such as "
        f"{examples}. Leave these datasets out of the collection, or train without them."
    )
