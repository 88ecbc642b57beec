"""Read a NIfTI volume through nibabel, and write a mask with the header of its image."""

import gzip
import math
import zlib
from typing import Any

import numpy as np

from megamed.readers.faults import check_expansion, needs, one_error
from megamed.readers.source import Source
from megamed.readers.stored import Geometry, MaskImage, StoredImage
from megamed.readers.volume import check_header, usable_orientations


def read(source: Source, most_pixels: int) -> StoredImage:
    """Read a volume; of several along a fourth axis, the one whose index `part` gives.

    Raises:
        ValueError: If the file cannot be decoded, is too large, is not three-dimensional or lacks the channel.
        ImportError: If nibabel is not installed.
    """
    (path,) = source.files
    with needs("nibabel", "NIfTI"):
        import nibabel
        from nibabel.filebasedimages import ImageFileError
        from nibabel.orientations import OrientationError
        from nibabel.spatialimages import HeaderDataError
        from nibabel.wrapstruct import WrapStructError
    errors = (OSError, EOFError, ValueError, OverflowError, zlib.error, ImageFileError, HeaderDataError)
    with one_error(path, *errors, OrientationError, WrapStructError):
        image = nibabel.Nifti1Image.from_filename(path)
        check_header(image.shape[:3], image.get_data_dtype())
        if source.part and image.ndim == 4:
            image = _volume_of(image, int(source.part))
        if image.shape[3:] not in ((), (1,)):
            msg = (
                f"it holds {math.prod(image.shape[3:])} volumes: expected one, got shape {image.shape}. "
                "Save one of them: nibabel.load(path).slicer[..., 0]"
            )
            raise ValueError(msg)
        check_expansion(path, math.prod(image.shape) * image.get_data_dtype().itemsize)
        usable_orientations(image.affine)
        spacing = tuple(float(size) for size in image.header.get_zooms()[:3])
        geometry = Geometry(image.affine, spacing, header=image.header)
        return StoredImage(np.asanyarray(image.dataobj), "XYZT"[: image.ndim], geometry)


def write(mask: MaskImage, suffix: str) -> bytes:
    """Return a NIfTI file with the header of the mask's image, or else with its affine.

    A mask of a DICOM series is stored as converters store the series: columns, rows, slices.
    """
    with needs("nibabel", "NIfTI", "Writing"):
        import nibabel
    header = mask.geometry.header
    if isinstance(header, nibabel.Nifti1Header):
        header = header.copy()
        header["cal_min"], header["cal_max"] = 0, 0
        image = nibabel.Nifti1Image(mask.array.reshape(header.get_data_shape()), None, header)
    elif mask.geometry.files:
        image = nibabel.Nifti1Image(mask.array.transpose(), mask.affine[:, [2, 1, 0, 3]])
    else:
        image = nibabel.Nifti1Image(mask.array, mask.affine)
    image.set_data_dtype(np.uint8)
    image.header.set_slope_inter(1, 0)
    content = image.to_bytes()
    return gzip.compress(content, mtime=0) if suffix == ".nii.gz" else content


def _volume_of(image: Any, index: int) -> Any:
    if index >= image.shape[3]:
        msg = f"expected channel {index}, got {image.shape[3]} channels"
        raise ValueError(msg)
    return image.slicer[..., index]
