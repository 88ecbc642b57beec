"""The HDF5 format of a collection: write it, read it, verify it. The only importer of h5py.

A collection is a folder with a manifest and one file per dataset. A file holds one group per view,
`<modality>/<axis>`, with `images` (N, H, W), `labels/<slug>` (N, H, W), `areas/<slug>` (N,), and the tables
`subject`, `case` and `split` (N,). Rows are chunked one image each; an empty label occupies no space.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, get_args

import h5py
import numpy as np
from jaxtyping import UInt8

from megamed.manifest import DatasetEntry, Manifest, View, read_manifest, sha256_of
from megamed.schema import DatasetCard, Role, Sample, Split, Task, unknown

TABLES = ("subject", "case", "split")


@dataclass(frozen=True)
class Row:
    """One standardised slice on its way into a file."""

    modality: str
    axis: str
    subject: str
    case: str
    split: Split
    image: UInt8[np.ndarray, "S S"]
    masks: dict[str, UInt8[np.ndarray, "S S"]]


class Collection:
    """Read access to a collection; opens files when first needed, in each process its own."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._manifest = read_manifest(self.path)
        self._files: dict[str, h5py.File] = {}
        self._owner = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": {}}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files that are open."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    @property
    def size_px(self) -> int:
        """Height and width of every image."""
        return self._manifest.size_px

    @property
    def datasets(self) -> tuple[str, ...]:
        """Ids of the datasets, sorted."""
        return tuple(sorted(self._manifest.datasets))

    def entry(self, dataset: str) -> DatasetEntry:
        """Return what the manifest says about a dataset."""
        if dataset not in self._manifest.datasets:
            raise ValueError(unknown("dataset", dataset, self.datasets))
        return self._manifest.datasets[dataset]

    def card(self, dataset: str) -> DatasetCard:
        """Return the card of a dataset."""
        return self.entry(dataset).card

    def tasks(self, datasets: Iterable[str] | None = None, roles: Iterable[Role] | None = None) -> list[Task]:
        """List the tasks that have samples, sorted by id.

        Args:
            datasets: Only tasks of these datasets.
            roles: Only tasks of datasets with one of these roles.
        """
        entries = map(self.entry, self.datasets if datasets is None else datasets)
        wanted = None if roles is None else set(roles)
        tasks = [
            Task(dataset=entry.card.id, modality=view.modality, axis=view.axis, label=label)
            for entry in entries
            if wanted is None or entry.card.role in wanted
            for view in entry.views
            for label, count in view.samples.items()
            if count
        ]
        return sorted(tasks, key=lambda task: task.id)

    def samples(self, task: Task, split: Split | None = None) -> list[Sample]:
        """List the rows on which the task's label is present, of one split or of all."""
        view = self._view(task)
        subjects, cases, splits = (view[table].asstr()[()] for table in TABLES)
        areas = view["areas"][task.label][()]
        return [
            Sample(int(row), subjects[row], cases[row], splits[row], int(areas[row]))
            for row in np.flatnonzero(areas)
            if split is None or splits[row] == split
        ]

    def image(self, task: Task, row: int) -> UInt8[np.ndarray, "H W"]:
        """Read one image; 0 to 255 stand for [0, 1]."""
        return self._view(task)["images"][row]

    def label(self, task: Task, row: int) -> UInt8[np.ndarray, "H W"]:
        """Read one label, 0 or 1 per pixel."""
        return self._view(task)["labels"][task.label][row]

    def images(self, task: Task, rows: Sequence[int]) -> UInt8[np.ndarray, "N H W"]:
        """Read several images; h5py reads rows faster one by one than as a list."""
        return self._rows(self._view(task)["images"], rows)

    def labels(self, task: Task, rows: Sequence[int]) -> UInt8[np.ndarray, "N H W"]:
        """Read several labels."""
        return self._rows(self._view(task)["labels"][task.label], rows)

    def _rows(self, array: h5py.Dataset, rows: Sequence[int]) -> UInt8[np.ndarray, "N H W"]:
        out = np.empty((len(rows), self.size_px, self.size_px), np.uint8)
        for target, row in enumerate(rows):
            out[target] = array[row]
        return out

    def _view(self, task: Task) -> h5py.Group:
        views = {f"{view.modality}/{view.axis}": view for view in self.entry(task.dataset).views}
        if task.view not in views or task.label not in views[task.view].samples:
            known = (other.id for other in self.tasks([task.dataset]))
            raise ValueError(unknown("task", task.id, known))
        return self._group(task.dataset, views[task.view])

    def _group(self, dataset: str, view: View) -> h5py.Group:
        """Return the open HDF5 group of a view."""
        return self._file(dataset)[f"{view.modality}/{view.axis}"]

    def _file(self, dataset: str) -> h5py.File:
        if self._owner != os.getpid():  # a forked child must not share its parent's handles
            self._files, self._owner = {}, os.getpid()
        if dataset not in self._files:
            file = h5py.File(self.path / self.entry(dataset).file, "r", locking=False)
            if problems := list(_unsafe_objects(file)):
                file.close()
                msg = f"{dataset} is not safe to open: expected plain arrays, got {'; '.join(problems)}."
                raise ValueError(msg)
            self._files[dataset] = file
        return self._files[dataset]


