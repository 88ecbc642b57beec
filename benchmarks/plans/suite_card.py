"""Suites for others: a frozen list of a collection's tasks, and the card that says what is asked, of which data.

No dataset has to have a role for it: whoever scores a network is refused where the network has seen the images.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.plans.frozen_lists import FrozenList, FrozenTask, freeze, write_list
from benchmarks.plans.suites import NO_LICENSE
from benchmarks.plans.task_plans import Settings
from megamed import Collection, Task, manifest
from megamed.files import claimed, replace_file, sha256_of

LIST_NAME, CARD_NAME = "list.json", "card.md"
FEW_SUBJECTS = 10
"""Number of subjects below which a task's interval says little."""
SIZES = (10, 50, 90)
"""Percentiles of the object sizes that a card tells."""
ENTER = """\
## How to score

```
incontext-bench run --collection COLLECTION --list list.json --predictor mine:predictor --out scores
```

on a collection that holds the same images, or enter a leaderboard with `incontext-bench submit`.
Plan `{plan}`, list `{list}`.
"""


@dataclass(frozen=True)
class TaskFacts:
    """Facts of a task that a card tells."""

    task: Task
    subjects: int
    images: int
    queries: int
    absent: int
    """Number of the queries that lack the structure."""
    sizes_percent: tuple[float, ...]
    """Sizes of its objects at the percentiles of `SIZES`, in per cent of the image."""

    @classmethod
    def of(cls, collection: Collection, task: Task, frozen: FrozenTask) -> "TaskFacts":
        """Count what a collection holds of a task, and what a list asks of it."""
        samples = collection.samples(task)
        showing = {sample.case for sample in samples}
        asked = {frozen.cases[query] for query, _, _ in frozen.episodes}
        areas = np.array([sample.area_px for sample in samples]) / collection.size_px**2
        return cls(
            task,
            subjects=len({sample.subject for sample in samples}),
            images=len(samples),
            queries=len(asked),
            absent=len(asked - showing),
            sizes_percent=tuple(100 * float(each) for each in np.percentile(areas, SIZES)),
        )


def make_suite(
    collection_path: Path, settings: Settings, out: Path, name: str = "", datasets: Sequence[str] = ()
) -> FrozenList:
    """Freeze the tasks of a suite into `list.json` in a folder, and describe them in `card.md` beside it.

    Args:
        collection_path: Path of the collection.
        settings: Settings that decide the episodes.
        out: Folder to write to, made if need be.
        name: Name on the card; by default that of the folder.
        datasets: Ids of the datasets to take tasks from; by default all of the suite.

    Raises:
        ValueError: If there is no such dataset, or the collection has no task to ask about.
    """
    collection = Collection(collection_path)
    with claimed(out, "suite", (LIST_NAME, CARD_NAME)):
        frozen = freeze(collection, settings, datasets)
        write_list(out / LIST_NAME, frozen)
        replace_file(out / CARD_NAME, card(collection, frozen, name or out.resolve().name))
    return frozen


def card(collection: Collection, frozen: FrozenList, name: str) -> str:
    """Write the card of a frozen list as Markdown."""
    facts = [TaskFacts.of(collection, Task.from_id(task), each) for task, each in frozen.tasks.items()]
    asked = sum(each.queries for each in facts)
    about = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in vars(frozen.settings).items())
    parts = [
        f"# {name}",
        f"{len(facts)} tasks of {len(frozen.licenses)} datasets, {asked} queries in all. Dice is a mean over datasets "
        "of the mean over tasks of the mean over subjects; intervals resample tasks and subjects.",
        f"Settings: {about}. Collection `{sha256_of(collection.path / manifest.NAME)[:16]}` of {collection.size_px} "
        "pixels.",
        "## Datasets",
        table(("dataset", "title", "modality", "anatomy", "tasks", "licence", "source"), _datasets(collection, facts)),
        "## Tasks",
        "Sizes are those of the objects, in per cent of the image: a tenth of them are smaller than the first, half "
        "than the second, and a tenth are larger than the last.",
        table(("task", "subjects", "images", "queries", "of these without it", "sizes, %"), map(_line, facts)),
        "## Limits",
        "\n".join(f"* {each}" for each in limits(frozen, facts)),
        ENTER.format(plan=frozen.plan_hash, list=frozen.hash[:16]),
    ]
    return "\n\n".join(parts)


def limits(frozen: FrozenList, facts: Sequence[TaskFacts]) -> Iterator[str]:
    """Yield sentences on what the suite cannot tell, as far as it shows in its data."""
    if few := [each.task.id for each in facts if each.subjects < FEW_SUBJECTS]:
        yield f"Fewer than {FEW_SUBJECTS} subjects, so that intervals are wide: {', '.join(few)}."
    if unstated := [name for name, license in frozen.licenses.items() if license == NO_LICENSE]:
        yield f"No licence is stated; ask before you pass anything on: {', '.join(unstated)}."
    if not any(each.absent for each in facts):
        why = "no image is known to lack it" if frozen.settings.absent else "that takes `--absent`"
        yield f"Every query shows the structure: false alarms are not asked about; {why}."
    for task, reason in frozen.skipped.items():
        yield f"{task} is left out: it {reason}."
    yield (
        "What a network has learned from is refused by content where its weights file names datasets and the "
        "collection holds them; of others nobody knows."
    )


def table(heads: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Write a Markdown table."""
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in line] for line in (heads, *lines)]
    cells.insert(1, ["---"] * len(heads))
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _datasets(collection: Collection, facts: Sequence[TaskFacts]) -> Iterator[Sequence[object]]:
    for dataset in sorted({each.task.dataset for each in facts}):
        known, count = collection.card(dataset), sum(each.task.dataset == dataset for each in facts)
        stated = known.license or NO_LICENSE
        yield dataset, known.title, known.modality, known.anatomy, count, stated, known.homepage or known.citation


def _line(facts: TaskFacts) -> Sequence[object]:
    sizes = " / ".join(f"{each:.1f}" for each in facts.sizes_percent)
    return facts.task.id, facts.subjects, facts.images, facts.queries, facts.absent or "–", sizes
