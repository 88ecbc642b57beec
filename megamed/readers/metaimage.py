"""Read and write MetaImage volumes; our own reader, since SimpleITK hangs on damaged files."""

import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from megamed.readers.data_files import data_files
from megamed.readers.faults import check_expansion, one_error
from megamed.readers.lengths import mm_per
from megamed.readers.source import Source
from megamed.readers.stored import Geometry, MaskImage, StoredImage
from megamed.readers.vector_pixels import one_pixel
from megamed.readers.volume import LPS_TO_RAS, check_header, usable_orientations

HEADER_BYTES = 2**16
DATA_KEY = b"ElementDataFile"
TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}


@dataclass(frozen=True)
class Sides:
    """Extents of the axes that the header of a file states; a mask has as many axes."""

    sides: tuple[int, ...]


def read(source: Source, most_pixels: int) -> StoredImage:
    """Read a volume; a plane is a volume of one slice. Of pixels of several values, see `vector_pixels.one_pixel`.

    Raises:
        ValueError: If the file cannot be decoded, is too large, has other axes or points elsewhere.
        ImportError: If nibabel is not installed.
    """
    (path,) = source.files
    with one_error(path, ValueError, OSError, KeyError, zlib.error):
        header, data_start = _header(path)
        sides = tuple(int(side) for side in header["DimSize"].split())
        shape = (*sides, 1) if len(sides) == 2 else sides
        dtype = np.dtype((">" if _is_set(header, "ElementByteOrderMSB") else "<") + TYPES[header["ElementType"]])
        check_header(shape, dtype)
        count = int(header.get("ElementNumberOfChannels", "1"))
        content = _content(path, header, data_start, count * math.prod(shape) * dtype.itemsize)
        values = np.frombuffer(content, dtype, count * math.prod(shape)).astype(dtype.newbyteorder("="))
        array = np.moveaxis(values.reshape((count, *shape), order="F"), 0, -1)
        affine = LPS_TO_RAS @ _affine(header, len(sides))
        usable_orientations(affine)
        return one_pixel(StoredImage(array, "XYZ", Geometry(affine, header=Sides(sides))), source.part)


def write(mask: MaskImage, suffix: str) -> bytes:
    """Return a MetaImage file, its data after the header; a plane again as a plane."""
    affine = LPS_TO_RAS @ mask.affine  # its own inverse
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    sides = mask.geometry.header.sides if isinstance(mask.geometry.header, Sides) else mask.array.shape
    axes = len(sides)
    data = zlib.compress(mask.array.tobytes(order="F"))
    header = {
        "ObjectType": "Image",
        "NDims": str(axes),
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True",
        "CompressedDataSize": str(len(data)),
        "TransformMatrix": _spaced((affine[:3, :3] / spacing_mm)[:axes, :axes].T),
        "Offset": _spaced(affine[:axes, 3]),
        "CenterOfRotation": " ".join("0" * axes),
        "ElementSpacing": _spaced(spacing_mm[:axes]),
        "DimSize": " ".join(map(str, sides)),
        "ElementType": "MET_UCHAR" if mask.array.dtype == np.uint8 else "MET_USHORT",
        "ElementDataFile": "LOCAL",
    }
    return "".join(f"{key} = {value}\n" for key, value in header.items()).encode() + data


def _header(path: Path) -> tuple[dict[str, str], int]:
    """Read the lines `key = value` up to the one that names the data, and where the data would begin after it."""
    with path.open("rb") as file:
        text = file.read(HEADER_BYTES)
    header, start = {}, 0
    for line in text.splitlines(keepends=True):
        start += len(line)
        key, _, value = line.partition(b"=")
        header[key.strip().decode("latin-1")] = value.strip().decode("latin-1")
        if key.strip() == DATA_KEY:
            _check_supported(header)
            return header, start
    msg = "expected the header of a MetaImage, got none"
    raise ValueError(msg)


def _content(path: Path, header: dict[str, str], data_start: int, size_bytes: int) -> bytes:
    """Read the data of all files that hold an equal part of it each."""
    name = header[DATA_KEY.decode()]
    is_local = name.upper() == "LOCAL"
    with path.open("rb") as file:
        file.seek(data_start)
        after = "" if is_local else file.read(HEADER_BYTES).decode("utf-8", "replace")
    files = [path] if is_local else data_files(path, name, after.splitlines())
    part_bytes, rest = divmod(size_bytes, len(files))
    if rest:
        msg = f"expected files with equal parts of {size_bytes} bytes, got {len(files)}"
        raise ValueError(msg)
    start = data_start if is_local else 0
    return b"".join(_part(each, header, start, part_bytes) for each in files)


def _part(data: Path, header: dict[str, str], start: int, size_bytes: int) -> bytes:
    """Read the data of one file, unpacked."""
    check_expansion(data, size_bytes)
    with data.open("rb") as file:
        file.seek(_start(header, start, data, size_bytes))
        content = file.read()
    if _is_set(header, "CompressedData"):
        content = zlib.decompressobj().decompress(content, size_bytes)
    if len(content) < size_bytes:
        msg = f"expected {size_bytes} bytes, got {len(content)}"
        raise ValueError(msg)
    return content[:size_bytes]


def _check_supported(header: dict[str, str]) -> None:
    """Refuse what MetaImage allows but hardly anyone writes."""
    header.setdefault("ElementByteOrderMSB", header.get("BinaryDataByteOrderMSB", "False"))
    if not _is_set(header | {"BinaryData": header.get("BinaryData", "True")}, "BinaryData"):
        msg = f"expected BinaryData = True, got {header['BinaryData']}"
        raise ValueError(msg)


def _start(header: dict[str, str], after_header: int, data: Path, size_bytes: int) -> int:
    """Return where the data begin, before which others may stand; a size of -1 means that they come last."""
    skipped = int(header.get("HeaderSize", "0"))
    return after_header + skipped if skipped >= 0 else max(data.stat().st_size - size_bytes, 0)


def _is_set(header: dict[str, str], key: str) -> bool:
    return header.get(key, "False").lower() == "true"


def _affine(header: dict[str, str], axes: int) -> Float[np.ndarray, "4 4"]:
    """Build the affine towards left, back and head; each line of the matrix is the direction of an axis."""
    affine = np.eye(4)
    matrix = _numbers(header, ("TransformMatrix", "Rotation", "Orientation"), np.eye(axes))
    spacing = _numbers(header, ("ElementSpacing", "ElementSize"), np.ones(axes))
    affine[:axes, :axes] = matrix.T * spacing
    affine[:axes, 3] = _numbers(header, ("Offset", "Position", "Origin"), np.zeros(axes))
    affine[:3] *= mm_per(header.get("DistanceUnits", "mm")) or 1.0
    return affine


def _numbers(
    header: dict[str, str], keys: tuple[str, ...], usual: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """Read the numbers that stand under one of some keys, as many as are usual."""
    text = next((header[key] for key in keys if key in header), None)
    return usual if text is None else np.reshape([float(each) for each in text.split()], usual.shape)


def _spaced(values: Float[np.ndarray, "..."]) -> str:
    return " ".join(f"{value:.17g}" for value in values.ravel())
