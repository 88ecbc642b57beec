"""Masks that are drawn as outlines: closed thin lines around what is meant, not filled."""

import numpy as np
from jaxtyping import Bool

MOST_DRAWN = 0.1
"""Largest share of pixels that outlines cover."""
TOO_THICK_PX = 4
"""Side of a square that no line has room for."""
INSIDE = 2.0
"""Least area within a closed line, in multiples of its own."""
MOST = 0.9
"""Least share of the drawn pixels that are of closed lines, and of what a line surrounds that is one area."""
FILL = (
    "are closed thin lines, as outlines are: expected areas, got what surrounds them. If all that is within is meant, "
    "fill them: scipy.ndimage.binary_fill_holes(label)."
)
"""Warning on such masks, behind what they are."""


def is_outline(mask: Bool[np.ndarray, "H W"]) -> bool:
    """Whether a mask shows closed thin lines that each surround one area much larger than themselves.

    Trees of vessels and nets of borders have open ends, or several areas within one line.
    """
    drawn = np.count_nonzero(mask)
    if not 0 < drawn <= MOST_DRAWN * mask.size:
        return False
    from scipy import ndimage  # few masks come so far; importing it takes longer than all else here

    if ndimage.binary_erosion(mask, np.ones((TOO_THICK_PX, TOO_THICK_PX), bool)).any():
        return False
    lines, _ = ndimage.label(mask, np.ones((3, 3), bool))
    each = (lines[box] == number for number, box in enumerate(ndimage.find_objects(lines), start=1))
    return bool(sum(np.count_nonzero(line) for line in each if _surrounds_one_area(line)) >= MOST * drawn)


def _surrounds_one_area(line: Bool[np.ndarray, "H W"]) -> bool:
    from scipy import ndimage

    areas, _ = ndimage.label(ndimage.binary_fill_holes(line) & ~line)
    sizes = np.bincount(areas.ravel())[1:]
    return sizes.size > 0 and bool(sizes.max() >= max(INSIDE * np.count_nonzero(line), MOST * sizes.sum()))
