"""Levels of the resolution of one image, the full one first: which of them is read, and how messages list them."""

from collections.abc import Sequence

Sides = tuple[int, int]
"""Rows and columns."""


def chosen(level: int, sizes: Sequence[Sides]) -> Sides:
    """Return the size of the level that is meant.

    Raises:
        ValueError: If the image has no such level.
    """
    if not 0 <= level < len(sizes):
        msg = f"expected level {listed(sizes)}, got {level}"
        raise ValueError(msg)
    return sizes[level]


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
