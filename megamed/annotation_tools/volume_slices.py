"""Drawings on the slices of a volume's file: of which plane each is, and how it lies in the file's array.

Tools that open such a file show its array as it is stored, x along the first axis, y along the second, and slices along
the third. Pictures of slices are called as the file with the number of the slice behind its name.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath, PureWindowsPath
from typing import TypeAlias

from megamed.annotation_tools.model import AnnotatedImage, Size
from megamed.readers.stored import Canvas

Order: TypeAlias = tuple[int, int, int]
"""Axes of planes, rows and columns in the order of the file's array."""
AS_SHOWN: Order = (2, 1, 0)
"""Columns are along the first axis, and rows along the second."""
AS_ARRAY: Order = (1, 2, 0)
"""Rows are along the first axis, as in pictures that a script made of the array."""


def is_volume(canvas: Canvas) -> bool:
    """Whether an image is a file with a place in the patient, which is no series of files."""
    return len(canvas.shape) == 3 and canvas.geometry.affine is not None and len(canvas.geometry.files) < 2


def entries_of_slices(images: Sequence[AnnotatedImage], canvas: Canvas) -> list[AnnotatedImage]:
    """Return the entries that say on which slice of a volume they lie, by their planes or their names.

    Numbers in names count from 0, unless one is that of the slice behind the last and none is 0. What is drawn on a
    volume of one slice needs none.
    """
    numbered = [(image, slice_number(image.file_name, canvas.path)) for image in images]
    by_name = [(image, number) for image, number in numbered if number is not None and image.plane is None]
    if not by_name and canvas.shape[2] == 1:
        by_name = [(image, 0) for image in images if canvas.path is None or _is_called(image.file_name, canvas.path)]
    numbers = {number for _, number in by_name}
    first = int(0 not in numbers and canvas.shape[2] in numbers)
    by_plane = [image for image in images if image.plane is not None]
    return by_plane or [replace(image, plane=number - first) for image, number in by_name]


def slice_number(file_name: str, volume: Path | None) -> int | None:
    """Return the number behind the name of a volume's file in the name of a picture of its slice; None if it is none.

    >>> slice_number("slices/scan_012.png", Path("scan.nii.gz")), slice_number("scan.png", Path("scan.nii.gz"))
    (12, None)
    """
    stem = re.escape(_base(volume)) if volume else ".*"
    match = re.fullmatch(rf"(?:.*/)?{stem}\D*?(\d+)", _stem(file_name))
    return int(match[1]) if match else None


def lie_of(entries: Sequence[AnnotatedImage], canvas: Canvas) -> tuple[Size, int, Order]:
    """Tell height, width and number of the slices of a volume, and the order of their axes in its array.

    Args:
        entries: What was drawn on them, of which some may state the size.
        canvas: The volume.
    """
    columns, rows, count = canvas.shape
    stated = {entry.size for entry in entries if entry.size}
    if stated == {(columns, rows)} and rows != columns:
        return (columns, rows), count, AS_ARRAY
    return (rows, columns), count, AS_SHOWN


def _is_called(file_name: str, volume: Path) -> bool:
    return _base(PureWindowsPath(file_name)) == _base(volume)


def _base(path: PurePath) -> str:
    return _folded(path.name.partition(".")[0])


def _stem(name: str) -> str:
    path = PureWindowsPath(_folded(name))
    return path.with_suffix("").as_posix() if path.name else ""


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
