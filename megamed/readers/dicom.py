"""Read a DICOM series through pydicom: slices sorted by where they lie, in modality units, turned to RAS axes."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Real

from megamed.readers.faults import needs, one_error
from megamed.readers.volume import LPS_TO_RAS, Volume, canonical, check_header

STEP_TOLERANCE = 0.05
"""How much distances between slices may differ, as a share of the mean distance."""
EQUAL = ("SeriesInstanceUID", "Rows", "Columns")
CLOSE = ("PixelSpacing", "ImageOrientationPatient")
CLOSE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a series lie."""

    files: tuple[Path, ...]
    """Of the slices, in the order of their positions."""
    uids: tuple[str, ...]
    shape: tuple[int, int, int]
    """Columns, rows and slices."""
    affine: Float[np.ndarray, "4 4"]
    """From indices of column, row and slice to the patient's millimetres, towards left, back and head."""

    def volume(self, array: Real[np.ndarray, "columns rows slices"]) -> Volume:
        """Turn an array on this grid to RAS axes."""
        return canonical(array, LPS_TO_RAS @ self.affine)


@contextmanager
def readable(path: Path) -> Iterator[Any]:
    """Import pydicom and raise what it raises as one error."""
    with needs("pydicom", "DICOM"):
        import pydicom
        from pydicom.errors import BytesLengthException, InvalidDicomError
    errors = (OSError, EOFError, ValueError, AttributeError, KeyError, IndexError, TypeError, NotImplementedError)
    with one_error(path, *errors, RuntimeError, struct.error, zlib.error, InvalidDicomError, BytesLengthException):
        yield pydicom


def read_series(files: Sequence[Path]) -> Volume | Real[np.ndarray, "H W"]:
    """Read the slices of a series as a volume, a single radiograph as a picture.

    Raises:
        ValueError: If a file cannot be decoded, slices are missing, repeated or differ, or they are too large.
        ImportError: If pydicom, or the codec that the pixels need, is not installed.
    """
    with readable(files[0]) as pydicom:
        if len(files) == 1 and "ImagePositionPatient" not in (header := _header(files[0], pydicom)):
            check_header((1, header.Rows, header.Columns), np.dtype(np.uint16))
            return _pixels(files[0])
    grid = read_grid(files)
    pages = np.stack([_pixels(file) for file in grid.files])
    return grid.volume(pages.transpose(2, 1, 0))


def read_grid(files: Sequence[Path]) -> Grid:
    """Find where the voxels of a series lie, from its headers alone.

    Raises:
        ValueError: If a header cannot be read, or slices are missing, repeated or differ.
        ImportError: If pydicom is not installed.
    """
    with readable(files[0]) as pydicom:
        headers = {file: _header(file, pydicom) for file in files}
        first = headers[files[0]]
        for name in (*EQUAL, *CLOSE):
            if not all(_alike(name, header, first) for header in headers.values()):
                msg = f"expected slices of one series, got several values of {name}"
                raise ValueError(msg)
        across, down = np.reshape(np.array(first.ImageOrientationPatient, float), (2, 3))
        normal = np.cross(across, down)
        place = {file: np.array(header.ImagePositionPatient, float) for file, header in headers.items()}
        order = sorted(files, key=lambda file: float(place[file] @ normal))
        positions = np.stack([place[file] for file in order])
        row_mm, column_mm = map(float, first.PixelSpacing)
        affine = np.eye(4)
        affine[:3, 0], affine[:3, 1] = across * column_mm, down * row_mm
        affine[:3, 2] = _step(positions, normal * float(first.get("SliceThickness") or 1))
        affine[:3, 3] = positions[0]
        shape = (int(first.Columns), int(first.Rows), len(order))
        check_header(shape, np.dtype(np.uint16))
        return Grid(tuple(order), tuple(str(headers[file].SOPInstanceUID) for file in order), shape, affine)


def _alike(name: str, header: Any, first: Any) -> bool:
    values = [np.array(each[name].value) for each in (header, first)]
    if name in EQUAL:
        return bool(values[0] == values[1])
    return np.allclose(values[0].astype(float), values[1].astype(float), atol=CLOSE_TOLERANCE)


def _step(positions: Float[np.ndarray, "slices 3"], single: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
    """Find the way from one slice to the next, the same between all."""
    if len(positions) == 1:
        return single
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    errors = np.linalg.norm(np.diff(positions, axis=0) - step, axis=1)
    if not step.any() or errors.max() > STEP_TOLERANCE * np.linalg.norm(step):
        steps_mm = np.linalg.norm(np.diff(positions, axis=0), axis=1).round(2)
        msg = f"slices are missing or repeated: expected equal distances, got {np.unique(steps_mm).tolist()[:5]} mm"
        raise ValueError(msg)
    return step


def _header(file: Path, pydicom: Any) -> Any:
    return pydicom.dcmread(file, stop_before_pixels=True)


def _pixels(file: Path) -> Float[np.ndarray, "H W"]:
    """Decode a slice, in Hounsfield or whatever units the header rescales to; bright is dense."""
    with readable(file) as pydicom:
        dataset = pydicom.dcmread(file)
        if dataset.get("SamplesPerPixel", 1) != 1 or dataset.get("NumberOfFrames", 1) != 1:
            msg = "expected one grey frame, got colours or several frames"
            raise ValueError(msg)
        slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
        pixels = dataset.pixel_array.astype(np.float32) * slope + intercept
        return pixels.max() - pixels if dataset.PhotometricInterpretation == "MONOCHROME1" else pixels
