"""Decode the compressed DICOM pixels that none of pydicom's own decoders can, by imagecodecs."""

from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

EXTENDED_JPEG = "1.2.840.10008.1.2.4.51"
HIGH_THROUGHPUT_JPEG_2000 = tuple(f"1.2.840.10008.1.2.4.{end}" for end in (201, 202, 203))
DECODER_DEPENDENCIES = dict.fromkeys((EXTENDED_JPEG, *HIGH_THROUGHPUT_JPEG_2000), ("imagecodecs",))
"""Transfer syntaxes, and what their decoding needs; pydicom looks the name up here."""


def is_available(uid: str) -> bool:
    """Whether pixels of a transfer syntax can be decoded here; pydicom asks."""
    return uid in DECODER_DEPENDENCIES and find_spec("imagecodecs") is not None


@cache
def register() -> None:
    """Tell pydicom of these decoders, which it tries after its own."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    for uid in DECODER_DEPENDENCIES:
        get_decoder(UID(uid)).add_plugin("megamed", (__name__, "decode_frame"))


def decode_frame(content: bytes, runner: Any) -> bytes:
    """Decode a frame as pydicom asks its plugins to.

    Args:
        content: The frame as it is stored.
        runner: What pydicom knows of it, and is to know of the values that are returned.

    Raises:
        ValueError: If it cannot be decoded, or is a JPEG in colours, whose space nothing states.
    """
    import imagecodecs

    if runner.transfer_syntax != EXTENDED_JPEG:
        values = imagecodecs.htj2k_decode(content)
    elif runner.samples_per_pixel == 1:
        values = imagecodecs.jpeg8_decode(content)
    else:
        msg = "expected a grey JPEG, got colours"
        raise ValueError(msg)
    if runner.samples_per_pixel > 1:
        runner.set_option("photometric_interpretation", "RGB")
        runner.set_option("planar_configuration", 0)
    runner.set_option("bits_allocated", 8 * values.dtype.itemsize)
    return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"))).tobytes()
