"""Read DICOM files through pydicom: the slices of a series, films and radiographs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped

from megamed.readers.dicom_grid import PlacedPlane, planes_of, read_grid
from megamed.readers.dicom_headers import header_of, readable
from megamed.readers.dicom_stored import number
from megamed.readers.dicom_values import has_colours, pixel_spacing_mm, spacing_note, values_of
from megamed.readers.source import Source
from megamed.readers.stored import Geometry, StoredImage
from megamed.readers.volume import check_header


def read(source: Source, most_pixels: int) -> StoredImage:
    """Read the slices of a series as slices, rows and columns, a radiograph, or the frames of a film.

    Raises:
        ValueError: If a file cannot be decoded, slices are of several volumes, or they are too large.
        ImportError: If pydicom, or the codec that the pixels need, is not installed.
    """
    path, header = source.files[0], header_of(source.files[0])
    stored_dtype = np.dtype(np.uint8 if number(header, "BitsStored", 16) <= 8 else np.int16)
    with readable(path):
        is_sized = any(plane.is_sized for plane in planes_of(path, header))
        is_placed = len(source.files) > 1 or (is_sized and not has_colours(header))
    if not is_placed:
        nowhere = radiograph_geometry(path, header)
        notes = [*source.notes, *spacing_note(header)]
        array = _film(path, header, notes)
        axes = "TYXC"[: array.ndim] if has_colours(header) or len(array) > 1 else "YX"
        return StoredImage(array if axes != "YX" else array[0], axes, nowhere, stored_dtype, notes=tuple(notes))
    grid = read_grid(source.files)
    with readable(path):
        if any(map(has_colours, grid.headers.values())):
            msg = "expected one grey frame in each slice, got colours"
            raise ValueError(msg)
    notes = [*source.notes, *grid.notes]
    slices = _slices(grid.planes, notes)
    return StoredImage(slices, "ZYX", grid.geometry, stored_dtype, notes=tuple(notes))


def radiograph_geometry(path: Path, header: Any) -> Geometry:
    """Return what is known of the place of an image without one: the size of its pixels."""
    spacing = pixel_spacing_mm(header)
    return Geometry(spacing=spacing, header=(header,), files=(path,), modality=header.get("Modality"))


def _slices(planes: Sequence[PlacedPlane], notes: list[str]) -> Float32[np.ndarray, "slices rows columns"]:
    """Decode the planes, and add remarks on their values; a file that holds several is decoded once."""
    headers = {plane.file: plane.header for plane in planes}
    images = dict(zip(headers, values_of(list(headers.values()), notes), strict=True))
    return np.stack([images[plane.file].reshape(-1, *plane.shape)[plane.frame] for plane in planes])


def _film(path: Path, header: Any, notes: list[str]) -> Shaped[np.ndarray, "frames rows columns *colours"]:
    with readable(path):
        frames, colours = int(number(header, "NumberOfFrames", 1)), int(number(header, "SamplesPerPixel", 1))
        check_header((frames, header.Rows, header.Columns * colours), np.dtype(np.uint16))
    (pixels,) = values_of([header], notes)
    with readable(path):
        return pixels.reshape(frames, header.Rows, header.Columns, *((3,) if has_colours(header) else ()))
