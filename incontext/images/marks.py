"""Strokes of a person on an image's own grid → pixels of the plane that a network looks at, and maps on its squares."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Self

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from incontext.images.prompts import DrawnMask, Stroke
from incontext.images.resampling import to_square
from incontext.images.source_image import SourceImage
from megamed.squares import Box

INSIDE, OUTSIDE, BOX = range(3)
"""Channels of the maps of a square: pixels that are said to be inside, pixels said to be outside, and filled boxes."""


@dataclass(frozen=True, eq=False)
class Mark:
    """A stroke on the plane of an image.

    Attributes:
        stroke: The stroke.
        rows: Rows of the pixels of a click or scribble; first row of a box and the one beyond it.
        columns: Columns of the same.
        mask: Pixels of a mask to start from; None for other strokes.
    """

    stroke: Stroke
    rows: Int64[np.ndarray, " n"] = field(repr=False)
    columns: Int64[np.ndarray, " n"] = field(repr=False)
    mask: Bool[np.ndarray, "H W"] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, stroke: Stroke, image: SourceImage) -> Self:
        """Find the pixels of a stroke.

        Args:
            stroke: A stroke on the image's own grid.
            image: An image of one plane.

        Raises:
            ValueError: If the stroke is not on the image, or a mask has another size.
        """
        height, width = image.shape[-2:]
        if isinstance(stroke.where, DrawnMask):
            if stroke.where.size != (height, width):
                msg = (
                    f"{stroke.kind} does not fit the image: expected {(height, width)}, got {stroke.where.size}. "
                    "Draw on the image's own grid."
                )
                raise ValueError(msg)
            drawn = np.ascontiguousarray(image.view.planes(stroke.where.pixels()[None])[0])
            rows, columns = drawn.nonzero()
            return cls(stroke, rows, columns, drawn if stroke.kind == "mask" else None)
        numbers = np.array(stroke.where, dtype=np.int64)
        if stroke.kind == "box":
            ends = numbers.reshape(2, 2).clip(0, (height, width))
            if (ends[0] >= ends[1]).any():
                raise _off(stroke, numbers, height, width)
            rows, columns = _turned(image, ends[:, 0], ends[:, 1], beyond=1)
            return cls(stroke, np.sort(rows), np.sort(columns))
        points = _line(numbers.reshape(-1, 2), (height, width)) if stroke.kind == "scribble" else numbers[None]
        shown = points[((points >= 0) & (points < (height, width))).all(axis=1)]
        if not len(shown):
            raise _off(stroke, numbers, height, width)
        return cls(stroke, *_turned(image, shown[:, 0], shown[:, 1]))

    @property
    def is_said(self) -> bool:
        """Whether the pixels themselves are said to be inside or outside, as those of a box are not."""
        return self.stroke.kind in ("click", "scribble")

    def on_square(self, box: Box, size_px: int) -> UInt8[np.ndarray, "3 size size"] | None:
        """Map the stroke to a square, in {0, 1}; None if the window shows nothing of it.

        No pixel is lost: each marks the pixel of the square that its centre lies in, and of one that a square enlarges,
        a scribble fills all.
        """
        maps = np.zeros((3, size_px, size_px), np.uint8)
        if self.stroke.kind == "box":
            rows, columns = (
                slice(max(0, (first - start) * size_px // side), -(-(last - start) * size_px // side))
                for (first, last), start, side in (
                    (self.rows, box.top, box.height),
                    (self.columns, box.left, box.width),
                )
            )
            maps[BOX, rows, columns] = rows.stop > 0 and columns.stop > 0
        elif self.mask is None:
            channel = maps[INSIDE if self.stroke.inside else OUTSIDE]
            down, across = self.rows - box.top, self.columns - box.left
            is_shown = (down >= 0) & (down < box.height) & (across >= 0) & (across < box.width)
            down, across = down[is_shown], across[is_shown]
            channel[(2 * down + 1) * size_px // (2 * box.height), (2 * across + 1) * size_px // (2 * box.width)] = 1
            if self.stroke.kind == "scribble" and size_px > min(box.height, box.width) and len(down):
                channel |= _nearest(down, across, box, size_px)
        return maps if maps.any() else None

    def coverage(self, box: Box, size_px: int) -> Float32[np.ndarray, "size size"]:
        """Share of each pixel of a square that the mask to start from covers."""
        assert self.mask is not None
        return to_square(self.mask, size_px, box)


def _nearest(
    down: Int64[np.ndarray, " n"], across: Int64[np.ndarray, " n"], box: Box, size_px: int
) -> UInt8[np.ndarray, "size size"]:
    """Pixels of a square whose centres lie in some pixels of its window."""
    drawn = np.zeros((box.height, box.width), np.uint8)
    drawn[down, across] = 1
    rows, columns = ((2 * np.arange(size_px) + 1) * side // (2 * size_px) for side in (box.height, box.width))
    return drawn[np.ix_(rows, columns)]


def _turned(
    image: SourceImage, rows: Int64[np.ndarray, " n"], columns: Int64[np.ndarray, " n"], beyond: int = 0
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Places on the image's own grid as places on its plane.

    Args:
        image: An image of one plane.
        rows: Rows of its own grid.
        columns: Columns of its own grid.
        beyond: 1 for places between pixels, such as the sides of a box; 0 for pixels.
    """
    own = {1: rows, 2: columns}
    turned = []
    for axis, step, side in zip(image.view.axes[1:], image.view.steps[1:], image.planes.shape[1:], strict=True):
        turned.append(own[axis] if step > 0 else side - 1 + beyond - own[axis])
    return turned[0], turned[1]


def _line(points: Int64[np.ndarray, "n 2"], shape: tuple[int, int]) -> Int64[np.ndarray, "m 2"]:
    """Pixels of the lines from each point to the next, without most of those that lie beyond an image of a shape."""
    parts: list[np.ndarray] = [points[:1]]
    for start, end in pairwise(points):
        steps = int(np.abs(end - start).max())
        first, last = 1.0, float(steps)
        for at, way, side in zip(start.tolist(), (end - start).tolist(), shape, strict=True):
            ends = sorted(((-1 - at) * steps / way, (side - at) * steps / way)) if way else (1, steps)
            first, last = max(first, ends[0]), min(last, ends[1])
        shares = np.arange(math.floor(first), math.ceil(last) + 1)[:, None] / max(1, steps)
        parts.append(np.rint(start + shares * (end - start)).astype(np.int64))
    return np.concatenate(parts)


def _off(stroke: Stroke, numbers: Sequence[int] | np.ndarray, height: int, width: int) -> ValueError:
    return ValueError(
        f"{stroke.kind} is not on the image: expected rows from 0 to {height - 1} and columns from 0 to {width - 1}, "
        f"got {np.array(numbers).tolist()}. Pass rows before columns, of the image's own array."
    )
