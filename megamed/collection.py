"""The HDF5 format of a collection: write it, read it, verify it. The only importer of h5py.

A collection is a folder with a manifest and one file per dataset. A file holds one group per view,
`<modality>/<axis>`, with `images` (N, H, W), `labels/<slug>` (N, H, W), `areas/<slug>` (N,), `unknown/<slug>` (N,)
where a label has unknown pixels, and the tables `subject`, `case` and `split` (N,). Rows are chunked one image each; an
empty label occupies no space. `about` says what the file is. docs/collection-format.md tells all of it.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, get_args

import h5py
import numpy as np
from jaxtyping import Int32, UInt8
from pydantic import ValidationError

from megamed.files import sha256_of
from megamed.manifest import (
    FILE_PATTERN,
    HASH_DIGITS,
    Contents,
    DatasetEntry,
    FileHeader,
    View,
    first_fault,
    read_manifest,
)
from megamed.reserved import Reserve
from megamed.rows import PackedRow
from megamed.schema import DatasetCard, Sample, Task, unknown
from megamed.unknown import UNKNOWN
from megamed.vocabulary import Role, Split

TABLES = ("subject", "case", "split")
ABOUT = "about"
COMPRESSION_LEVEL = 4
UNKNOWN_AREA = -1
MAX_DEPTH = 3


class Collection:
    """Read access to a collection or to one file of it; opens files when first needed, in each process its own."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._contents: dict[str, Contents]
        if self.path.is_file():
            header = _read_header(self.path)
            name = header.contents.card.id
            self._size_px, self._contents, self._paths = header.size_px, {name: header.contents}, {name: self.path}
        else:
            manifest = read_manifest(self.path)
            self._size_px, self._contents = manifest.size_px, dict(manifest.datasets)
            self._paths = {name: self.path / entry.file for name, entry in manifest.datasets.items()}
        self._forget_handles()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": {}, "_arrays": {}}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files that are open."""
        for file in self._files.values():
            file.close()
        self._forget_handles()

    @property
    def size_px(self) -> int:
        """Height and width of every image."""
        return self._size_px

    @property
    def datasets(self) -> tuple[str, ...]:
        """Ids of the datasets, sorted."""
        return tuple(sorted(self._contents))

    def entry(self, dataset: str) -> Contents:
        """Return what is known of a dataset without opening its file."""
        if dataset not in self._contents:
            raise ValueError(unknown("dataset", dataset, self.datasets))
        return self._contents[dataset]

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
        """List the rows on which the task's label is present, of one split or of all.

        Rows for which nobody annotated the label are never samples.
        """
        return [each for each in self.rows(task) if each.area_px > 0 and split in (None, each.split)]

    def rows(self, task: Task) -> list[Sample]:
        """List all rows of a task's view, whether they show the label or not; an area of -1 is that nobody looked."""
        columns = (self._array(task, table).asstr("utf-8")[()] for table in TABLES)
        return [Sample(row, *each) for row, each in enumerate(zip(*columns, self.areas(task).tolist(), strict=True))]

    def subjects(self, task: Task) -> tuple[str, ...]:
        """Read the subject of every row."""
        return tuple(self._array(task, "subject").asstr("utf-8")[()])

    def areas(self, task: Task) -> Int32[np.ndarray, " N"]:
        """Read the number of the label's pixels on every row; -1 where nobody annotated it."""
        return self._array(task, f"areas/{task.label}")[()]

    def unknown_areas(self, task: Task) -> Int32[np.ndarray, " N"]:
        """Read the number of pixels on every row of which nobody judged whether they are of the label."""
        areas = self._array(task, f"areas/{task.label}")
        counts = areas.parent.parent.get(f"unknown/{task.label}")
        return np.zeros(areas.shape, np.int32) if counts is None else counts[()]

    def image(self, task: Task, row: int) -> UInt8[np.ndarray, "H W"]:
        """Read one image; 0 to 255 stand for [0, 1]."""
        return self._array(task, "images")[row]

    def label(self, task: Task, row: int) -> UInt8[np.ndarray, "H W"]:
        """Read one label: 0 or 1 per pixel, or `UNKNOWN` where nobody judged it."""
        return self._array(task, f"labels/{task.label}")[row]

    def images(self, task: Task, rows: Sequence[int]) -> UInt8[np.ndarray, "N H W"]:
        """Read several images; h5py reads rows faster one by one than as a list."""
        return self._rows(self._array(task, "images"), rows)

    def labels(self, task: Task, rows: Sequence[int]) -> UInt8[np.ndarray, "N H W"]:
        """Read several labels, in the values of `label`."""
        return self._rows(self._array(task, f"labels/{task.label}"), rows)

    def _rows(self, array: h5py.Dataset, rows: Sequence[int]) -> UInt8[np.ndarray, "N H W"]:
        out = np.empty((len(rows), self.size_px, self.size_px), np.uint8)
        for target, row in enumerate(rows):
            out[target] = array[row]
        return out

    def _array(self, task: Task, name: str) -> h5py.Dataset:
        """Return an open array of a task's view; finding it again costs far less than reading a row."""
        if self._owner != os.getpid():  # a forked child must not share its parent's handles
            self._forget_handles()
        if (task, name) not in self._arrays:
            views = {view.group: view for view in self.entry(task.dataset).views}
            if task.view not in views or task.label not in views[task.view].samples:
                raise ValueError(unknown("task", task.id, (other.id for other in self.tasks([task.dataset]))))
            self._arrays[task, name] = self._file(task.dataset)[task.view][name]
        return self._arrays[task, name]

    def _file(self, dataset: str) -> h5py.File:
        """Return the open file of a dataset, once it is known to be what its contents promise."""
        if dataset not in self._files:
            file = _open(self._paths[dataset])
            if problems := list(_layout_problems(file, self._contents[dataset].views, self.size_px)):
                file.close()
                msg = f"{self._paths[dataset].name} has the wrong layout: {'; '.join(problems)}. Build it again."
                raise ValueError(msg)
            self._files[dataset] = file
        return self._files[dataset]

    def _forget_handles(self) -> None:
        self._files: dict[str, h5py.File] = {}
        self._arrays: dict[tuple[Task, str], h5py.Dataset] = {}
        self._owner = os.getpid()


