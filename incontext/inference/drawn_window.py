"""The window of a volume's planes around what was drawn on some of them: a small structure fills the network's square.

What lies beyond it counts as background; where what was found reaches the window's edge, the planes are seen whole.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from megamed.squares import Box, evened, letterbox, square_px


def window_around(
    labels: Iterable[UInt8[np.ndarray, "H W"]], margin: float, pixel_mm: tuple[float, float] = (1.0, 1.0)
) -> Box:
    """The window around all that some label maps of one grid show, square in millimetres; all of the planes at most.

    Args:
        labels: Label maps, 0 where nothing is; one at least shows something.
        margin: What is seen around it on each side, as a share of its longer extent.
        pixel_mm: Height and width of a pixel.
    """
    shown = np.any([label > 0 for label in labels], axis=0)
    whole, ends = (
        letterbox(shown.shape, pixel_mm),
        [np.flatnonzero(shown.any(axis=1 - axis))[[0, -1]] for axis in (0, 1)],
    )
    extents = [(last - first + 1) * mm for (first, last), mm in zip(ends, evened(pixel_mm), strict=True)]
    height, width = square_px(float(max(extents)) * (1 + 2 * margin), pixel_mm)
    if height >= whole.height or width >= whole.width:
        return whole
    sides = zip(ends, (height, width), shown.shape, strict=True)
    top, left = (_start((first + last + 1) / 2, side, extent) for (first, last), side, extent in sides)
    return Box(top, left, height, width)


def _start(middle: float, side: int, extent: int) -> int:
    """Beginning of a window of a side around a middle, moved into the image if it fits there."""
    return -((side - extent) // 2) if side > extent else min(max(0, round(middle - side / 2)), extent - side)


def reaches_edge(logits: Float[Tensor, "N C size size"], box: Box, shape: tuple[int, int]) -> bool:
    """Whether something is found at an edge of a window that is no edge of its planes."""
    found = (logits > 0).any(dim=0).any(dim=0)
    edges = (
        (box.top > 0, found[0]),
        (box.top + box.height < shape[0], found[-1]),
        (box.left > 0, found[:, 0]),
        (box.left + box.width < shape[1], found[:, -1]),
    )
    return any(is_inside and bool(edge.any()) for is_inside, edge in edges)
