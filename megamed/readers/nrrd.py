"""Read an NRRD volume through pynrrd, and write a mask with what the header of its image says of space."""

import io
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from megamed.readers.faults import needs, one_error
from megamed.readers.lengths import mm_per
from megamed.readers.source import Source
from megamed.readers.stored import Geometry, MaskImage, StoredImage
from megamed.readers.volume import LPS_TO_RAS, check_header, usable_orientations

TOWARDS_RAS = {"right": 1, "left": -1, "anterior": 1, "posterior": -1, "superior": 1, "inferior": -1}
SHORT_SPACES = {"ras": "right-anterior-superior", "las": "left-anterior-superior", "lps": "left-posterior-superior"}
DATA_KEYS = frozenset(
    {"type", "endian", "encoding", "byte skip", "byteskip", "line skip", "lineskip", "data file", "datafile"}
    | {"min", "max", "old min", "oldmin", "old max", "oldmax", "sample units", "sampleunits", "block size"}
)
"""Header fields on the values of an image and their storage, which do not hold for a mask on the same grid."""


def read(source: Source, most_pixels: int) -> StoredImage:
    """Read a volume; a space that the header does not name is taken for RAS.

    Raises:
        ValueError: If the file cannot be decoded, is too large, is not three-dimensional or points elsewhere.
        ImportError: If pynrrd is not installed.
    """
    (path,) = source.files
    with needs("pynrrd", "NRRD"):
        import nrrd
    errors = (OSError, EOFError, ValueError, KeyError, IndexError, TypeError, StopIteration, zlib.error)
    with one_error(path, *errors, nrrd.NRRDError), path.open("rb") as file:
        header = nrrd.read_header(file)
        check_header(tuple(map(int, header["sizes"])), np.dtype(nrrd.reader._determine_datatype(header)))
        detached = header.get("data file", header.get("datafile", path.name))
        if Path(detached).name != detached:
            msg = f"expected its data in the same folder, got {detached!r}"
            raise ValueError(msg)
        affine = _affine(header)
        usable_orientations(affine)
        array = nrrd.read_data(header, file, str(path))
    notes = () if "space" in header else ("the header names no space: taken for right-anterior-superior",)
    return StoredImage(array, "XYZ", Geometry(affine, header=header), notes=notes)


def write(mask: MaskImage, suffix: str) -> bytes:
    """Return an NRRD file with what the header of the mask's image says of space, or else with its affine."""
    with needs("pynrrd", "NRRD", "Writing"):
        import nrrd
    if isinstance(mask.geometry.header, Mapping):
        header = {key: value for key, value in mask.geometry.header.items() if key not in DATA_KEYS}
    else:
        affine = LPS_TO_RAS @ mask.affine  # its own inverse
        header = {
            "space": "left-posterior-superior",
            "space directions": affine[:3, :3].T,
            "space origin": affine[:3, 3],
            "kinds": ["domain"] * 3,
        }
    content = io.BytesIO()
    nrrd.write(content, mask.array, header)
    return content.getvalue()


def _affine(header: dict) -> Float[np.ndarray, "4 4"]:
    """Build the affine from the directions and the origin, turned to the right, the front and the head."""
    affine = np.eye(4)
    if "space directions" in header:
        affine[:3, :3] = np.asarray(header["space directions"], dtype=float).T
    else:
        np.fill_diagonal(affine[:3, :3], header.get("spacings", [1.0, 1.0, 1.0]))
    affine[:3, 3] = header.get("space origin", [0.0, 0.0, 0.0])
    space = header.get("space", "right-anterior-superior").lower()
    signs = [TOWARDS_RAS.get(part) for part in SHORT_SPACES.get(space, space).split("-")]
    if len(signs) != 3 or None in signs:
        msg = f"expected an anatomical space, got {space!r}"
        raise ValueError(msg)
    return np.diag([*(np.array(signs) * _mm(header)), 1.0]) @ affine


def _mm(header: dict) -> Float[np.ndarray, "3"]:
    """Return the millimetres of the unit of each axis of space; without a unit, lengths are in millimetres."""
    units = header.get("space units", header.get("units", ["mm"] * 3))
    return np.array([mm_per(str(unit)) or 1.0 for unit in (*units, "mm", "mm", "mm")[:3]])