def _open(path: Path) -> h5py.File:
    """Open a file for reading, having checked that it cannot reach outside itself.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it could reach outside.
    """
    try:
        file = h5py.File(path, "r", locking=False, rdcc_nbytes=0)  # a cache for every array would fill the memory
    except OSError as error:
        got = os.strerror(error.errno) if error.errno else error
        msg = f"{path} cannot be opened: expected a file of a collection, got: {got}. Copy it there, or build it again."
        raise OSError(msg) from error
    if problems := list(_unsafe_objects(file)):
        file.close()
        msg = f"{path.name} is not safe to open: expected plain arrays, got {'; '.join(problems)}."
        raise ValueError(msg)
    return file


def _read_header(path: Path) -> FileHeader:
    """Read the header of a file, which makes it readable without its collection.

    Raises:
        ValueError: If it says nothing that this version understands.
    """
    with _open(path) as file:
        about = file.get(ABOUT)
        if not isinstance(about, h5py.Dataset) or about.shape != () or about.dtype.itemsize > path.stat().st_size:
            msg = f"{path.name} is no file of a collection: expected text at {ABOUT!r}, got none. Build it again."
            raise ValueError(msg)
        text = bytes(about[()])
    try:
        return FileHeader.model_validate_json(text)
    except ValidationError as error:
        msg = f"{path.name} is of another version: {first_fault(error)}. Build it again."
        raise ValueError(msg) from error


@dataclass
class _Tables:
    """Columns of the tables of a view, one entry per row, kept in memory until the view is finished."""

    subject: list[str] = field(default_factory=list)
    case: list[str] = field(default_factory=list)
    split: list[str] = field(default_factory=list)
    areas: list[dict[str, int]] = field(default_factory=list)
    unknown: list[dict[str, int]] = field(default_factory=list)


