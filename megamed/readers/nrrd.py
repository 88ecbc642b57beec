"""Read an NRRD volume through pynrrd, and write a mask with what the header of its image says of space."""

import io
import math
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Float, Real, Shaped

from megamed.readers.data_files import data_file
from megamed.readers.faults import check_expansion, needs, one_error
from megamed.readers.lengths import mm_per
from megamed.readers.packed import Packing, unpacked
from megamed.readers.source import Source
from megamed.readers.stored import Geometry, MaskImage, StoredImage
from megamed.readers.vector_pixels import one_pixel
from megamed.readers.volume import LPS_TO_RAS, check_header, usable_orientations

PACKINGS: dict[str, Packing] = {"gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
MOST_SKIPPED = 2**16
"""Most bytes before voxels that are said to come last."""
TOWARDS_RAS = {"right": 1, "left": -1, "anterior": 1, "posterior": -1, "superior": 1, "inferior": -1}
LPS = "left-posterior-superior"
SIDELESS = frozenset({"scanner-xyz", "3d-right-handed", "3d-left-handed"})
"""Spaces that name no sides of the patient; ITK, and what is built on it, takes their axes as they are for LPS."""
SPACE_KINDS = frozenset({"domain", "space", "???", "none", "unknown"})
"""Kinds of axes along which pixels lie, or of which nothing is known; along others, the values of a pixel lie."""
COLOUR_KINDS = frozenset({"rgb-color", "rgba-color"})
AXIS_KEYS = frozenset(
    {"sizes", "kinds", "space directions", "spacings", "thicknesses", "axis mins", "axismins", "axis maxs", "axismaxs"}
    | {"centers", "centerings", "labels", "units"}
)
"""Header fields with an entry for each axis."""
SHORT_SPACES = {"ras": "right-anterior-superior", "las": "left-anterior-superior", "lps": LPS}
STORAGE_KEYS = frozenset({"byte skip", "byteskip", "line skip", "lineskip", "data file", "datafile"})
"""Header fields that tell where the values of an image begin."""
DATA_KEYS = frozenset(
    {"type", "endian", "encoding", *STORAGE_KEYS}
    | {"min", "max", "old min", "oldmin", "old max", "oldmax", "sample units", "sampleunits", "block size"}
)
"""Header fields on the values of an image and their storage, which do not hold for a mask on the same grid."""


def read(source: Source, most_pixels: int) -> StoredImage:
    """Read a volume; a plane is one of one slice, and a space that the header does not name is taken for RAS.

    Of pixels of several values, colours stay together, of others the one whose index `part` gives is taken.

    Raises:
        ValueError: If the file cannot be decoded, is too large, has other axes or points elsewhere.
        ImportError: If pynrrd is not installed.
    """
    (path,) = source.files
    header, array = load(path, layers=False)
    affine = affine_of(header)
    with one_error(path, ValueError):
        usable_orientations(affine)
    vector_axis = vector_axis_of(header)
    values = array if vector_axis is None else np.moveaxis(array, vector_axis, -1)
    is_plane = values.ndim - (vector_axis is not None) == 2  # which no space has
    values = np.expand_dims(values, axis=2) if is_plane else values
    notes = () if is_plane else _assumptions(header)
    others = (LPS_TO_RAS @ affine,) if notes else ()  # of a label whose writer took the other space
    is_placed = any(header.get(each) is not None for each in ("space", "space directions", "space origin"))
    place = Geometry(affine, header=header, other_affines=others, is_placed=is_placed)
    stored = StoredImage(values, "XYZ", place, notes=notes)
    if vector_axis is None:
        return stored
    with one_error(path, ValueError):
        return one_pixel(stored, source.part, header["kinds"][vector_axis].lower() in COLOUR_KINDS)


def vector_axis_of(header: Mapping[str, Any]) -> int | None:
    """Return the axis along which the values of a pixel lie, by its kind or for it has no direction; None without."""
    kinds = [str(kind).lower() for kind in header.get("kinds") or ()]
    directions = np.asarray(header.get("space directions", ()), float)
    bare = [axis for axis, row in enumerate(directions) if not np.isfinite(row).all()]
    named = [axis for axis, kind in enumerate(kinds) if kind not in SPACE_KINDS]
    found = bare or named
    return found[0] if len(found) == 1 and len(header.get("sizes", ())) > 2 else None


def without_axis(header: Mapping[str, Any], axis: int | None) -> dict[str, Any]:
    """Return a header of pixels of one value, without the axis along which those of each pixel lay."""
    if axis is None:
        return dict(header)
    count = len(header["sizes"])
    left = [index for index in range(count) if index != axis]
    return {
        key: [value[index] for index in left] if key in AXIS_KEYS and len(value) == count else value
        for key, value in header.items()
    }


def _assumptions(header: Mapping[str, Any]) -> tuple[str, ...]:
    """Say what is taken for granted where a header names no sides of the patient."""
    if "space" not in header:
        return ("the header names no space: taken for right-anterior-superior",)
    space = str(header["space"]).lower()
    return (f"space {space!r} names no sides: taken for left-posterior-superior",) if space in SIDELESS else ()


def load(path: Path, layers: bool) -> tuple[dict[str, Any], Real[np.ndarray, "..."]]:
    """Read header and voxels, having checked that they fit into memory and that the space is known.

    Args:
        path: A file with its data, or the header of data in the same folder.
        layers: Whether there may be an axis before those of space.

    Raises:
        ValueError: If the file cannot be decoded, is too large, has other axes or points elsewhere.
        ImportError: If pynrrd is not installed.
    """
    with _decoding(path) as nrrd, path.open("rb") as file:
        header = _parsed(nrrd, file)
        sizes = tuple(map(int, header["sizes"]))
        dtype = np.dtype(nrrd.reader._determine_datatype(header))
        if layers:
            space = (math.prod(sizes[:-2]), *sizes[-2:]) if len(sizes) == 4 else sizes
        else:
            space = tuple(side for axis, side in enumerate(sizes) if axis != vector_axis_of(header))
            space = (*space, 1) if len(space) == 2 else space
        check_header(space, dtype)
        key = "datafile" if "datafile" in header else "data file"
        detached = str(header.get(key, path.name))
        data, start = (path, file.tell()) if detached == path.name else (data_file(path, detached), 0)
        header |= {key: data.name} if start == 0 else {}
        packing = PACKINGS.get(header.get("encoding", "raw"))
        if packing != "bzip2":  # which has no largest ratio
            check_expansion(data, math.prod(sizes) * dtype.itemsize)
        affine_of(header)
        if packing is None:
            return header, nrrd.read_data(header, file, str(path))
        content = _unpacked(data, start, packing, header, math.prod(sizes) * dtype.itemsize)
        bare = {key: value for key, value in header.items() if key not in STORAGE_KEYS}
        return header, nrrd.read_data({**bare, "encoding": "raw"}, io.BytesIO(content))


def _unpacked(path: Path, start: int, packing: Packing, header: Mapping[str, Any], declared_bytes: int) -> bytes:
    """Unpack the voxels that a header declares; a byte skip of -1 means that they come last."""
    lines, skipped = (int(header.get(f"{key} skip", header.get(f"{key}skip", 0))) for key in ("line", "byte"))
    with path.open("rb") as file:
        file.seek(start)
        for _ in range(lines):
            file.readline()
        most_bytes = declared_bytes + (skipped if skipped >= 0 else MOST_SKIPPED)
        content = b"".join(unpacked(file, packing, most_bytes))
    return content[skipped:] if skipped >= 0 else content[-declared_bytes:]


def read_header(path: Path) -> dict[str, Any]:
    """Read what a file says of its voxels.

    Raises:
        ValueError: If the header cannot be read.
        ImportError: If pynrrd is not installed.
    """
    with _decoding(path) as nrrd, path.open("rb") as file:
        return _parsed(nrrd, file)


def _parsed(nrrd: Any, file: IO[bytes]) -> dict[str, Any]:
    """Parse a header and stop where the voxels begin; pynrrd by itself drops all letters that are not ASCII."""
    lines: list[str] = []
    for line in iter(file.readline, b""):
        try:
            lines.append(line.decode())
        except UnicodeDecodeError:
            lines.append(line.decode("latin-1"))
        if not line.strip():
            break
    return dict(nrrd.read_header(iter(lines)))


@contextmanager
def _decoding(path: Path) -> Iterator[Any]:
    """Import pynrrd, and turn its errors into one that names the file."""
    with needs("pynrrd", "NRRD"):
        import nrrd
    errors = (OSError, EOFError, ValueError, KeyError, IndexError, TypeError, StopIteration, zlib.error)
    with one_error(path, *errors, nrrd.NRRDError):
        yield nrrd


def write(mask: MaskImage, suffix: str) -> bytes:
    """Return an NRRD file with what the header of the mask's image says of space, or else with its affine."""
    if isinstance(mask.geometry.header, Mapping):
        header = {key: value for key, value in mask.geometry.header.items() if key not in DATA_KEYS}
        header = without_axis(header, vector_axis_of(header))
        array = mask.array.reshape(header.get("sizes", mask.array.shape))
    else:
        array = mask.array
        affine = LPS_TO_RAS @ mask.affine  # its own inverse
        header = {
            "space": LPS,
            "space directions": affine[:3, :3].T,
            "space origin": affine[:3, 3],
            "kinds": ["domain"] * 3,
        }
    return encoded(array, header)


def encoded(array: Shaped[np.ndarray, "..."], header: Mapping[str, Any]) -> bytes:
    """Return a file, whose header may hold texts in any script: pynrrd writes ASCII, so they are put in afterwards.

    Raises:
        ImportError: If pynrrd is not installed.
    """
    with needs("pynrrd", "NRRD", "Writing"):
        import nrrd
    texts = {key: value for key, value in header.items() if isinstance(value, str) and not value.isascii()}
    content = io.BytesIO()
    nrrd.write(content, array, {**header, **dict.fromkeys(texts, "text")})
    head, end, voxels = content.getvalue().partition(b"\n\n")
    for key, text in texts.items():
        head = head.replace(f"\n{key}:=text".encode(), f"\n{key}:={text}".encode())
    return head + end + voxels


def affine_of(header: Mapping[str, Any]) -> Float[np.ndarray, "4 4"]:
    """Build the affine from the directions and the origin, turned to the right, the front and the head.

    Raises:
        ValueError: If the space is no anatomical one.
    """
    affine = np.eye(4)
    if header.get("space directions") is not None:
        directions = np.asarray(header["space directions"], float)
        # an axis of layers has no direction
        directions = directions[np.isfinite(directions).all(axis=1)]
        axes, space_axes = directions.shape
        affine[:space_axes, :axes] = directions.T
    else:
        np.fill_diagonal(affine[:3, :3], [*_spacings(header), 1.0, 1.0, 1.0][:3])
    origin = header.get("space origin", [0.0, 0.0, 0.0])
    affine[: len(origin), 3] = origin
    # the planes that ITK writes have its axes, and no room to say so
    sides = len(header.get("sizes", ())) - (vector_axis_of(header) is not None)
    space = str(header.get("space", LPS if sides == 2 else "right-anterior-superior")).lower()
    space = LPS if space in SIDELESS else space
    signs = [TOWARDS_RAS.get(part) for part in SHORT_SPACES.get(space, space).split("-")]
    if len(signs) != 3 or None in signs:
        msg = f"expected an anatomical space, got {space!r}"
        raise ValueError(msg)
    return np.diag([*(np.array([float(sign) for sign in signs if sign]) * _mm(header)), 1.0]) @ affine


def _spacings(header: Mapping[str, Any]) -> list[float]:
    """Return the distances along axes that have no direction: as stated, else by the ends of the axes."""
    ends = [header.get(f"axis {end}", header.get(f"axis{end}")) for end in ("mins", "maxs")]
    if header.get("spacings") is not None or any(end is None for end in ends):
        return [float(each) for each in header.get("spacings", ())]
    lengths = np.abs(np.subtract(ends[1], ends[0]).astype(float))
    centres = header.get("centerings", header.get("centers")) or ["cell"] * len(lengths)
    # pixels reach to the ends unless these are the centres of the first and the last
    steps = [side - (centre == "node") for side, centre in zip(header["sizes"], centres, strict=False)]
    found = lengths[: len(steps)] / np.maximum(steps, 1)
    return np.where(np.isfinite(found) & (found > 0), found, 1.0).tolist()


def _mm(header: Mapping[str, Any]) -> Float[np.ndarray, "3"]:
    """Return the millimetres of the unit of each axis of space; without a unit, lengths are in millimetres."""
    units = header.get("space units", header.get("units", ["mm"] * 3))
    return np.array([mm_per(str(unit)) or 1.0 for unit in (*units, "mm", "mm", "mm")[:3]])
