"""An image or a label → the network's grid, and what the network finds → the image's grid.

A square is cut from an image, zeros around it, and resized with antialiasing, as in a megamed collection: a network
sees at work what it saw in training.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Shaped
from PIL import Image
from torch import Tensor

MAX_SQUARE_PIXELS = 2**28
SPACING_TOLERANCE = 0.01
"""Share by which the sides of a pixel may differ and count as equal."""


@dataclass(frozen=True)
class Box:
    """A window of an image, in its pixels; what it shows beyond the image's edge is black."""

    top: int
    left: int
    height: int
    width: int

    def within(self, shape: tuple[int, int]) -> tuple[slice, slice]:
        """The rows and columns of an image that the window shows."""
        rows = slice(max(self.top, 0), min(self.top + self.height, shape[0]))
        return rows, slice(max(self.left, 0), min(self.left + self.width, shape[1]))


def letterbox(shape: tuple[int, int], pixel_mm: tuple[float, float] = (1.0, 1.0)) -> Box:
    """The window around a whole image that is as high as wide in millimetres, the image in its middle.

    Raises:
        ValueError: If the image is so oblong, or its header says so, that the square would not fit in memory.
    """
    height, width = square_px(float(np.multiply(shape, evened(pixel_mm)).max()), pixel_mm)
    box_shape = max(height, shape[0]), max(width, shape[1])
    if math.prod(box_shape) > max(MAX_SQUARE_PIXELS, math.prod(shape)):
        message = (
            f"image is too oblong: expected a square of at most {MAX_SQUARE_PIXELS} pixels around it, got "
            f"{shape} pixels of {pixel_mm} mm. Cut it into parts, or correct the pixel size."
        )
        raise ValueError(message)
    return Box(-((box_shape[0] - shape[0]) // 2), -((box_shape[1] - shape[1]) // 2), *box_shape)


def evened(pixel_mm: tuple[float, float]) -> tuple[float, float]:
    """The pixel size, or that of a square pixel if the sides differ by less than is worth resampling for."""
    return pixel_mm if max(pixel_mm) > (1 + SPACING_TOLERANCE) * min(pixel_mm) else (1.0, 1.0)


def square_px(side_mm: float, pixel_mm: tuple[float, float]) -> tuple[int, int]:
    """Height and width in pixels of a square in millimetres."""
    height, width = (max(1, round(float(side_mm / size))) for size in evened(pixel_mm))
    return height, width


def to_square(
    plane: Shaped[np.ndarray, "H W"], size_px: int, box: Box | None = None
) -> Float32[np.ndarray, "size size"]:
    """What a window of an image shows, its letterbox by default, resized with antialiasing."""
    box = box or letterbox(plane.shape)
    rows, columns = box.within(plane.shape)
    window = plane[rows, columns].astype(np.float32)
    if window.shape != (box.height, box.width):
        shown, window = window, np.zeros((box.height, box.width), dtype=np.float32)
        window[rows.start - box.top : rows.stop - box.top, columns.start - box.left : columns.stop - box.left] = shown
    resized = Image.fromarray(window).resize((size_px, size_px), Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.float32)


def label_to_square(
    mask: Bool[np.ndarray, "H W"], size_px: int, box: Box | None = None
) -> Float32[np.ndarray, "size size"]:
    """One class on the network's grid, in {0, 1}: of the pixels that it covers most, as many as make up its area.

    So thin structures stay whole, and however small, a class does not vanish.
    """
    coverage = to_square(mask, size_px, box)
    if not coverage.any():
        return coverage
    count = max(1, round(float(coverage.sum())))
    return (coverage >= np.partition(coverage, -count, axis=None)[-count]).astype(np.float32)


def to_user_grid(
    values: Float[Tensor, "C size size"], box: Box, rows: slice, columns: slice
) -> Float[Tensor, "C {rows.stop-rows.start} {columns.stop-columns.start}"]:
    """What the square of a window holds at some rows and columns of the image, which the window has to show.

    Resized bilinearly, antialiased where the square is the finer one.
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
