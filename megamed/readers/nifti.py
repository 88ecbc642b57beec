"""Read a NIfTI volume through nibabel, turned to RAS axes."""

import math
import zlib
from pathlib import Path

import numpy as np

from megamed.readers.faults import check_expansion, needs, one_error
from megamed.readers.volume import Volume, check_header


def read_volume(path: Path, channel: str = "") -> Volume:
    """Read a volume and reorient it, by flips and swaps of axes only.

    Args:
        path: A file of three axes, or of four with the channels last.
        channel: Number of the channel to read.

    Raises:
        ValueError: If the file cannot be decoded, is too large, is not three-dimensional or lacks the channel.
        ImportError: If nibabel is not installed.
    """
    with needs("nibabel", "NIfTI"):
        import nibabel
        from nibabel.filebasedimages import ImageFileError
        from nibabel.orientations import OrientationError
        from nibabel.spatialimages import HeaderDataError
        from nibabel.wrapstruct import WrapStructError
    errors = (OSError, EOFError, ValueError, OverflowError, zlib.error, ImageFileError, HeaderDataError)
    with one_error(path, *errors, OrientationError, WrapStructError):
        image = nibabel.Nifti1Image.from_filename(path)
        if channel and image.ndim == 4:
            if int(channel) >= image.shape[3]:
                msg = f"expected channel {channel}, got {image.shape[3]} channels"
                raise ValueError(msg)
            check_header(image.shape[:3], image.get_data_dtype())
            image = image.slicer[..., int(channel)]
        check_header(image.shape, image.get_data_dtype())
        check_expansion(path, math.prod(image.shape) * image.get_data_dtype().itemsize)
        canonical = nibabel.as_closest_canonical(image)
        array = np.asanyarray(canonical.dataobj)
    x, y, z = (float(size) for size in canonical.header.get_zooms())
    return Volume(array, (x, y, z), canonical.affine)