class DatasetWriter:
    """Writes the rows of one dataset to one file; the same rows give the same bytes."""

    def __init__(self, path: Path, size_px: int) -> None:
        self._image_shape = (size_px, size_px)
        self._file = h5py.File(path, "w")
        self._reserve = Reserve(path)
        self._tables: dict[str, _Tables] = defaultdict(_Tables)
        self._arrays: dict[str, h5py.Dataset] = {}

    def append(self, row: PackedRow) -> None:
        """Add a row to the view it belongs to; an OSError tells of a disk without room for it."""
        self._reserve.take_row(row)
        tables = self._tables[row.group]
        index = len(tables.subject)
        self._put(f"{row.group}/images", index, row.image)
        for label, content in row.labels.items():
            self._put(f"{row.group}/labels/{label}", index, content)
        for table, name in zip(TABLES, row.names, strict=True):
            getattr(tables, table).append(name)
        tables.areas.append(row.areas)
        tables.unknown.append(row.unknown)

    def finish_views(self) -> tuple[View, ...]:
        """Write the tables, after the last row, and say what is in the file."""
        return tuple(self._finish_view(group) for group in sorted(self._tables))

    def close(self, header: FileHeader | None = None) -> None:
        """Write the header and close the file."""
        if header:
            text = header.model_dump_json().encode()
            self._reserve.take(len(text))
            dtype = h5py.string_dtype("utf-8", len(text))
            self._file.create_dataset(ABOUT, data=np.array(text, dtype), track_times=False)
        self._file.close()
        self._reserve.give_back()

    def _put(self, name: str, index: int, chunk: bytes) -> None:
        if name not in self._arrays:
            self._arrays[name] = self._create(name, compressed=not name.endswith("/images"))
        array = self._arrays[name].id
        array.set_extent((index + 1, *self._image_shape))
        array.write_direct_chunk((index, 0, 0), chunk)

    def _create(self, name: str, compressed: bool) -> h5py.Dataset:
        return self._file.create_dataset(
            name,
            shape=(0, *self._image_shape),
            maxshape=(None, *self._image_shape),
            chunks=(1, *self._image_shape),
            dtype=np.uint8,
            compression="gzip" if compressed else None,
            track_times=False,
        )

    def _finish_view(self, name: str) -> View:
        group, tables = self._file[name], self._tables[name]
        rows = len(tables.subject)
        for table in TABLES:
            texts = [text.encode() for text in getattr(tables, table)]
            group.create_dataset(table, data=np.array(texts, dtype="S"), track_times=False)
        samples = {}
        for label, array in sorted(group.require_group("labels").items()):
            array.resize(rows, axis=0)  # rows never written read as zero
            areas = np.array([area.get(label, UNKNOWN_AREA) for area in tables.areas], np.int32)
            group.create_dataset(f"areas/{label}", data=areas, track_times=False)
            if any(label in unknown for unknown in tables.unknown):
                unknown_areas = np.array([unknown.get(label, 0) for unknown in tables.unknown], np.int32)
                group.create_dataset(f"unknown/{label}", data=unknown_areas, track_times=False)
            samples[label] = int(np.count_nonzero(areas > 0))
        modality, axis = name.split("/")
        return View(modality=modality, axis=axis, rows=rows, samples=samples)


def verify(path: str | Path) -> list[str]:
    """Check a collection, or one file of it, against what it says of itself, reading every pixel of every label.

    Returns:
        The problems found, one line each; empty if there are none.
    """
    problems: list[str] = []
    splits: dict[str, dict[str, set[str]]] = {}
    with Collection(path) as collection:
        for name in collection.datasets:
            splits[name] = defaultdict(set)
            problems += (f"{name}: {problem}" for problem in _dataset_problems(collection, name, splits[name]))
        cards = [collection.card(name) for name in collection.datasets]
    return problems + list(_split_problems(cards, splits))


def _dataset_problems(collection: Collection, name: str, splits: dict[str, set[str]]) -> Iterator[str]:
    """Yield what is wrong with a dataset, and note the splits of its subjects on the way."""
    path, contents = collection._paths[name], collection.entry(name)
    if not path.is_file():
        yield f"{path.name} is missing. Build it again."
        return
    sha256, expected = sha256_of(path), _expected_sha256(path, contents)
    if not sha256.startswith(expected):
        yield f"{path.name} is changed: expected sha256 {expected}, got {sha256}. Build it again with --force."
        return
    try:
        file = collection._file(name)
        if isinstance(contents, DatasetEntry) and _read_header(path).contents != contents.contents:
            yield f"{path.name} says other things of itself than the manifest. Build it again with --force."
        for view in contents.views:
            yield from _view_problems(file[view.group], view, contents.card)
            tables = (file[view.group][table].asstr("utf-8")[()] for table in TABLES[::2])
            for subject, split in zip(*tables, strict=True):
                splits[subject].add(split)
    except (KeyError, OSError, ValueError) as error:
        yield f"{path.name} is malformed: {error}"


def _expected_sha256(path: Path, contents: Contents) -> str:
    """Return the hash of a file, as far as its manifest or its name tells; empty if neither does."""
    if isinstance(contents, DatasetEntry):
        return contents.sha256
    return path.stem[-HASH_DIGITS:] if re.fullmatch(FILE_PATTERN, path.name) else ""


