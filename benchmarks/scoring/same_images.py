"""Check that runs were scored on the same images and labels, before their scores are paired."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.plans.task_plans import TaskPlan
from benchmarks.scoring.settings_file import CONTENT, SETTINGS_NAME, read_settings, write_settings
from megamed import Collection
from megamed.files import sha256_of

if TYPE_CHECKING:
    from benchmarks.scoring.results import Row

logger = logging.getLogger(__name__)

DIGITS = 8
AT_ONCE = 256
"""Number of images that are read at once."""
EXAMPLES = 3

Contents = dict[str, dict[str, str]]
"""Content of images with their labels: task → case → hash."""


def contents_of(collection: Collection, plans: Iterable[TaskPlan]) -> Contents:
    """Hash every image and label that is a query or in a support of some plans."""
    return {plan.task.id: dict(sorted(_hashes(collection, plan))) for plan in plans}


def _hashes(collection: Collection, plan: TaskPlan) -> Iterator[tuple[str, str]]:
    cases = {each.row: each.case for episode in plan.episodes for each in (episode.query, *episode.support)}
    rows = sorted(cases)
    for some in (rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE)):
        images, labels = collection.images(plan.task, some), collection.labels(plan.task, some)
        for row, image, label in zip(some, images, labels, strict=True):
            yield cases[row], sha256_of(image.tobytes() + (label > 0).tobytes())[:DIGITS]


def note_contents(folder: Path, collection: Collection, plans: Iterable[TaskPlan]) -> None:
    """Write into a folder's settings which images and labels its plans are of; the caller holds its lock."""
    known = read_settings(folder)
    if CONTENT not in known:
        write_settings(folder, known | {CONTENT: contents_of(collection, plans)})


def refuse_other_images(runs: Mapping[Path, Sequence["Row"]]) -> None:
    """Refuse to pair runs of which an image or a label differs under the same name.

    Runs that state no content are compared by the subject and the size of each label, which their rows hold.

    Args:
        runs: Rows of each run, by its folder.

    Raises:
        ValueError: If an image, a label or its subject is another one.
    """
    settings = {run: read_settings(run) if (run / SETTINGS_NAME).exists() else {} for run in runs}
    labels = {run: {(row.task, row.case): (row.subject, row.label_px) for row in rows} for run, rows in runs.items()}
    for first, run in combinations(runs, 2):
        ours, theirs = (settings[each].get(CONTENT, {}) for each in (first, run))
        common = labels[first].keys() & labels[run].keys()
        differing = {key for key in common if labels[first][key] != labels[run][key]}
        differing |= {
            (task, case)
            for task in ours.keys() & theirs.keys()
            for case in ours[task].keys() & theirs[task].keys()
            if ours[task][case] != theirs[task][case]
        }
        if differing:
            msg = (
                f"{run} is of a collection of other content than {first}: expected the same images and labels, got "
                f"{len(differing)} others in {_named(differing)}. Score both on one collection."
            )
            raise ValueError(msg)
        hashes = {each.get("collection_sha256") for each in (settings[first], settings[run])}
        if len(hashes) > 1 and not (ours and theirs):
            logger.warning(
                "%s and %s are of two collections, and the older does not tell its images: labels agree in size.",
                first,
                run,
            )


def _named(differing: Iterable[tuple[str, str]]) -> str:
    """`heart/mr/2d/lv (p1, p2, p3 and 4 more)`, for some tasks."""
    by_task: dict[str, list[str]] = defaultdict(list)
    for task, case in sorted(differing):
        by_task[task].append(case)
    tasks = [f"{task} ({_some(cases)})" for task, cases in by_task.items()]
    return _some(tasks)


def _some(names: Sequence[str]) -> str:
    more = len(names) - EXAMPLES
    return ", ".join(names[:EXAMPLES]) + (f" and {more} more" if more > 0 else "")
