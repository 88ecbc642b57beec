"""Levels of the resolution of one image, the full one first: what of them is read, and how messages list them."""

from collections.abc import Sequence
from typing import NamedTuple

Sides = tuple[int, int]
"""Rows and columns."""
MOST_PIXELS = 2**24
"""Pixels of the level that is taken where nobody chooses it: a slide is read, and its mask held, in a second."""


class Region(NamedTuple):
    """Part of a level, in its pixels."""

    top: int
    left: int
    rows: int
    columns: int

    @property
    def parts(self) -> tuple[slice, slice]:
        """Rows and columns, as they are taken of an array."""
        return slice(self.top, self.top + self.rows), slice(self.left, self.left + self.columns)


def chosen(level: int, sizes: Sequence[Sides]) -> Sides:
    """Return the size of the level that is meant.

    Raises:
        ValueError: If the image has no such level.
    """
    if not 0 <= level < len(sizes):
        msg = f"expected level {listed(sizes)}, got {level}"
        raise ValueError(msg)
    return sizes[level]


def workable(sizes: Sequence[Sides]) -> int:
    """Return the first level of at most `MOST_PIXELS` pixels, or the coarsest if there is none.

    >>> workable([(80_000, 60_000), (5_000, 3_750), (2_500, 1_875)])
    2
    """
    fitting = (level for level, (rows, columns) in enumerate(sizes) if rows * columns <= MOST_PIXELS)
    return next(fitting, len(sizes) - 1)


def within(region: Region | None, sides: Sides) -> Region:
    """Return the region of a level that is meant: all of it, if none is.

    Raises:
        ValueError: If it is empty, or leaves the level.
    """
    rows, columns = sides
    if region is None:
        return Region(0, 0, rows, columns)
    ends = region.top + region.rows, region.left + region.columns
    if min(region.top, region.left) < 0 or min(region.rows, region.columns) < 1 or ends[0] > rows or ends[1] > columns:
        msg = f"expected a region within {rows} × {columns}, got {tuple(region)}"
        raise ValueError(msg)
    return region


def too_large(error: ValueError, level: int, sizes: Sequence[Sides]) -> ValueError:
    """Add the smaller levels, if there are some, to the refusal of a level that does not fit into memory."""
    if level + 1 >= len(sizes):
        return error
    return ValueError(f"{error}, or choose a smaller level: {listed(sizes, level + 1)}")


def listed(sizes: Sequence[Sides], first: int = 0) -> str:
    """List levels from one on, with their sizes.

    >>> listed([(512, 640), (256, 320)])
    '0 (512 × 640), 1 (256 × 320)'
    """
    return ", ".join(f"{level} ({rows} × {columns})" for level, (rows, columns) in enumerate(sizes) if level >= first)
