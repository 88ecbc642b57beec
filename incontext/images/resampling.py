"""An image or a label → the network's grid, and what the network finds → the image's grid.

Squares are those of a megamed collection (`megamed.squares`): a network sees in use what it saw in training.
"""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Shaped, UInt8
from torch import Tensor

from megamed.squares import Box, letterbox, level_of_equal_area, resize
from megamed.unknown import agreed


def to_square(
    plane: Shaped[np.ndarray, "H W"], size_px: int, box: Box | None = None
) -> Float32[np.ndarray, "size size"]:
    """Cut a window out of an image, its letterbox by default, and resize it with antialiasing."""
    box = box or letterbox((plane.shape[0], plane.shape[1]))
    return resize(box.cut(plane), size_px)


def label_to_square(
    mask: Bool[np.ndarray, "H W"], size_px: int, box: Box | None = None
) -> Float32[np.ndarray, "size size"]:
    """One class on the network's grid, in {0, 1}: of the pixels that it covers most, as many as make up its area.

    So thin structures stay whole, and however small, a class does not vanish.
    """
    coverage = to_square(mask, size_px, box)
    if not coverage.any():
        return coverage
    return (coverage >= level_of_equal_area(coverage, least_px=1)).astype(np.float32)


def binary_to_square(
    mask: Bool[np.ndarray, "H W"], unknown: Bool[np.ndarray, "H W"] | None, size_px: int, box: Box | None = None
) -> UInt8[np.ndarray, "size size"]:
    """One class on the network's grid, in {0, 1}, and `UNKNOWN` where it matters how unknown pixels are read."""
    drawn = label_to_square(mask, size_px, box) > 0
    if unknown is None or not unknown.any():
        return drawn.view(np.uint8)
    return agreed(drawn, label_to_square(mask | unknown, size_px, box) > 0)


def to_user_grid(
    values: Float[Tensor, "C size size"], box: Box, rows: slice, columns: slice
) -> Float[Tensor, "C {rows.stop-rows.start} {columns.stop-columns.start}"]:
    """Resize the square of a window to some rows and columns of the image, which the window has to show.

    The resizing is bilinear, and antialiased where the square is the finer one.
    """
    size_px = values.shape[-1]
    down = _resampling(size_px, box.height)[rows.start - box.top : rows.stop - box.top].to(values)
    across = _resampling(size_px, box.width)[columns.start - box.left : columns.stop - box.left].to(values)
    return down @ values @ across.T


@lru_cache(maxsize=32)
def _resampling(source_px: int, target_px: int) -> Float[Tensor, "target source"]:
    """Share of each old pixel along an axis in each new one: a triangle as wide as the larger of the two, as Pillow's.

    As a matrix, so that any part of an enlarged square can be computed by itself.
    """
    scale = source_px / target_px
    centres = (torch.arange(target_px, dtype=torch.float64)[:, None] + 0.5) * scale
    distances = (torch.arange(source_px) + 0.5 - centres).abs() / max(scale, 1.0)
    shares = (1 - distances).clamp(min=0)
    return (shares / shares.sum(1, keepdim=True)).float()
