"""Read a NIfTI image of either version through nibabel, and write a mask with the header of its image."""

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import IOBase
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from megamed.readers import channels
from megamed.readers.faults import check_expansion, needs, one_error
from megamed.readers.lengths import mm_per
from megamed.readers.source import Source
from megamed.readers.stored import Geometry, MaskImage, StoredImage
from megamed.readers.vector_pixels import one_pixel
from megamed.readers.volume import MISPLACED, check_header, displacement_mm, usable_orientations

GZIP_MARK = b"\x1f\x8b"
MOST_MM = 100.0
"""Size that no voxel has: a header that says so has the wrong unit."""
SAME_SIZE = 1e-3
"""Relative difference of sides of voxels up to which they are the same but for rounding."""
VECTOR_AXES = 5
"""Number of axes of an image whose pixels hold several values; the fourth is that of time."""
NIFTI_2_BYTES = 540
"""Size of a header of NIfTI-2, which it begins with; that of NIfTI-1 is 348."""


def read(source: Source, most_pixels: int) -> StoredImage:
    """Read a volume; of several along a fourth axis, the one whose index `part` gives.

    A plane is a volume of one slice. The content, not the name, tells whether the file is compressed.

    Raises:
        ValueError: If the file cannot be decoded, is too large, is not three-dimensional or lacks the channel.
        ImportError: If nibabel is not installed.
    """
    (path,) = source.files
    with _opened(path) as image:
        return stored_image(image, path, source.part)


def sides(path: Path) -> tuple[int, ...]:
    """Return the sides that a header states.

    Raises:
        ValueError: If the file cannot be decoded.
        ImportError: If nibabel is not installed.
    """
    with _opened(path) as image:
        return tuple(image.shape)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with decoding(path) as nibabel, unpacked(path) as file:
        yield (nibabel.Nifti2Image if _is_second(file) else nibabel.Nifti1Image).from_stream(file)


@contextmanager
def decoding(path: Path) -> Iterator[Any]:
    """Import nibabel, and turn its errors into one that names the file."""
    with needs("nibabel", "NIfTI"):
        import nibabel
        from nibabel.filebasedimages import ImageFileError
        from nibabel.orientations import OrientationError
        from nibabel.spatialimages import HeaderDataError
        from nibabel.wrapstruct import WrapStructError
    errors = (OSError, EOFError, ValueError, OverflowError, zlib.error, ImageFileError, HeaderDataError)
    with one_error(path, *errors, OrientationError, WrapStructError):
        yield nibabel


def stored_image(image: Any, path: Path, part: str) -> StoredImage:
    """Read the pixels of an image that nibabel opened.

    Args:
        image: The image.
        path: The file of its pixels.
        part: The channel that is asked for, or the volume along a fourth axis; empty if none is.

    Raises:
        ValueError: If it is too large, is not three-dimensional or lacks the channel.
    """
    stored_dtype = image.get_data_dtype()
    dtype = stored_dtype[0] if stored_dtype.names else stored_dtype
    space = (*image.shape[:3], 1)[:3] if image.ndim == 2 else image.shape[:3]
    check_header(space, dtype)
    is_vector = image.ndim == VECTOR_AXES and image.shape[3] == 1
    if part and image.ndim == 4:
        image = _volume_of(image, part)
    if math.prod(image.shape[3:]) != 1 and not is_vector:
        msg = (
            f"it holds {math.prod(image.shape[3:])} volumes: expected one, got shape {image.shape}. "
            "Save one of them: nibabel.load(path).slicer[..., 0]"
        )
        raise ValueError(msg)
    check_expansion(path, math.prod(image.shape) * stored_dtype.itemsize)
    usable_orientations(image.affine)
    geometry, notes = _geometry(image)
    array = np.asanyarray(image.dataobj)
    if stored_dtype.names:
        array = np.stack([array[name] for name in stored_dtype.names], axis=-1)
    if stored_dtype.names or (is_vector and image.shape[4] > 1):
        stored = StoredImage(array.reshape(*space, array.shape[-1]), "XYZ", geometry, notes=notes)
        return one_pixel(stored, part, are_colours=bool(stored_dtype.names))
    return StoredImage(array.reshape((*space, *image.shape[3:4])), "XYZT"[: max(image.ndim, 3)], geometry, notes=notes)


