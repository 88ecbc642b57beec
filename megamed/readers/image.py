"""Read a picture or a label map through Pillow, checking its size before decoding."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Integer, Real, UInt8
from PIL import Image

from megamed.readers.faults import needs, one_error
from megamed.readers.volume import check_header

MAX_PIXELS = 64 * 2**20
COLOUR_CHANNELS = ("red", "green", "blue")
LUMINANCE = "luminance"
TIFF_SUFFIXES = (".tif", ".tiff")
GREY_MODES = frozenset({"1", "L", "I", "I;16", "I;16L", "I;16B", "F"})
UNREADABLE = (
    *(OSError, SyntaxError, EOFError, ValueError, KeyError, IndexError, TypeError, struct.error, zlib.error),
    Image.DecompressionBombError,
)


def read_image(path: Path, channel: str = "") -> Real[np.ndarray, "H W"]:
    """Read a picture as one grey channel: colour becomes luminance, 16-bit and float stay as they are.

    Args:
        path: The picture.
        channel: `red`, `green` or `blue` to read this channel instead.

    Raises:
        ValueError: If the file cannot be decoded, is larger than `MAX_PIXELS` or has no such channel.
    """
    with _opened(path) as image:
        if channel not in ("", LUMINANCE):
            if channel not in COLOUR_CHANNELS or image.mode in GREY_MODES:
                expected = f"expected one of {COLOUR_CHANNELS} of a colour picture"
                msg = f"{expected}, got {channel!r} of mode {image.mode}"
                raise ValueError(msg)
            return np.asarray(image.convert("RGB").getchannel(COLOUR_CHANNELS.index(channel)))
        if image.mode not in GREY_MODES:
            image = image.convert("RGB").convert("L")
        return np.asarray(image.convert("L") if image.mode == "1" else image)


def read_colours(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """Read the colours of a picture.

    Raises:
        ValueError: If the file cannot be decoded or is too large.
    """
    with _opened(path) as image:
        return np.asarray(image.convert("RGB"))


def luminance(colours: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W"]:
    """Turn colours to grey as `read_image` does."""
    return np.asarray(Image.fromarray(colours).convert("L"))


def is_stack(path: Path) -> bool:
    """Whether a file holds several pages, so is a volume.

    Raises:
        ValueError: If the file cannot be decoded.
    """
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return False
    with one_error(path, *UNREADABLE), Image.open(path) as image:
        return getattr(image, "n_frames", 1) > 1


def read_pages(path: Path) -> Real[np.ndarray, "Z H W"]:
    """Read the pages of a TIFF file.

    Raises:
        ValueError: If the file cannot be decoded, is too large or holds more than a stack of grey pages.
        ImportError: If tifffile is not installed.
    """
    with needs("tifffile", "stacks of pages"):
        import tifffile
    with one_error(path, *UNREADABLE, tifffile.TiffFileError), tifffile.TiffFile(path) as file:
        series = file.series[0]
        check_header(series.shape, series.dtype)
        return series.asarray()


def read_label(path: Path) -> Integer[np.ndarray, "H W"]:
    """Read a label map; the values of a palette image are its indices.

    Raises:
        ValueError: If the file cannot be decoded, is too large, or has colour channels.
    """
    with _opened(path) as image:
        if image.mode not in GREY_MODES - {"F"} | {"P"}:
            msg = f"{path.name} is not a label map: expected one integer channel, got mode {image.mode}."
            raise ValueError(msg)
        label = np.asarray(image)
    return label.astype(np.uint8) if label.dtype == bool else label


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open and decode a file, turning the many errors of decoders into one."""
    with one_error(path, *UNREADABLE), Image.open(path) as image:
        if image.width * image.height > MAX_PIXELS:
            msg = f"expected at most {MAX_PIXELS} pixels, got {image.width}×{image.height}"
            raise ValueError(msg)
        image.load()
        yield image
