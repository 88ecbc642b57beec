"""Masks of a run, read from their files one by one, and written in the files of annotation tools."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
from jaxtyping import Bool, Float, Integer

from incontext.folders.mask_files import read_back
from incontext.folders.report import ImageReport
from incontext.images.case_planes import on_grid
from incontext.images.source_image import read_source_image
from incontext.inference.support_pool import Fitted
from megamed import formats
from megamed.annotation_tools import writers
from megamed.annotation_tools.model import SegmentedImage, distinct_names
from megamed.files import Ledger
from megamed.vocabulary import WrittenTool


@dataclass(frozen=True)
class SavedMasks(Sequence[SegmentedImage]):
    """The masks of images, each read when it is asked for."""

    folder: Path
    """Folder of the masks."""
    reports: Sequence[ImageReport]
    images: Mapping[str, Path]
    """Images by the names that reports call them."""
    fitted: Fitted

    def __len__(self) -> int:
        return len(self.reports)

    @overload
    def __getitem__(self, index: int) -> SegmentedImage: ...
    @overload
    def __getitem__(self, index: slice) -> "SavedMasks": ...
    def __getitem__(self, index: int | slice) -> "SegmentedImage | SavedMasks":
        if isinstance(index, slice):
            return SavedMasks(self.folder, self.reports[index], self.images, self.fitted)
        report = self.reports[index]
        names, colours = distinct_names(self.fitted.names), self.fitted.colours
        image = self.images[report.file]
        whole = _Label(self.folder, report.mask, [*names], report, image)
        of_class = {value: _Label(self.folder, name, [value], report, image) for value, name in report.masks.items()}
        labels = {name: (value, of_class.get(value, whole)) for value, name in names.items()}
        shape, affine = next(iter(labels.values()))[1].place
        return SegmentedImage(
            report.file,
            shape,
            _Layers(labels),
            values={name: value for value, name in names.items()},
            colours={names[value]: colour for value, colour in colours.items()},
            affine=affine,
            source=image,
            full_size=report.full_size_px,
        )


@dataclass(frozen=True, eq=False)
class _Label:
    """A label map in a file, which is read when it is asked for."""

    folder: Path
    """Folder of all masks."""
    name: str
    """Name of the file below that folder."""
    values: Sequence[int]
    """Label values of its classes."""
    report: ImageReport
    """Report on the image."""
    image: Path

    @property
    def place(self) -> tuple[tuple[int, ...], Float[np.ndarray, "4 4"] | None]:
        """Shape of the label map, and where it lies unless it is a picture."""
        if not _is_placed(self._path):
            return self.report.size_px, None
        label, affine = self._placed
        return label.shape, affine

    @cached_property
    def label(self) -> Integer[np.ndarray, "..."]:
        if _is_placed(self._path):
            return self._placed[0]
        return formats.read(formats.source_at(self._path)).array.reshape(self.report.size_px)

    @property
    def _path(self) -> Path:
        return self.folder / self.name

    @cached_property
    def _placed(self) -> tuple[Integer[np.ndarray, "..."], Float[np.ndarray, "4 4"] | None]:
        if not formats.is_slice(self._path):
            stored = formats.read(formats.source_at(self._path))
            return stored.space, stored.geometry.affine
        image = read_source_image(self.image, self.report.file)
        label = on_grid(read_back(self._path, self.name, image, self.values), image)
        return label, image.geometry.affine if image.geometry and label.ndim == 3 else None


class _Layers(Mapping[str, Bool[np.ndarray, "..."]]):
    """The masks of the classes by name, whose label maps are read when one is asked for."""

    def __init__(self, labels: Mapping[str, tuple[int, _Label]]) -> None:
        self._labels = labels

    def __getitem__(self, name: str) -> Bool[np.ndarray, "..."]:
        value, label = self._labels[name]
        return label.label == value

    def __iter__(self) -> Iterator[str]:
        return iter(self._labels)

    def __len__(self) -> int:
        return len(self._labels)


def _is_placed(path: Path) -> bool:
    """Whether a mask may be one of a volume."""
    found = formats.format_of(path)
    return found is not None and bool(found.holds & {"placed", "series"})


def start_tool_files(out: Path, tools: Sequence[WrittenTool], ledger: Ledger, overwrite: bool) -> None:
    """Look at the files of tools that an earlier run wrote for all images: discard them, or make sure of them.

    A file that somebody changed since is never discarded.

    Raises:
        ValueError: If a file cannot be read.
    """
    for tool in tools:
        path = writers.path_in(out, tool, "")
        if overwrite and path.is_file() and ledger.knows(path):
            path.unlink()
        writers.held(out, tool, [])


def write_tool_files(out: Path, tool: WrittenTool, masks: SavedMasks, fresh: set[str], ledger: Ledger) -> list[Path]:
    """Write masks of a run in the files of a tool: those that are fresh, and those that the files lack.

    What somebody has corrected there since stays.

    Args:
        out: Folder of results.
        tool: Name of the tool.
        masks: Masks of all images that are done.
        fresh: Names of the images that have been segmented anew.
        ledger: Ledger of the folder.

    Returns:
        Paths of the files that were written.

    Raises:
        ValueError: If the tool cannot hold a mask, or a file that is there cannot be read.
        ImportError: If the library for the tool's files is not installed; the message has the command.
    """
    known = writers.held(out, tool, [report.file for report in masks.reports])
    paths = {report.file: writers.path_in(out, tool, report.file) for report in masks.reports}
    ours = {path for path in paths.values() if path.exists() and ledger.knows(path)}
    wanted = [
        report
        for report in masks.reports
        if report.file not in known or (report.file in fresh and paths[report.file] in ours)
    ]
    if not wanted:
        return []
    ledger.adopt(*{paths[report.file] for report in wanted} - ours)  # others' entries in a file of many images stay
    return writers.write_files(out, tool, SavedMasks(masks.folder, wanted, masks.images, masks.fitted))
