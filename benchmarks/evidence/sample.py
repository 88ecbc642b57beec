"""A small part of a collection, on which every command runs in seconds."""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from megamed.files import replace_file
from megamed.manifest import NAME, DatasetEntry, read_manifest

DATASETS = {"train": 6, "auxiliary": 1, "dev": 2, "heldout": 2}
"""Number of datasets of each role that are taken."""
LEAST_SUBJECTS = 8
"""Subjects without which a dataset is taken only if others do not suffice."""


def sampled(collection: Path, folder: Path, named: Iterable[str] = ()) -> Path:
    """Make a collection of a few small datasets of each role, of one with annotators, and of those that are named.

    One that shows a structure of theirs in the same way is taken, too, for what is asked of two scanners.

    The files are linked, or copied where that cannot be.

    Args:
        collection: Folder of the whole collection.
        folder: Folder to write to; what it holds of an earlier call is used again.
        named: Ids of datasets to take besides.

    Raises:
        ValueError: If the folder is no collection.
    """
    manifest = read_manifest(collection)
    by_role: dict[str, list[str]] = defaultdict(list)
    by_size = sorted(manifest.datasets, key=lambda name: _size(manifest.datasets[name]))
    for name in by_size:
        entry = manifest.datasets[name]
        by_role["annotators" if entry.card.annotators else str(entry.card.role)].append(name)
    counts = DATASETS | {"annotators": 1}
    taken = {name for role, names in by_role.items() for name in names[: counts.get(role, 0)]}
    shown = {task for name in taken if name in by_role["heldout"] for task in _tasks(manifest.datasets[name])}
    alike = [name for name in by_size if name not in taken and shown & _tasks(manifest.datasets[name])]
    kept = {name: entry for name, entry in manifest.datasets.items() if name in taken.union(named, alike[:1])}
    folder.mkdir(parents=True, exist_ok=True)
    for entry in kept.values():
        _put(collection / entry.file, folder / entry.file)
    replace_file(folder / NAME, manifest.model_copy(update={"datasets": kept}).model_dump_json(indent=1))
    return folder


def _size(entry: DatasetEntry) -> tuple[bool, int]:
    """Whether a dataset has too few subjects, and the number of its labelled images."""
    images = sum(count for view in entry.views for count in view.samples.values())
    return sum(entry.subjects.values()) < LEAST_SUBJECTS, images


def _tasks(entry: DatasetEntry) -> set[tuple[str, str, str]]:
    """Modality, axis and label of each task of a dataset."""
    return {(view.modality, view.axis, label) for view in entry.views for label in view.samples}


def _put(source: Path, target: Path) -> None:
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