@dataclass
class _Tables:
    """What is known of the rows of a view while its arrays are on disk."""

    subject: list[str] = field(default_factory=list)
    case: list[str] = field(default_factory=list)
    split: list[str] = field(default_factory=list)
    areas: list[dict[str, int]] = field(default_factory=list)


class DatasetWriter:
    """Writes the rows of one dataset to one file; the same rows give the same bytes."""

    def __init__(self, path: Path, size_px: int) -> None:
        self._path = path
        self._image_shape = (size_px, size_px)
        self._file = h5py.File(path, "w")
        self._tables: dict[tuple[str, str], _Tables] = defaultdict(_Tables)

    def append(self, row: Row) -> None:
        """Add a row to the view it belongs to."""
        tables = self._tables[row.modality, row.axis]
        group = self._file.require_group(f"{row.modality}/{row.axis}")
        index = len(tables.subject)
        present = {label: mask for label, mask in row.masks.items() if mask.any()}
        self._put(group, "images", index, row.image)
        for label, mask in present.items():
            self._put(group, f"labels/{label}", index, mask)
        tables.subject.append(row.subject)
        tables.case.append(row.case)
        tables.split.append(row.split)
        tables.areas.append({label: int(mask.sum()) for label, mask in present.items()})

    def close(self) -> tuple[View, ...]:
        """Write the tables, flush to disk and say what is in the file."""
        views = tuple(self._close_view(*key) for key in sorted(self._tables))
        self._file.close()
        with self._path.open("rb+") as file:
            os.fsync(file.fileno())
        return views

    def _put(self, group: h5py.Group, name: str, index: int, image: np.ndarray) -> None:
        array = group[name] if name in group else self._create(group, name)
        array.resize(index + 1, axis=0)
        array[index] = image

    def _create(self, group: h5py.Group, name: str) -> h5py.Dataset:
        return group.create_dataset(
            name,
            shape=(0, *self._image_shape),
            maxshape=(None, *self._image_shape),
            chunks=(1, *self._image_shape),
            dtype=np.uint8,
            compression=None if name == "images" else "gzip",
            track_times=False,
        )

    def _close_view(self, modality: str, axis: str) -> View:
        group, tables = self._file[f"{modality}/{axis}"], self._tables[modality, axis]
        rows = len(tables.subject)
        for table in TABLES:
            texts = [text.encode() for text in getattr(tables, table)]
            group.create_dataset(table, data=np.array(texts, dtype="S"), track_times=False)
        samples = {}
        for label, array in sorted(group.require_group("labels").items()):
            array.resize(rows, axis=0)  # rows never written read as zero
            areas = np.array([area.get(label, 0) for area in tables.areas], np.int32)
            group.create_dataset(f"areas/{label}", data=areas, track_times=False)
            samples[label] = int(np.count_nonzero(areas))
        return View(modality=modality, axis=axis, rows=rows, samples=samples)


