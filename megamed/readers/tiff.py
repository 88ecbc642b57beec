"""Read the pages of a TIFF file, several through tifffile and one through Pillow, and write masks as pages."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from megamed.readers import picture
from megamed.readers.faults import one_error
from megamed.readers.source import Source
from megamed.readers.stored import MaskImage, StoredImage


def read(source: Source, most_pixels: int) -> StoredImage:
    """Read a page as a picture, several as planes.

    Raises:
        ValueError: If the file cannot be decoded, is larger than `most_pixels` or has pages of several sizes.
    """
    (path,) = source.files
    with one_error(path, *picture.UNREADABLE), Image.open(path) as opened:
        count = getattr(opened, "n_frames", 1)
    if count == 1:
        return picture.read(source, most_pixels)
    return _read_pages(path, most_pixels) or _as_planes(picture.read(source, most_pixels))


def write(mask: MaskImage, suffix: str) -> bytes:
    """Return the planes of a mask as pages."""
    first, *others = [Image.fromarray(np.ascontiguousarray(plane)) for plane in mask.array]
    content = io.BytesIO()
    first.save(content, "TIFF", save_all=True, append_images=others, compression="tiff_deflate")
    return content.getvalue()


def _as_planes(frames: StoredImage) -> StoredImage:
    return replace(frames, axes=frames.axes.replace("T", "Z"))


def _read_pages(path: Path, most_pixels: int) -> StoredImage | None:
    """Read grey pages of one size through tifffile; None where it is not installed or lacks their codec."""
    try:
        import tifffile
    except ImportError:
        return None
    with one_error(path, *picture.UNREADABLE, tifffile.TiffFileError), tifffile.TiffFile(path) as file:
        page, series = file.pages.first, file.series[0]
        if len(file.series) > 1 or page.samplesperpixel > 1 or page.photometric != tifffile.PHOTOMETRIC.MINISBLACK:
            return None
        if (count := int(np.prod(series.shape))) > most_pixels:
            msg = f"expected at most {most_pixels} pixels, got {count}"
            raise ValueError(msg)
        try:
            array = series.asarray()
        except ValueError as error:
            if "imagecodecs" in str(error):
                return None
            raise
        return StoredImage(array.reshape(-1, *series.shape[-2:]), "ZYX")
