"""The files of an image's masks: one label map, or where classes overlap one file for each class."""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Bool, UInt8

from incontext.folders.report import ImageReport
from incontext.images.case_planes import on_grid
from incontext.images.source_image import SourceImage, read_label_image
from incontext.inference.segmentation import Segmentation
from megamed.annotation_tools.model import distinct_names, file_name_of
from megamed.files import Ledger, make_folder, replace_file, sha256_of
from megamed.label_values import LabelRules

ITS_OWN = LabelRules((), instances=False)
"""Meaning of the values of a mask that was written here: each is a class."""

LONGEST = 80
"""Number of characters of a class's name that the folder of its masks has."""

EDITED = "mask was edited since it was written: it is kept, and measured as it stands. Delete it to have it made anew."
"""Warning of a mask that somebody edited."""


def mask_names(stem: str, suffix: str, classes: Mapping[int, str], overlap: bool) -> dict[int, str]:
    """Name the files of an image's masks, below the folder of all masks.

    Args:
        stem: Name of the image without its ending, with folders before it.
        suffix: Ending of the files.
        classes: Names of the classes by label value.
        overlap: Whether classes may overlap.

    Returns:
        Name of the file of each class by label value, `organ/a.png`; or under 0 of the one that holds all of them.
    """
    if not overlap:
        return {0: f"{stem}{suffix}"}
    folders: dict[int, str] = {}
    for value, name in distinct_names(classes).items():
        folders[value] = file_name_of(name.strip(". ")[:LONGEST] or str(value), folders.values())
    return {value: str(PurePosixPath(folder, f"{stem}{suffix}")) for value, folder in folders.items()}


def write_or_keep(
    result: Segmentation, files: Mapping[int, Path], ledger: Ledger
) -> dict[int, Bool[np.ndarray, "..."]]:
    """Write the masks of the one image of a result, but for those that somebody edited.

    Args:
        result: Masks of one image.
        files: Files by label value; see `mask_names`.
        ledger: Ledger of the folder of results, which knows what was written there.

    Returns:
        Masks of the classes by label value, of which a file was edited, as somebody made them.

    Raises:
        ValueError: If a file is no mask, and never was one that was written here.
        OSError: If a file cannot be written.
    """
    kept: dict[int, Bool[np.ndarray, ...]] = {}
    for value, path in files.items():
        make_folder(path.parent)
        classes = {value: result.classes[value]} if value else result.classes
        planes = _written_or_kept(result, value, path, ledger)
        if planes is not None:
            label = on_grid(planes, result.cases[0])
            kept |= {each: label == each for each in classes} if not value else {value: label > 0}
    return kept


def _written_or_kept(result: Segmentation, value: int, path: Path, ledger: Ledger) -> UInt8[np.ndarray, "N H W"] | None:
    """Write a mask, or return the one that somebody made of it."""
    if not path.is_file() or ledger.knows(path):  # a folder or a pipe in its place is refused
        result.write(0, path, value)
        return None
    with tempfile.TemporaryDirectory() as folder:
        ours = result.write(0, Path(folder) / path.name, value).read_bytes()
    planes = _edited(path, result.cases[0], [value] if value else result.classes, ours)
    if planes is None:
        if ledger.has_written(path) or ours.startswith(path.read_bytes()):
            ledger.adopt(path)
        replace_file(path, ours)
    return planes


def read_masks_of(
    report: ImageReport, folder: Path, case: SourceImage, classes: Iterable[int]
) -> dict[int, Bool[np.ndarray, "N H W"]]:
    """Read the masks of an image by label value, on its planes.

    Args:
        report: Report on the image.
        folder: Folder of all masks.
        case: The image.
        classes: Label values of all classes.

    Raises:
        ValueError: If a file is damaged, or does not fit the image.
        OSError: If it cannot be read.
    """
    if report.masks:
        return {value: read_back(folder / name, name, case, [value]) > 0 for value, name in report.masks.items()}
    label = read_back(folder / report.mask, report.mask, case, classes)
    return {value: label == value for value in classes}


def read_back(path: Path, name: str, case: SourceImage, classes: Iterable[int]) -> UInt8[np.ndarray, "N H W"]:
    """Read a mask's file as label values on the planes of its image.

    Raises:
        ValueError: If the file is damaged, or does not fit the image.
        OSError: If it cannot be read.
    """
    planes = read_label_image(path, name, case, ITS_OWN).planes
    if not name.endswith(".dcm"):
        return planes
    values = np.array([0, *sorted(classes)], dtype=np.uint8)  # a DICOM-SEG counts its segments from 1
    if planes.max(initial=0) >= len(values):
        message = f"{name} holds other segments: expected at most {len(values) - 1}, got number {planes.max()}."
        raise ValueError(message)
    return values[planes]


def _edited(path: Path, case: SourceImage, classes: Iterable[int], ours: bytes) -> UInt8[np.ndarray, "N H W"] | None:
    """Read what somebody made of a mask that was written here; None if it is the same, but damaged or cut off.

    Args:
        path: File of other content than was written.
        case: Image of the mask.
        classes: Label values of the classes in the file.
        ours: Content that would be written there now.
    """
    if ours.startswith(path.read_bytes()):
        return None
    try:
        return read_back(path, path.name, case, classes)
    except (ValueError, OSError):
        return None


def hash_of(files: Iterable[Path]) -> str:
    """Hash of the content of a file, or of several in their order; empty if one is missing."""
    paths = list(files)
    if not all(path.is_file() for path in paths):
        return ""
    each = [sha256_of(path) for path in paths]
    return each[0] if len(each) == 1 else sha256_of(repr(each).encode())