def _view_problems(group: h5py.Group, view: View, card: DatasetCard) -> Iterator[str]:
    """Yield where the labels of a view break the rules."""
    for name, array in group["labels"].items():
        where, areas = f"{view.group}/labels/{name}", group["areas"][name][()]
        if not card.has_label(name):
            yield f"{where} is not on the card: expected one of {sorted(card.masks)}."
        each = [np.bincount(label.ravel(), minlength=256)[[0, 1, UNKNOWN]] for label in array]
        counts = np.array(each).reshape(-1, 3)
        if not (counts.sum(axis=1) == array.shape[1] * array.shape[2]).all():
            yield f"{where} is not binary: expected 0, 1 and {UNKNOWN} for unknown."
        if not np.array_equal(counts[:, 1], np.where(areas == UNKNOWN_AREA, 0, areas)):
            yield f"{view.group}/areas/{name} does not count the label's pixels."
        unknown_areas = group.get(f"unknown/{name}")
        if not np.array_equal(counts[:, 2], np.zeros_like(areas) if unknown_areas is None else unknown_areas[()]):
            yield f"{view.group}/unknown/{name} does not count the label's unknown pixels."
        if np.count_nonzero(areas > 0) != view.samples[name]:
            yield f"{where} has {np.count_nonzero(areas > 0)} samples: expected {view.samples[name]}."


@dataclass(frozen=True)
class _Array:
    """Expected shape, type and chunks of an array of a file."""

    shape: tuple[int, ...]
    dtype: str
    """Type in NumPy's short form, such as `u1`; words of any length are `S`."""
    chunks: tuple[int, ...] | None = None


def _layout_problems(file: h5py.File, views: Iterable[View], size_px: int) -> Iterator[str]:
    """Yield where the arrays of a file are not those that its views promise, none larger than the file could hold."""
    for view in views:
        group = file.get(view.group)
        if not isinstance(group, h5py.Group) or not isinstance(group.get("labels"), h5py.Group):
            yield f"{view.group} is missing"
            continue
        if set(group["labels"]) != set(view.samples):
            yield f"{view.group} has labels {sorted(group['labels'])}, expected {sorted(view.samples)}"
        pixels = _Array((view.rows, size_px, size_px), "u1", (1, size_px, size_px))
        words, counts = _Array((view.rows,), "S"), _Array((view.rows,), "i4")
        partly = [name for name in view.samples if f"unknown/{name}" in group]
        if len(group.get("unknown", ())) != len(partly):
            yield f"{view.group}/unknown is of others than the labels {sorted(view.samples)}"
        expected = dict.fromkeys(["images", *(f"labels/{label}" for label in view.samples)], pixels)
        expected |= dict.fromkeys(TABLES, words) | dict.fromkeys((f"areas/{label}" for label in view.samples), counts)
        expected |= dict.fromkeys((f"unknown/{label}" for label in partly), counts)
        for name, array in expected.items():
            yield from _array_problems(group.get(name), f"{view.group}/{name}", array)
        if view.rows * size_px**2 > file.id.get_filesize():
            yield f"{view.group} declares {view.rows} images, more than the file holds"


def _array_problems(array: object, where: str, expected: _Array) -> Iterator[str]:
    """Yield what distinguishes an object of a file from the array it should be."""
    if not isinstance(array, h5py.Dataset):
        yield f"{where} is missing"
    elif expected.chunks is None and array.nbytes > array.file.id.get_filesize():
        yield f"{where} declares {array.nbytes} bytes, more than the file holds"
    elif _Array(array.shape, array.dtype.str[1 : 2 if array.dtype.kind == "S" else None], array.chunks) != expected:
        got = f"{array.shape} {array.dtype} in chunks {array.chunks}"
        yield f"{where} is {got}, expected {expected.shape} {expected.dtype} in chunks {expected.chunks}"


def _split_problems(cards: Iterable[DatasetCard], splits: dict[str, dict[str, set[str]]]) -> Iterator[str]:
    """Yield subjects in more than one split, within a dataset or across those that share patients."""
    for name, subjects in splits.items():
        for subject, found in subjects.items():
            if len(found) != 1 or not found <= set(get_args(Split)):
                yield f"{name}: subject {subject!r} must be in one split, got {sorted(found)}."
    for card in cards:
        for other in sorted(set(card.shares_patients_with) & set(splits)):
            for subject in splits[card.id].keys() & splits[other].keys():
                if splits[card.id][subject] != splits[other][subject]:
                    yield f"{card.id}: subject {subject!r} has another split in {other}. Build them together."


def _unsafe_objects(group: h5py.Group, depth: int = 0) -> Iterator[str]:
    """Yield what lets a file from a stranger harm its reader: links, external or virtual data, objects, cycles."""
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            yield f"{name} is a {type(link).__name__}"
        elif isinstance(child := group[name], h5py.Group):
            if depth == MAX_DEPTH:
                yield f"{name} is nested too deeply"
            else:
                yield from _unsafe_objects(child, depth + 1)
        elif not isinstance(child, h5py.Dataset) or child.external or child.is_virtual or child.dtype.hasobject:
            yield f"{name} is no plain array"
