"""Pixels that nobody judged: neither foreground nor background, as a third value of binary labels in every package.

A binary label holds 0 where somebody saw background, 1 where somebody saw the structure, and `UNKNOWN` where nobody
looked or nobody could tell, as along the borders of VOC's objects. Where a label becomes a tensor, `UNKNOWN_SHARE`
stands for it: minimum, maximum and complement then are those of three-valued logic.

One rule says what is known of anything that is made of a label, such as its resized copy or a majority: it is made
twice, with all unknown pixels read as background and read as foreground, and is known where both agree. No value that
a file has under an unknown pixel counts anywhere.
"""

from collections.abc import Set
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

UNKNOWN = 255
"""Value of the pixels of a binary label that nobody judged."""
UNKNOWN_SHARE = 0.5
"""Value of such pixels in tensors: they may as well be foreground as background."""


def foreground(label: UInt8[np.ndarray, "*grid"]) -> Bool[np.ndarray, "*grid"]:
    """Pixels of a binary label that somebody saw the structure in."""
    return label == 1


def possible(label: UInt8[np.ndarray, "*grid"]) -> Bool[np.ndarray, "*grid"]:
    """Pixels of a binary label that may be of the structure: its foreground, and whatever nobody judged."""
    return label != 0


def unjudged(label: UInt8[np.ndarray, "*grid"]) -> Bool[np.ndarray, "*grid"]:
    """Pixels of a binary label that nobody judged."""
    return label == UNKNOWN


def agreed(least: Bool[np.ndarray, "*grid"], most: Bool[np.ndarray, "*grid"]) -> UInt8[np.ndarray, "*grid"]:
    """Join what comes of a label by both readings to one label, unknown where they disagree.

    Args:
        least: Foreground if unknown pixels are background.
        most: Foreground if they are foreground.
    """
    return np.where(least == most, least.view(np.uint8), np.uint8(UNKNOWN))


def marked(drawn: Bool[np.ndarray, "*grid"], unknown: Bool[np.ndarray, "*grid"] | None) -> UInt8[np.ndarray, "*grid"]:
    """Make the label of what was drawn; an unknown pixel in which a structure was drawn nevertheless is its own."""
    if unknown is None:
        return drawn.view(np.uint8)
    return np.where(drawn, np.uint8(1), unknown * np.uint8(UNKNOWN))


def whole_values(unknown: Any) -> tuple[int, ...]:
    """Return what a user says of unknown pixels, one value or several, as values.

    Raises:
        ValueError: If one is no whole number.
    """
    values = np.ravel(sorted(unknown) if isinstance(unknown, Set) else np.asarray(unknown))
    if values.size and (values.dtype.kind not in "iuf" or (values % 1 != 0).any()):
        msg = f"unknown is no value of pixels: expected whole numbers, such as 255, got {unknown!r}. Correct it."
        raise ValueError(msg)
    return tuple(map(int, values))
