"""Read a picture or a label map through Pillow, checking its size before decoding."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Integer, Real
from PIL import Image

MAX_PIXELS = 64 * 2**20
GREY_MODES = frozenset({"1", "L", "I", "I;16", "I;16L", "I;16B", "F"})
UNREADABLE = (OSError, SyntaxError, EOFError, ValueError, struct.error, zlib.error, Image.DecompressionBombError)


def read_image(path: Path) -> Real[np.ndarray, "H W"]:
    """Read a picture as one grey channel: colour becomes luminance, 16-bit and float stay as they are.

    Raises:
        ValueError: If the file cannot be decoded or is larger than `MAX_PIXELS`.
    """
    with _opened(path) as image:
        if image.mode not in GREY_MODES:
            image = image.convert("RGB").convert("L")
        return np.asarray(image.convert("L") if image.mode == "1" else image)


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
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                msg = f"expected at most {MAX_PIXELS} pixels, got {image.width}×{image.height}"
                raise ValueError(msg)
            image.load()
            yield image
    except UNREADABLE as error:
        msg = f"{path.name} cannot be read: {error}."
        raise ValueError(msg) from error
