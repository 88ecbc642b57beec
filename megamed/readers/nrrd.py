"""Read an NRRD volume through pynrrd, turned to RAS axes."""

import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Float

from megamed.readers.faults import needs, one_error
from megamed.readers.volume import Volume, canonical, check_header

TOWARDS_RAS = {"right": 1, "left": -1, "anterior": 1, "posterior": -1, "superior": 1, "inferior": -1}
SHORT_SPACES = {"ras": "right-anterior-superior", "las": "left-anterior-superior", "lps": "left-posterior-superior"}


def read_volume(path: Path) -> Volume:
    """Read a volume with its geometry; a space that the header does not name is taken for RAS.

    Raises:
        ValueError: If the file cannot be decoded, is too large, is not three-dimensional or points elsewhere.
        ImportError: If pynrrd is not installed.
    """
    with needs("pynrrd", "NRRD"):
        import nrrd
    errors = (OSError, EOFError, ValueError, KeyError, IndexError, TypeError, StopIteration, zlib.error)
    with one_error(path, *errors, nrrd.NRRDError):
        header = nrrd.read_header(str(path))
        check_header(tuple(map(int, header["sizes"])), np.dtype(nrrd.reader._determine_datatype(header)))
        detached = header.get("data file", header.get("datafile", path.name))
        if Path(detached).name != detached:
            msg = f"expected its data in the same folder, got {detached!r}"
            raise ValueError(msg)
        array, _ = nrrd.read(str(path))
        return canonical(array, _affine(header))


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
    return np.diag([*signs, 1.0]) @ affine
