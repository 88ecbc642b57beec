"""Read a NIfTI volume through nibabel, turned to RAS axes."""

import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Real

MAX_VOXELS = 2**30


@dataclass(frozen=True)
class Volume:
    """A volume whose axes run to the patient's right, front and head."""

    array: Real[np.ndarray, "X Y Z"]
    spacing_mm: tuple[float, float, float]
    affine: Float[np.ndarray, "4 4"]


def read_volume(path: Path) -> Volume:
    """Read a volume and reorient it, by flips and swaps of axes only.

    Raises:
        ValueError: If the file cannot be decoded, is too large or is not three-dimensional.
        ImportError: If nibabel is not installed.
    """
    try:
        import nibabel
        from nibabel.filebasedimages import ImageFileError
        from nibabel.spatialimages import HeaderDataError
        from nibabel.wrapstruct import WrapStructError
    except ImportError as error:
        msg = 'Reading NIfTI needs nibabel: `pip install "incontext-seg[medical]"`.'
        raise ImportError(msg) from error
    try:
        image = nibabel.Nifti1Image.from_filename(path)
        _check_header(image.shape, image.get_data_dtype())
        canonical = nibabel.as_closest_canonical(image)
        array = np.asanyarray(canonical.dataobj)
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError, WrapStructError) as error:
        msg = f"{path.name} cannot be read: {error}."
        raise ValueError(msg) from error
    x, y, z = (float(size) for size in canonical.header.get_zooms())
    return Volume(array, (x, y, z), canonical.affine)


def _check_header(shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Refuse what is no volume of numbers, before decoding it."""
    if len(shape) != 3 or not 0 < math.prod(shape) <= MAX_VOXELS:
        msg = f"expected three axes and at most {MAX_VOXELS} voxels, got {shape}"
        raise ValueError(msg)
    if dtype.kind not in "iuf":
        msg = f"expected real numbers, got {dtype}"
        raise ValueError(msg)