def write(mask: MaskImage, suffix: str) -> bytes:
    """Return a NIfTI file with the header of the mask's image, or else with its affine.

    A mask of a DICOM series is stored as converters store the series: columns, rows, slices.
    """
    with needs("nibabel", "NIfTI", "Writing"):
        import nibabel
    header = mask.geometry.header
    if isinstance(header, nibabel.Nifti1Header):  # that of NIfTI-2 is one too
        header = header.copy()
        header["cal_min"], header["cal_max"] = 0, 0
        kind = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
        header.set_intent("none")
        sides = header.get_data_shape()
        array = mask.array.reshape(sides if math.prod(sides) == mask.array.size else mask.array.shape)
        image = kind(array, None, header)
    elif mask.geometry.files:
        image = nibabel.Nifti1Image(mask.array.transpose(), mask.affine[:, [2, 1, 0, 3]])
    else:
        image = nibabel.Nifti1Image(mask.array, mask.affine)
    if image.header.get_xyzt_units()[0] == "unknown" and not isinstance(header, nibabel.Nifti1Header):
        image.header.set_xyzt_units("mm")
    image.set_data_dtype(mask.array.dtype)
    image.header.set_slope_inter(1, 0)
    content = image.to_bytes()
    return gzip.compress(content, mtime=0) if suffix == ".nii.gz" else content


def _geometry(image: Any) -> tuple[Geometry, tuple[str, ...]]:
    """Place a volume in millimetres, whatever unit its header has; its header keeps this unit."""
    zooms = _voxel_sides(image)
    unit = image.header.get_xyzt_units()[0]
    mm, notes = mm_per(unit) or 1.0, list[str]()
    if mm > 1 and mm * min(zooms) > MOST_MM:
        mm = 1.0
        notes.append(f"voxels of {min(zooms):g} {unit} make no sense: taken for millimetres")
    in_mm, others = np.diag([mm, mm, mm, 1.0]), _other_affines(image.header)
    if mm != 1:
        others = (*(in_mm @ other for other in others), image.affine)  # of a label whose header lost the unit
    spacing = tuple(mm * size for size in zooms)
    notes += _disagreement(image)
    is_placed = bool(image.header["sform_code"] or image.header["qform_code"])
    return Geometry(in_mm @ image.affine, spacing, "mm", image.header, (), None, others, is_placed), tuple(notes)


def _voxel_sides(image: Any) -> list[float]:
    """Return the distances of neighbouring voxels: of the place that is taken, which may contradict those beside it."""
    stated = np.array([*image.header.get_zooms(), 1.0, 1.0][:3], float)
    placed = np.linalg.norm(image.affine[:3, :3], axis=0)
    return (stated if np.allclose(stated, placed, rtol=SAME_SIZE) else placed).tolist()


def _disagreement(image: Any) -> list[str]:
    """Say that a header states two places, where they are not the same."""
    others = _other_affines(image.header)
    least = min(np.linalg.norm(image.affine[:3, :3], axis=0))
    shape = (*image.shape[:3], 1, 1)[:3]
    is_apart = any(displacement_mm(image.affine, other, shape) > MISPLACED * least for other in others)
    return ["its header states two places that differ, sform and qform: the sform is taken"] if is_apart else []


def _volume_of(image: Any, channel: str) -> Any:
    index = channels.index_of(channel, image.shape[3])
    if index is None:
        msg = f"it has no channel {channel}: expected {channels.listed(image.shape[3])}. Choose one of these"
        raise ValueError(msg)
    return image.slicer[..., index]


@contextmanager
def unpacked(path: Path) -> Iterator[IOBase]:
    """Open a file, through gzip if its content says so."""
    with path.open("rb") as raw:
        is_packed = raw.read(len(GZIP_MARK)) == GZIP_MARK
        raw.seek(0)
        if not is_packed:
            yield raw
            return
        with gzip.GzipFile(fileobj=raw) as unpacked:
            yield unpacked


def _is_second(file: Any) -> bool:
    """Whether a file is one of NIfTI-2; the position in it stays."""
    size = file.read(4)
    file.seek(0)
    return NIFTI_2_BYTES in (int.from_bytes(size, "little"), int.from_bytes(size, "big"))


def _other_affines(header: Any) -> tuple[Float[np.ndarray, "4 4"], ...]:
    """Return the place that the header states beside the one that is taken: ITK reads its qform, others its sform."""
    stated = [affine for affine, code in (header.get_sform(coded=True), header.get_qform(coded=True)) if code]
    return tuple(stated[1:])
