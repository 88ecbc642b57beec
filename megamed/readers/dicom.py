"""Read DICOM files through pydicom: slices sorted by where they lie, films and radiographs."""

import functools
import re
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from megamed.readers.dicom_values import is_film, number, pixel_spacing_mm, values_of
from megamed.readers.faults import needs, one_error
from megamed.readers.source import SERIES, Source
from megamed.readers.stored import Geometry, StoredImage
from megamed.readers.volume import LPS_TO_RAS, check_header, usable_orientations

PREAMBLE_BYTES, MARK = 128, b"DICM"
"""What tells a DICOM file: four letters after a preamble."""
LABEL_MODALITIES = frozenset({"SEG", "RTSTRUCT"})
LABEL_CLASSES = frozenset(f"1.2.840.10008.5.1.4.1.1.{end}".encode() for end in ("66.4", "66.7", "481.3"))
"""UIDs of the objects that hold labels: two kinds of DICOM-SEG, and RTSTRUCT."""
OBJECT_CLASS, META_BYTES = re.compile(rb"\x02\x00\x02\x00UI..([0-9.]+)", re.DOTALL), 1024
"""The element of a file's meta information that states its class, and the bytes among which it stands."""
STEP_TOLERANCE = 0.05
"""How much distances between slices may differ, as a share of the mean distance."""
EQUAL = ("SeriesInstanceUID", "Rows", "Columns")
CLOSE = ("PixelSpacing", "ImageOrientationPatient")
CLOSE_TOLERANCE = 1e-4
DEFERRED_BYTES = 4096
"""Elements larger than this, pixels above all, are read from the file only when they are asked for."""
MOST_HEADERS = 2048
"""Number of headers that are remembered: some tens of megabytes."""


@dataclass(frozen=True, eq=False)
class SeriesGrid:
    """Where the voxels of a series lie."""

    headers: dict[Path, Any]
    """The data set of each slice, in the order of the positions."""
    affine: Float[np.ndarray, "4 4"]
    """From indices of slice, row and column to the patient's millimetres, towards right, front and head."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of slices, rows and columns."""
        first = next(iter(self.headers.values()))
        return len(self.headers), int(first.Rows), int(first.Columns)

    @property
    def uids(self) -> tuple[str, ...]:
        """The instance UID of each slice."""
        return tuple(str(header.SOPInstanceUID) for header in self.headers.values())

    @property
    def geometry(self) -> Geometry:
        """What a mask on the series needs."""
        headers = tuple(self.headers.values())
        return Geometry(self.affine, header=headers, files=tuple(self.headers), modality=headers[0].get("Modality"))


@contextmanager
def readable(path: Path) -> Iterator[Any]:
    """Import pydicom and raise what it raises as one error."""
    with needs("pydicom", "DICOM"):
        import pydicom
        from pydicom.errors import BytesLengthException, InvalidDicomError
    errors = (OSError, EOFError, ValueError, AttributeError, KeyError, IndexError, TypeError, NotImplementedError)
    with one_error(path, *errors, RuntimeError, struct.error, zlib.error, InvalidDicomError, BytesLengthException):
        yield pydicom


def read(source: Source, most_pixels: int) -> StoredImage:
    """Read the slices of a series as slices, rows and columns, a radiograph, or the frames of a film.

    Raises:
        ValueError: If a file cannot be decoded, slices are missing, repeated or differ, or they are too large.
        ImportError: If pydicom, or the codec that the pixels need, is not installed.
    """
    path, header = source.files[0], header_of(source.files[0])
    stored_dtype = np.dtype(np.uint8 if number(header, "BitsStored", 16) <= 8 else np.int16)
    nowhere = Geometry(
        spacing=pixel_spacing_mm(header), header=(header,), files=(path,), modality=header.get("Modality")
    )
    if len(source.files) == 1 and is_film(header):
        film = _film(path, header)
        return StoredImage(film, "TYXC"[: film.ndim], nowhere, stored_dtype)
    if len(source.files) == 1 and not header.get("ImagePositionPatient"):
        with readable(path):
            check_header((1, header.Rows, header.Columns), np.dtype(np.uint16))
            return StoredImage(values_of([header])[0], "YX", nowhere, stored_dtype)
    grid = read_grid(source.files)
    with readable(path):
        if any(map(is_film, grid.headers.values())):
            msg = "expected one grey frame in each slice, got colours or several frames"
            raise ValueError(msg)
        slices = np.stack(values_of(list(grid.headers.values())))
    return StoredImage(slices, "ZYX", grid.geometry, stored_dtype)


