"""Stored pixels of a DICOM data set: which bits of a word are its value, and which pixels are mere padding."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer, Shaped

from megamed.readers import dicom_codecs

PIXEL_TAGS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
"""Tags under which pixels are stored."""
FIRST_OVERLAY, LAST_OVERLAY, BIT_POSITION = 0x6000, 0x601E, 0x0102
"""Groups of overlays, which are even, and the element that states which bit of pixels one is."""
WIDER = "its values need more bits than the header says: all bits count"
CUT = "bits above those that the header calls stored are no part of its values: they are left out"


@dataclass(frozen=True, eq=False)
class StoredPixels:
    """Numbers as they are stored, before anything that a header says of their meaning."""

    values: Shaped[np.ndarray, "..."]
    padding: Bool[np.ndarray, "..."] | None = None
    """Pixels that fill up what was not imaged, as the header says; None if there are none."""


def number(header: Any, tag: str, default: float | int) -> float:
    """Read a number; an empty tag has the default, as has a missing one."""
    value = header.get(tag)
    return float(default if value is None or value == "" else value)


def stored_pixels(header: Any, notes: list[str] | None = None) -> StoredPixels:
    """Decode stored pixels; the data set keeps none of them.

    Args:
        header: The data set.
        notes: List to which a remark is added where the header misstates the bits of values.
    """
    dicom_codecs.register()
    deferred = [header.get_item(tag, keep_deferred=True) for tag in PIXEL_TAGS if tag in header]
    _complete(header)
    try:
        decoding = copy.copy(header)
        decoding.pixel_array_options(correct_unused_bits=False)
        words = decoding.pixel_array
    finally:
        for element in deferred:
            header[element.tag] = element
    if words.dtype.kind not in "iu":
        return StoredPixels(words)
    padding = _padding(words, header)
    judged = words if padding is None else words[~padding]
    return StoredPixels(_in_bits(words, judged, header, [] if notes is None else notes), padding)


def _in_bits(
    words: Integer[np.ndarray, "..."], judged: Integer[np.ndarray, "..."], header: Any, notes: list[str]
) -> Integer[np.ndarray, "..."]:
    """Return the values that words hold in the bits which the header calls stored.

    Further bits count too where values reach into them evenly. Where they do so by leaps, they are marks that someone
    left there, such as overlays.

    Args:
        words: The words.
        judged: Words that are no padding.
        header: The data set.
        notes: List to which remarks are added.
    """
    bits, width = int(header.BitsStored), 8 * words.dtype.itemsize
    below = int(number(header, "HighBit", bits - 1)) + 1 - bits
    if 0 < below <= width - bits and (judged >> bits).any() and not (judged & ((1 << below) - 1)).any():
        words, judged = words >> below, judged >> below
    above = np.unique(judged >> bits)
    half = 1 << bits - 1
    fits = judged.dtype.kind == "i" and judged.size and judged.min() >= -half and judged.max() < half
    if not (fits or not above.any() or _has_overlays(header, bits)):
        is_even = above[0] in (-1, 0) and len(above) == int(above[-1]) - int(above[0]) + 1
        notes += [note for note in [WIDER if is_even else CUT] if note not in notes]
        if is_even:
            return words
    unused = width - bits
    return (words << unused) >> unused


def _has_overlays(header: Any, bits: int) -> bool:
    """Whether the header says that bits above those of values are overlays."""
    positions = (header.get((group, BIT_POSITION)) for group in range(FIRST_OVERLAY, LAST_OVERLAY + 1, 2))
    return any(position is not None and int(position.value or 0) >= bits for position in positions)


def _padding(words: Integer[np.ndarray, "..."], header: Any) -> Bool[np.ndarray, "..."] | None:
    """Find pixels of the value, or between the two values, that the header calls padding, however it signs them."""
    stated = [header.get(tag) for tag in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    ends = [np.array(int(value)).astype(words.dtype) for value in stated if isinstance(value, int)]
    if not ends or number(header, "SamplesPerPixel", 1) > 1:
        return None
    found = (words >= min(ends)) & (words <= max(ends))
    return found if found.any() and not found.all() else None


def _complete(header: Any) -> None:
    """Give tags that say how pixels are stored their usual values where they are empty, missing or impossible."""
    is_grey = number(header, "SamplesPerPixel", 1) == 1
    usual = {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2" if is_grey else "RGB",
        "PixelRepresentation": 0,
        "BitsStored": header.get("BitsAllocated"),
    }
    for tag, value in usual.items():
        if header.get(tag) in (None, ""):
            setattr(header, tag, value)
    if number(header, "BitsStored", 0) > number(header, "BitsAllocated", np.inf):
        header.BitsStored = header.BitsAllocated
