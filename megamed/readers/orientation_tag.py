"""The orientation tag of EXIF and TIFF: how stored rows and columns are turned to what people see."""

import numpy as np
from jaxtyping import Shaped

TAG = 274
UPRIGHT = 1
"""Value of the tag that leaves nothing to turn."""
TURNED = "turned upright"
"""Words by which the note on a turn begins."""
TURNS = {
    2: (False, 1, -1),
    3: (False, -1, -1),
    4: (False, -1, 1),
    5: (True, 1, 1),
    6: (True, 1, -1),
    7: (True, -1, -1),
    8: (True, -1, 1),
}
"""Turn for each value of the tag: whether rows and columns change places, then the steps down and across.

Source: TIFF 6.0, section 8, `Orientation`; EXIF 2.3 takes it over.
"""

ON_SIDE = frozenset(value for value, (is_swapped, _, _) in TURNS.items() if is_swapped)
"""Values of the tag by which rows and columns change places."""


def turn_note(orientation: int) -> tuple[str, ...]:
    """Say that pixels were turned, if the tag says so."""
    return (f"{TURNED}, as orientation tag {orientation} says",) if orientation in TURNS else ()


def turned_upright(array: Shaped[np.ndarray, "..."], orientation: int, rows: int) -> Shaped[np.ndarray, "..."]:
    """Turn pixels upright; a tag that is not defined changes nothing.

    Args:
        array: Pixels with rows along one axis and columns along the next.
        orientation: The tag's value, 1 to 8.
        rows: The axis of the rows.
    """
    if orientation not in TURNS:
        return array
    swapped, down, across = TURNS[orientation]
    array = array.swapaxes(rows, rows + 1) if swapped else array
    return array[(slice(None),) * rows + (slice(None, None, down), slice(None, None, across))]
