"""Labelled squares as a nearer, or a more distant, camera would show them."""

import numpy as np
from jaxtyping import UInt8

from incontext.images.resampling import binary_to_square, to_square
from megamed.unknown import UNKNOWN, foreground, unjudged

PART_SHARE = 0.35
"""Least share of a label's area in a connected part that is shown alone: one of a pair may be, a cell of many not."""


def magnified(
    image: UInt8[np.ndarray, "side side"], label: UInt8[np.ndarray, "side side"], magnification: float
) -> tuple[UInt8[np.ndarray, "side side"], UInt8[np.ndarray, "side side"]]:
    """Show an image and its binary label so that what is labelled is so many times as large.

    What is shown lies as near to the middle of what is labelled as the image allows. Below a magnification of 1 it is
    the whole image; around it the image's edge is repeated, and nobody knows what is there.
    """
    side = len(label)
    shown = max(1, round(side / magnification))
    if shown == side:
        return image, label
    if shown > side:
        before = (shown - side) // 2
        width = (before, shown - side - before)
        image, label = np.pad(image, width, mode="edge"), np.pad(label, width, constant_values=UNKNOWN)
    else:
        first = (min(max((axis.start + axis.stop - shown) // 2, 0), side - shown) for axis in bounds(label))
        rows, columns = (slice(start, start + shown) for start in first)
        image, label = image[rows, columns], label[rows, columns]
    grey = np.rint(to_square(image, side)).astype(np.uint8)
    return grey, binary_to_square(foreground(label), unjudged(label), side)


def extent(label: UInt8[np.ndarray, "side side"]) -> float:
    """Return the longer side of what a close-up has to show, as a share of the image's."""
    return max(axis.stop - axis.start for axis in bounds(label)) / len(label)


def bounds(label: UInt8[np.ndarray, "H W"]) -> tuple[slice, slice]:
    """Return the rows and columns of what a binary label draws, or of its largest part if that makes up much of it.

    An empty label is bounded by its image.
    """
    from scipy import ndimage  # takes a tenth of a second to import

    parts, count = ndimage.label(foreground(label))
    if not count:
        return slice(0, label.shape[0]), slice(0, label.shape[1])
    areas = np.bincount(parts.ravel())[1:]
    if areas.max() >= PART_SHARE * areas.sum():
        return ndimage.find_objects(parts)[areas.argmax()]
    return ndimage.find_objects((parts > 0).view(np.uint8))[0]
