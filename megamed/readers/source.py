"""One image or label of a case, wherever it lies: from its file or files to one array."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Real, UInt8

from megamed.readers import image as pictures
from megamed.readers.volume import Volume, stack

VOLUME_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
ARRAY_SUFFIXES = (".npy", ".npz")
SERIES = "series"


@dataclass(frozen=True)
class Source:
    """Where an image or a label lies."""

    files: tuple[Path, ...]
    """One file, or all of a DICOM series; a label drawn on a series has its file before these."""
    part: str = ""
    """A colour or the number of a channel; of an npz file the array, as `arrays.read_array` names it; `SERIES`."""

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return self.files[0].name


def read_image(source: Source) -> Real[np.ndarray, "H W"] | Volume:
    """Read a picture as one grey channel, or a volume.

    Raises:
        ValueError: If it cannot be decoded or is too large.
        ImportError: If the library for its format is not installed.
    """
    path = source.files[0]
    if source.part == SERIES or path.suffix == ".dcm":
        from megamed.readers.dicom import read_series

        return read_series(source.files)
    if path.name.endswith(VOLUME_SUFFIXES):
        return _read_volume(path, source.part)
    if path.suffix in ARRAY_SUFFIXES:
        array = _array(source)
        return pictures.luminance(array) if array.ndim == 3 else array
    return stack(pictures.read_pages(path)) if pictures.is_stack(path) else pictures.read_image(path, source.part)


def read_label(source: Source) -> Real[np.ndarray, "H W"] | Volume:
    """Read a label map, or a volume of labels.

    Raises:
        ValueError: If it cannot be decoded, is too large or has colours.
        ImportError: If the library for its format is not installed.
    """
    path = source.files[0]
    if path.name.endswith(VOLUME_SUFFIXES):
        return _read_volume(path, source.part)
    if path.suffix in ARRAY_SUFFIXES:
        return _array(source)
    return stack(pictures.read_pages(path)) if pictures.is_stack(path) else pictures.read_label(path)


def read_colours(source: Source) -> UInt8[np.ndarray, "H W 3"]:
    """Read a label drawn in colours.

    Raises:
        ValueError: If it cannot be decoded or is too large.
    """
    return pictures.read_colours(source.files[0])


def _read_volume(path: Path, part: str) -> Volume:
    if path.suffix in (".nrrd", ".nhdr"):
        from megamed.readers import nrrd

        return nrrd.read_volume(path)
    if path.suffix in (".mha", ".mhd"):
        from megamed.readers import metaimage

        return metaimage.read_volume(path)
    from megamed.readers import nifti

    return nifti.read_volume(path, part)


def _array(source: Source) -> Real[np.ndarray, "..."]:
    """Read an array that is a picture, grey or with its colours last; a file of it holds one array."""
    from megamed.readers.arrays import array_shapes, read_array

    path, part = source.files[0], source.part
    if path.suffix == ".npz" and not part:
        names = list(array_shapes(path))
        if len(names) != 1:
            msg = f"{path.name} is ambiguous: expected one array, got {names}."
            raise ValueError(msg)
        part = names[0]
    array = read_array(path, part)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 and (array.shape[2:], array.dtype) != ((3,), np.uint8):
        msg = f"{path.name} is no picture: expected (H, W), or (H, W, 3) of uint8, got {array.shape} of {array.dtype}."
        raise ValueError(msg)
    return array.astype(np.uint8) if array.dtype == bool else array