def verify(path: str | Path) -> list[str]:
    """Check a collection against its manifest and its own rules, reading every pixel of every label.

    Returns:
        The problems found, one line each; empty if there are none.
    """
    manifest = read_manifest(Path(path))
    problems: list[str] = []
    splits: dict[str, dict[str, set[str]]] = {}
    with Collection(path) as collection:
        for name, entry in sorted(manifest.datasets.items()):
            splits[name] = defaultdict(set)
            found = list(_file_problems(collection, entry, splits[name]))
            problems += (f"{name}: {problem}" for problem in found)
    return problems + list(_split_problems(manifest, splits))


def _file_problems(collection: Collection, entry: DatasetEntry, splits: dict[str, set[str]]) -> Iterator[str]:
    """Yield what is wrong with a dataset's file, and note the splits of its subjects on the way."""
    file = collection.path / entry.file
    if not file.is_file() or sha256_of(file) != entry.sha256:
        yield f"{entry.file} is missing or changed: expected sha256 {entry.sha256}. Build it again."
        return
    try:
        for view in entry.views:
            group = collection._group(entry.card.id, view)
            yield from _view_problems(group, view, collection.size_px)
            for subject, split in zip(group["subject"].asstr()[()], group["split"].asstr()[()], strict=True):
                splits[subject].add(split)
    except (KeyError, OSError, ValueError) as error:
        yield f"{entry.file} is malformed: {error}"


def _view_problems(group: h5py.Group, view: View, size_px: int) -> Iterator[str]:
    """Yield where a view breaks the format."""
    where = group.name.lstrip("/")
    if set(group["labels"]) != set(view.samples):
        yield f"{where} has labels {sorted(group['labels'])}: expected {sorted(view.samples)}."
    arrays = {"images": group["images"], **{f"labels/{name}": array for name, array in group["labels"].items()}}
    expected = ((view.rows, size_px, size_px), np.dtype(np.uint8), (1, size_px, size_px))
    for name, array in arrays.items():
        if (got := (array.shape, array.dtype, array.chunks)) != expected:
            yield f"{where}/{name} has the wrong layout: expected {expected}, got {got}."
    for name, array in group["labels"].items():
        found = [(int(label.max()), int(label.sum())) for label in array]
        if any(largest > 1 for largest, _ in found):
            yield f"{where}/labels/{name} is not binary: expected 0 and 1."
        if [area for _, area in found] != group["areas"][name][()].tolist():
            yield f"{where}/areas/{name} does not count the label's pixels."


def _split_problems(manifest: Manifest, splits: dict[str, dict[str, set[str]]]) -> Iterator[str]:
    """Yield subjects in more than one split, within a dataset or across those that share patients."""
    for name, subjects in splits.items():
        for subject, found in subjects.items():
            if len(found) != 1 or not found <= set(get_args(Split)):
                yield f"{name}: subject {subject!r} must be in one split, got {sorted(found)}."
    for name, entry in manifest.datasets.items():
        for other in set(entry.card.shares_patients_with) & set(splits):
            for subject in splits[name].keys() & splits[other].keys():
                if splits[name][subject] != splits[other][subject]:
                    yield f"{name}: subject {subject!r} has another split in {other}. Build them together."


def _unsafe_objects(group: h5py.Group) -> Iterator[str]:
    """Yield what lets a file from a stranger reach outside itself: links, external or virtual data, objects."""
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            yield f"{name} is a {type(link).__name__}"
        elif isinstance(child := group[name], h5py.Group):
            yield from _unsafe_objects(child)
        elif not isinstance(child, h5py.Dataset) or child.external or child.is_virtual or child.dtype.hasobject:
            yield f"{name} is no plain array"