def header_of(path: Path) -> Any:
    """Parse a file, but for its pixels; the data set is shared and must not be changed.

    Raises:
        ValueError: If it is no DICOM file.
        ImportError: If pydicom is not installed.
    """
    with readable(path) as pydicom:
        state = path.stat()
        return _parsed(pydicom, path, state.st_mtime_ns, state.st_size)


def read_grid(files: Sequence[Path]) -> SeriesGrid:
    """Find where the voxels of a series lie, from its headers alone.

    Raises:
        ValueError: If a header cannot be read, or slices are missing, repeated or differ.
        ImportError: If pydicom is not installed.
    """
    headers = {file: header_of(file) for file in files}
    with readable(files[0]):
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
        affine[:3, 0] = _step(positions, normal * (number(first, "SliceThickness", 1) or 1))
        affine[:3, 1], affine[:3, 2] = down * row_mm, across * column_mm
        affine[:3, 3] = positions[0]
        check_header((int(first.Columns), int(first.Rows), len(order)), np.dtype(np.uint16))
        usable_orientations(affine)
        return SeriesGrid({file: headers[file] for file in order}, LPS_TO_RAS @ affine)


def find_series(folder: Path) -> Source:
    """Find the one series in a folder and its subfolders; labels drawn on it are left out.

    Raises:
        ValueError: If there is none or several.
        ImportError: If pydicom is not installed; the message has the command.
    """
    series: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if has_mark(path):
            header = header_of(path)
            if header.get("Modality") not in LABEL_MODALITIES:
                series[str(header.get("SeriesInstanceUID", ""))].append(path)
    series.pop("", None)
    if len(series) != 1:
        counts = sorted(map(len, series.values()))
        msg = (
            f"{folder.name} is not one series: expected a folder of one DICOM series, got {len(series)}"
            f"{f' of {counts} files' if counts else ''}. Keep each series in its own folder; pass pictures as a list."
        )
        raise ValueError(msg)
    files = tuple(*series.values())
    if len(files) > 1 and not any(header_of(file).get("ImagePositionPatient") for file in files):
        msg = (
            f"{folder.name} is no volume: expected slices with positions, got {len(files)} images without. "
            "Pass the files one by one."
        )
        raise ValueError(msg)
    return Source(files, SERIES)


def has_mark(path: Path) -> bool:
    """Whether a file begins as DICOM does; a DICOMDIR, which holds no pixels, is none."""
    if path.name == "DICOMDIR" or path.name.startswith(".") or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(PREAMBLE_BYTES + len(MARK))[PREAMBLE_BYTES:] == MARK


def states_label(path: Path) -> bool:
    """Whether a DICOM file states in its first bytes that it is a DICOM-SEG or RTSTRUCT; nothing is parsed."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        found = OBJECT_CLASS.search(file.read(META_BYTES))
    return found is not None and found[1] in LABEL_CLASSES


@functools.lru_cache(maxsize=MOST_HEADERS)
def _parsed(pydicom: Any, path: Path, _changed_ns: int, _size_bytes: int) -> Any:
    header = pydicom.dcmread(path, defer_size=DEFERRED_BYTES, force=not has_mark(path))
    if "SOPClassUID" not in header:
        msg = "expected a DICOM file, got neither its mark nor the class of an object"
        raise ValueError(msg)
    if "TransferSyntaxUID" not in header.file_meta:  # of a file without preamble, as old archives hold them
        implicit, _ = header.original_encoding
        uid = pydicom.uid
        header.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
    return header


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


def _film(path: Path, header: Any) -> Shaped[np.ndarray, "frames rows columns *colours"]:
    frames, colours = int(number(header, "NumberOfFrames", 1)), int(number(header, "SamplesPerPixel", 1))
    if "SharedFunctionalGroupsSequence" in header:
        msg = (
            f"{path.name} is an enhanced DICOM file: expected a file per slice, got {frames} frames. "
            "Convert it to NIfTI, for instance with dcm2niix."
        )
        raise ValueError(msg)
    with readable(path):
        check_header((frames, header.Rows, header.Columns * colours), np.dtype(np.uint16))
        (pixels,) = values_of([header])
        has_colours = pixels.shape[-1] == 3 and pixels.ndim > 2 + (frames > 1)
        return pixels.reshape(frames, header.Rows, header.Columns, *((3,) if has_colours else ()))
