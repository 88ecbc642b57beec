"""Read an image of NIfTI or Analyze that is a pair of files: a header `.hdr` and pixels `.img`."""

import re
from dataclasses import replace
from io import BytesIO, IOBase
from pathlib import Path
from typing import Any

import numpy as np

from megamed.readers import nifti
from megamed.readers.source import Source
from megamed.readers.stored import StoredImage
from megamed.readers.volume import LPS_TO_RAS

HEADER_BYTES = 540
"""Size of the longest header, that of NIfTI-2."""
NO_SIDES = "a header of Analyze names no sides: its first axis is taken to run to the patient's left"
SUFFIXES = (".hdr.gz", ".hdr")
"""Endings of headers, which stand for their pairs."""
ENDING = re.compile(r"\.(hdr|img)(\.gz)?$", re.IGNORECASE)


def other_of(path: Path) -> Path | None:
    """Return the other file of a pair, compressed or not; None if it is not there."""
    match = ENDING.search(path.name)
    if match is None:
        return None
    wanted = "img" if match[1].lower() == "hdr" else "hdr"
    wanted = wanted.upper() if match[1].isupper() else wanted
    candidates = (path.with_name(f"{path.name[: match.start()]}.{wanted}{packed}") for packed in ("", ".gz", ".GZ"))
    return next((each for each in candidates if each.is_file()), None)


def header_of(path: Path) -> Path:
    """Return the header of a pair by the file of its pixels; any other file as it is."""
    is_pixels = path.name.lower().endswith((".img", ".img.gz"))
    return (other_of(path) if is_pixels else None) or path


def read(source: Source, most_pixels: int) -> StoredImage:
    """Read a volume as `nifti.read` does, by its header.

    Raises:
        ValueError: If the pixels are missing, or for the reasons of `nifti.read`.
        ImportError: If nibabel is not installed.
    """
    (path,) = source.files
    pixels = other_of(path)
    if pixels is None:
        expected = ENDING.sub(".img", path.name)
        msg = f"{path.name} cannot be read: expected its pixels beside it in {expected}, got no such file."
        raise ValueError(msg)
    with nifti.decoding(path) as nibabel, nifti.unpacked(path) as header, nifti.unpacked(pixels) as values:
        image, has_place = _opened(nibabel, header, values)
        stored = nifti.stored_image(image, pixels, source.part)
    if not has_place:
        seen_by_itk = np.diag([*(stored.geometry.spacing or ()), 1.0]) @ LPS_TO_RAS
        space = replace(stored.geometry, is_placed=False, other_affines=(seen_by_itk,))
        return replace(stored, geometry=space, notes=(*stored.notes, NO_SIDES))
    return stored


def _opened(nibabel: Any, header: IOBase, values: IOBase) -> tuple[Any, bool]:
    """Open a pair as an image of NIfTI, and tell whether its header states a place in the patient."""
    start = header.read(HEADER_BYTES)
    header.seek(0)
    kinds = (nibabel.Nifti2Pair, nibabel.Nifti1Pair, nibabel.Spm2AnalyzeImage)
    kind = next((each for each in kinds if each.header_class.may_contain_header(start)), None)
    if kind is None:
        msg = "expected a header of NIfTI or Analyze, got another"
        raise ValueError(msg)
    files = {"header": header, "image": values, "mat": BytesIO()}  # without the matrix that SPM keeps in a third file
    image = kind.from_file_map({name: nibabel.fileholders.FileHolder(fileobj=file) for name, file in files.items()})
    if isinstance(image, nibabel.Nifti1Pair):  # that of NIfTI-2 is one too
        return image, True
    return nibabel.Nifti1Image(image.dataobj, image.affine, nibabel.Nifti1Header.from_header(image.header)), False
