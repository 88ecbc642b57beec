"""The table of file formats: by what name each is known, and what reads and writes it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from megamed.readers import (
    arrays,
    dicom,
    dicom_folder,
    dicom_headers,
    dicom_labels,
    dicom_seg,
    metaimage,
    nifti,
    nrrd,
    picture,
    tiff,
)
from megamed.readers.source import SERIES, Source
from megamed.readers.stored import DrawnLabel, Geometry, MaskImage, StoredImage
from megamed.readers.volume import MAX_VOXELS

Kind = Literal["image", "stack", "placed", "series"]
"""Kind of image that a mask lies on: one plane, ordered planes, a volume placed in the patient, a DICOM series."""


@dataclass(frozen=True)
class FileFormat:
    """One format of files. A further one is a module that reads it and a line in `FORMATS`.

    Readers and writers import their libraries when they are called.
    """

    name: str
    suffixes: tuple[str, ...]
    """Endings of file names, in lower case, the longest first."""
    read: Callable[[Source, int], StoredImage]
    """Reads a source; the number is the most pixels that a picture may have."""
    read_drawn: Callable[[Source], DrawnLabel] | None = None
    """Reads a label that was drawn on an image, from its own file and those of the image."""
    write: Callable[[MaskImage, str], bytes] | None = None
    """Returns the content of a file with one of the suffixes in `writes`."""
    writes: tuple[str, ...] = ()
    """Endings of the masks that it writes, the preferred one first."""
    holds: frozenset[Kind] = frozenset()
    """Kinds of images whose masks it can write."""
    has_mark: Callable[[Path], bool] | None = None
    """Tells a file of the format by its content."""
    find: Callable[[Path], Source] | None = None
    """Finds the files of one image in a folder."""
    has_parts: bool = False
    """Whether a file holds any number of arrays, so that it is not by itself one image."""


FORMATS = (
    FileFormat(
        "DICOM", (".dicom", ".dcm", ".ima"), dicom.read, dicom_labels.read_drawn, dicom_seg.write, (".dcm",),
        frozenset({"series"}), has_mark=dicom_headers.has_mark, find=dicom_folder.find_series,
    ),
    FileFormat("NIfTI", (".nii.gz", ".nii"), nifti.read, None, nifti.write, (".nii.gz", ".nii"), frozenset({"placed"})),
    FileFormat("NRRD", (".nrrd", ".nhdr"), nrrd.read, None, nrrd.write, (".nrrd",), frozenset({"placed"})),
    FileFormat("MetaImage", (".mha", ".mhd"), metaimage.read, None, metaimage.write, (".mha",), frozenset({"placed"})),
    FileFormat(
        "picture", (".png", ".bmp", ".gif", ".jpeg", ".jpg", ".webp"), picture.read, None, picture.write,
        (".png", ".bmp"), frozenset({"image"}),
    ),
    FileFormat(
        "TIFF", (".tiff", ".tif"), tiff.read, None, tiff.write, (".tif", ".tiff"), frozenset({"image", "stack"})
    ),
    FileFormat("NumPy array", (".npy",), arrays.read),
    FileFormat("NumPy archive", (".npz",), arrays.read, has_parts=True),
)  # fmt: skip


def format_of(path: Path) -> FileFormat | None:
    """Return the format of a file by its suffix, or by its mark if it has none; None if it is not in the table.

    Digits behind the last dot, as in the UIDs that name DICOM files, are no suffix.
    """
    name, is_bare = path.name.lower(), not path.suffix.strip(".0123456789")
    for each in FORMATS:
        if name.endswith(each.suffixes) or (is_bare and each.has_mark and each.has_mark(path)):
            return each
    return None


def is_image(path: Path) -> bool:
    """Whether a file, or a folder that is searched for marks, is taken for an image or a label."""
    if path.is_dir():
        return any(map(is_slice, path.rglob("*")))
    found = format_of(path)
    return found is not None and not found.has_parts


def is_slice(path: Path) -> bool:
    """Whether a file may be one of several that make an image together."""
    return any(each.has_mark(path) for each in FORMATS if each.find and each.has_mark)


def image_suffixes() -> tuple[str, ...]:
    """Return the endings of files that hold one image each."""
    return tuple(suffix for each in FORMATS if not each.has_parts for suffix in each.suffixes)


def stem(name: str) -> str:
    """Return a file name without the ending that tells its format; other endings, as those of UIDs, stay.

    >>> stem("scan.1.nii.gz"), stem("1.2.840.10008")
    ('scan.1', '1.2.840.10008')
    """
    lower = name.lower()
    known = (suffix for each in FORMATS for suffix in each.suffixes if lower.endswith(suffix))
    return name[: len(name) - max(map(len, known), default=0)]


def source_at(path: Path) -> Source:
    """Return the source that a path means: a file, or the one series in a folder.

    Raises:
        ValueError: If a folder holds none or several.
        ImportError: If the library for the format is not installed.
    """
    if not path.is_dir():
        return Source((path,))
    return next(each.find for each in FORMATS if each.find)(path)


def read(source: Source, most_pixels: int = MAX_VOXELS) -> StoredImage:
    """Read an image or a label as its file holds it; a file of unknown suffix as a picture.

    Args:
        source: Where it lies.
        most_pixels: The size above which a picture is refused before it is decoded.

    Raises:
        ValueError: If it cannot be decoded or is too large.
        ImportError: If the library for its format is not installed; the message has the command.
    """
    if source.part == SERIES:
        return dicom.read(source, most_pixels)
    found = format_of(source.files[0])
    return (found.read if found else picture.read)(source, most_pixels)


def read_drawn(source: Source) -> DrawnLabel:
    """Read a label that was drawn on an image.

    Args:
        source: The file of the label, followed by those of the image.

    Raises:
        ValueError: If a file cannot be decoded, or the label was drawn on something else.
        ImportError: If the library for its format is not installed; the message has the command.
    """
    read_drawn = next(each.read_drawn for each in FORMATS if each.read_drawn)
    return read_drawn(source)


def is_drawn(path: Path, geometry: Geometry) -> bool:
    """Whether a file is a label whose structures were drawn on an image of given geometry."""
    drawn = (each.has_mark for each in FORMATS if each.read_drawn and each.has_mark)
    return bool(geometry.files) and any(has_mark(path) for has_mark in drawn)


def mask_suffixes(kinds: set[Kind]) -> tuple[str, ...]:
    """Return the endings of files that can hold masks of an image of these kinds, the most suitable first."""
    return tuple(suffix for each in FORMATS if each.holds & kinds for suffix in each.writes)


def like(path: Path, suffixes: tuple[str, ...]) -> str:
    """Return, of endings that a mask can have, the one of its image; the first where it has no such ending."""
    found = format_of(path)
    own = [suffix for suffix in found.writes if suffix in suffixes] if found else []
    named = [suffix for suffix in own if path.name.lower().endswith(suffix)]
    return [*named, *own, *suffixes][0]


def encode(mask: MaskImage, suffix: str) -> bytes:
    """Return the content of the file of a mask.

    Raises:
        ValueError: If the format cannot hold the mask.
        ImportError: If the library for its format is not installed; the message has the command.
    """
    write = next(each.write for each in FORMATS if suffix in each.writes)
    assert write
    return write(mask, suffix)
