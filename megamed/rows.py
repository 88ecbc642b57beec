"""A standardised slice, and the bytes that a collection stores of it, packed where it was made."""

import zlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from megamed.unknown import foreground, unjudged
from megamed.vocabulary import Split

COMPRESSION_LEVEL = 4


@dataclass(frozen=True)
class StandardSlice:
    """One standardised slice: an image of S×S pixels in [0, 255] with its masks, in {0, 1} and `UNKNOWN`."""

    modality: str
    axis: str
    subject: str
    case: str
    split: Split
    image: UInt8[np.ndarray, "S S"]
    masks: dict[str, UInt8[np.ndarray, "S S"]]
    """Masks of the labels that are present, by label."""
    known: frozenset[str] = frozenset()
    """The labels that somebody looked for; of any other it is unknown whether it is there."""


@dataclass(frozen=True)
class PackedRow:
    """A row as the bytes that a file will hold, packed where it was made, so that the one writer only copies."""

    group: str
    names: tuple[str, str, str]
    """Names of the subject, the case and the split."""
    image: bytes
    labels: dict[str, bytes]
    areas: dict[str, int]
    """Number of pixels of every known label, 0 included."""
    unknown: dict[str, int]
    """Number of pixels that nobody judged, of the labels that have any."""


def pack(row: StandardSlice) -> PackedRow:
    """Compress the labels that are not empty and count the pixels of all that are known."""
    present = {label: mask for label, mask in row.masks.items() if mask.any()}
    absent = dict.fromkeys((row.known | row.masks.keys()) - present.keys(), 0)
    unknown = {label: int(np.count_nonzero(unjudged(mask))) for label, mask in present.items() if mask.max() > 1}
    return PackedRow(
        group=f"{row.modality}/{row.axis}",
        names=(row.subject, row.case, row.split),
        image=row.image.tobytes(),
        labels={label: zlib.compress(mask.tobytes(), COMPRESSION_LEVEL) for label, mask in present.items()},
        areas={label: int(np.count_nonzero(foreground(mask))) for label, mask in present.items()} | absent,
        unknown=unknown,
    )
