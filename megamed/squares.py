"""Square windows of images and their resizing: how an image or a mask reaches a network's grid, in training and in use.

A square is cut from an image, zeros around it, and resized with antialiasing.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Real, Shaped
from PIL import Image

MAX_SQUARE_PIXELS = 2**28
SPACING_TOLERANCE = 0.01
"""Share by which the sides of a pixel may differ and count as equal."""
SQUARE_PIXELS_MM = (1.0, 1.0)
CT_WINDOW_HU = (-500.0, 1000.0)
PERCENTILES = (0.5, 99.5)
"""Percentiles of the positive values that become 0 and 1 in images of which a few pixels are far brighter."""


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

    def cut(self, plane: Shaped[np.ndarray, "H W"]) -> Shaped[np.ndarray, "height width"]:
        """Cut the window out of an image, padded with zeros beyond its edges."""
        rows, columns = self.within((plane.shape[0], plane.shape[1]))
        shown = plane[rows, columns]
        if shown.shape == (self.height, self.width):
            return shown
        window = np.zeros((self.height, self.width), plane.dtype)
        top, left = rows.start - self.top, columns.start - self.left
        window[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
        return window


def letterbox(shape: tuple[int, int], pixel_mm: tuple[float, float] = SQUARE_PIXELS_MM) -> Box:
    """The window around a whole image that is as high as wide in millimetres, the image in its middle.

    Raises:
        ValueError: If pixels have no size, or the image is so oblong, or its header says so, that the square would not
            fit in memory.
    """
    if not all(math.isfinite(side) and side > 0 for side in pixel_mm):
        msg = f"pixels have no size: expected millimetres above 0, got {pixel_mm}. Correct the header."
        raise ValueError(msg)
    height, width = square_px(float(np.multiply(shape, evened(pixel_mm)).max()), pixel_mm)
    box_shape = max(height, shape[0]), max(width, shape[1])
    if math.prod(box_shape) > max(MAX_SQUARE_PIXELS, math.prod(shape)):
        msg = (
            f"image is too oblong: expected a square of at most {MAX_SQUARE_PIXELS} pixels around it, got "
            f"{shape} pixels of {pixel_mm} mm. Cut it into parts, or correct the pixel size."
        )
        raise ValueError(msg)
    return Box(-((box_shape[0] - shape[0]) // 2), -((box_shape[1] - shape[1]) // 2), *box_shape)


def evened(pixel_mm: tuple[float, float]) -> tuple[float, float]:
    """The pixel size, or that of a square pixel if the sides differ by less than is worth resampling for."""
    return pixel_mm if max(pixel_mm) > (1 + SPACING_TOLERANCE) * min(pixel_mm) else SQUARE_PIXELS_MM


def square_px(side_mm: float, pixel_mm: tuple[float, float]) -> tuple[int, int]:
    """Height and width in pixels of a square in millimetres."""
    most = 2 * MAX_SQUARE_PIXELS  # a header may state so small a pixel that the quotient is infinite
    height, width = (max(1, round(min(float(side_mm / size), most))) for size in evened(pixel_mm))
    return height, width


def resize(
    image: Shaped[np.ndarray, "H W"], size_px: int, resampling: Image.Resampling = Image.Resampling.BILINEAR
) -> Float[np.ndarray, "S S"]:
    """Resize an image to a square grid, by default bilinearly, with antialiasing where it shrinks."""
    picture = Image.fromarray(np.asarray(image, dtype=np.float32))
    return np.asarray(picture.resize((size_px, size_px), resampling))


def level_of_equal_area(coverage: Float[np.ndarray, "S S"], least_px: int = 0) -> float:
    """The coverage that as many pixels reach as the covered parts of all pixels make up together.

    So thin structures stay whole.

    Args:
        coverage: Share of each pixel that a mask covers, in [0, 1].
        least_px: Pixels that reach the level at least; with 0, what makes up less than half a pixel vanishes.
    """
    count = max(least_px, round(float(coverage.sum())))
    return float(np.partition(coverage, -count, axis=None)[-count]) if count else np.inf


def positive_percentiles(values: Real[np.ndarray, "..."]) -> Float[np.ndarray, "2"]:
    """The `PERCENTILES` of the positive values, or of all if none is positive."""
    return np.percentile(values[values > 0] if (values > 0).any() else values, PERCENTILES)
