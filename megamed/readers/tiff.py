"""Read TIFF files through tifffile, their values as they are stored, and write masks as pages."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

from megamed.readers import picture
from megamed.readers.faults import one_error
from megamed.readers.orientation_tag import TAG, turned_upright
from megamed.readers.source import Source
from megamed.readers.stored import MaskImage, StoredImage

LOSSY = frozenset({6, 7, 34892, 33003, 33005})
"""Compression tags of JPEG, and of JPEG 2000 as slide scanners use it."""
PLAIN = frozenset({0, 1, 2, 3})
"""Photometric tags: white is zero, black is zero, RGB and palette."""
YCBCR, JPEG, PALETTE = 6, 7, 3


def read(source: Source, most_pixels: int) -> StoredImage:
    """Read a page as a picture, several as planes; reduced copies of the first page are left out.

    Where white is zero, values stay as they are stored: they say the same, and a label's must not change. Of a file
    with channels that are no colours, the one whose index `part` gives is read.

    Raises:
        ValueError: If the file cannot be decoded, is larger than `most_pixels`, has pages of several sizes, or channels
            of which none is chosen.
    """
    (path,) = source.files
    try:
        import tifffile
    except ImportError:
        return _through_pillow(source, most_pixels)
    errors = (*picture.UNREADABLE, AttributeError, RuntimeError, tifffile.TiffFileError)
    with one_error(path, *errors), tifffile.TiffFile(path) as file:
        series = _whole_series(file)
        if (count := int(np.prod(series.shape))) > most_pixels * max(series.keyframe.samplesperpixel, 1):
            msg = f"expected at most {most_pixels} pixels, got {count} values"
            raise ValueError(msg)
        page = series.keyframe
        # tifffile turns YCbCr to RGB within JPEG only; Pillow knows this and the other spaces of colour
        is_plain = page.photometric in PLAIN or (page.photometric, page.compression) == (YCBCR, JPEG)
        stored = _decoded(series, source.part) if is_plain else None
    return _through_pillow(source, most_pixels) if stored is None else stored


def write(mask: MaskImage, suffix: str) -> bytes:
    """Return the planes of a mask as pages."""
    first, *others = [Image.fromarray(np.ascontiguousarray(plane)) for plane in mask.array]
    content = io.BytesIO()
    first.save(content, "TIFF", save_all=True, append_images=others, compression="tiff_deflate")
    return content.getvalue()


def _through_pillow(source: Source, most_pixels: int) -> StoredImage:
    stored = picture.read(source, most_pixels)
    return replace(stored, axes=stored.axes.replace("T", "Z"))


def _whole_series(file: Any) -> Any:
    """Return the one series of pages at full resolution."""
    whole = [series for series in file.series if not series.keyframe.is_reduced] or [file.series[0]]
    if len(whole) > 1:
        sizes = sorted({series.keyframe.shape for series in whole})
        msg = f"it is no stack: expected frames of one size, got {sizes}. Save its frames as separate files"
        raise ValueError(msg)
    return whole[0]


def _decoded(series: Any, part: str) -> StoredImage | None:
    """Decode a series; None if its codec is not installed."""
    page = series.keyframe
    try:
        array, axes = series.asarray(), series.axes
    except ValueError as error:
        if "imagecodecs" in str(error):
            return None
        raise
    array = array.view(np.dtype(array.dtype.str))  # tifffile's own names of 64-bit types are unusual
    array, axes = _chosen(*_sorted(array, axes, page), part)
    orientation = page.tags.valueof(TAG, 1)
    array = turned_upright(array, orientation, axes.index("Y"))
    notes = (f"turned upright, as orientation tag {orientation} says",) if orientation > 1 else ()
    lossy = int(page.compression) in LOSSY
    palette = _palette(page) if page.photometric == PALETTE and array.dtype == np.uint8 else None
    return StoredImage(array, axes, palette=palette, is_lossy=lossy, notes=notes)


def _sorted(array: Shaped[np.ndarray, "..."], axes: str, page: Any) -> tuple[Shaped[np.ndarray, "..."], str]:
    """Bring axes into the order of planes, rows, columns and channels, and leave out those of length 1 and alpha."""
    if "S" in axes:
        kept = page.samplesperpixel - len(page.extrasamples) or page.samplesperpixel
        array = array.take(range(kept), axis=axes.index("S"))
    keep = [index for index, axis in enumerate(axes) if axis in "YX" or array.shape[index] > 1]
    array, axes = array.reshape([array.shape[index] for index in keep]), "".join(axes[index] for index in keep)
    planes = [index for index, axis in enumerate(axes) if axis not in "YXSC"]
    order = [*planes, axes.index("Y"), axes.index("X"), *(index for index, axis in enumerate(axes) if axis in "SC")]
    if len(planes) > 1 or len(order) - len(planes) > 3:
        msg = f"expected one axis of planes, got {axes} of {array.shape}. Save one volume or time point as its own file"
        raise ValueError(msg)
    return array.transpose(order), "Z" * len(planes) + "YX" + "".join(axis for axis in axes if axis in "SC")


def _chosen(array: Shaped[np.ndarray, "..."], axes: str, part: str) -> tuple[Shaped[np.ndarray, "..."], str]:
    """Take the chosen one of channels that are no colours."""
    if axes[-1] in "YX" or (axes[-1] == "S" and array.shape[-1] == 3):
        return array, axes.replace("S", "C")
    if not part.isdecimal() or int(part) >= array.shape[-1]:
        msg = (
            f"it holds {array.shape[-1]} channels: expected one, or the index of one, got {part or 'none'}. "
            "Save the channel to look at as a file of its own"
        )
        raise ValueError(msg)
    return array[..., int(part)], axes[:-1]


def _palette(page: Any) -> UInt8[np.ndarray, "256 3"]:
    colours = np.zeros((256, 3), np.uint8)
    stored = np.asarray(page.colormap).T >> 8
    colours[: len(stored)] = stored
    return colours
