"""Contours → masks: the pixels whose centre a contour surrounds, for every format that stores contours."""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Integer

Window = tuple[slice, slice]
"""The rows and columns of a grid outside of which nothing is marked."""

MAX_CROSSINGS = 2**22
"""Number of places where edges meet grid lines that are worked on at once; it bounds the memory of a large contour."""


def fill_even_odd(points: Float[np.ndarray, "points 2"], shape: tuple[int, int]) -> Bool[np.ndarray, "I J"]:
    """Mark the pixels whose centre a closed contour surrounds an odd number of times.

    Args:
        points: Corners of the contour, as indices where the centre of the first pixel is (0, 0).
        shape: Size of the result.

    Raises:
        ValueError: If a point is not finite.

    A centre on a lower edge counts as inside, on an upper one as outside, so that neighbours share no pixel.
    """
    return fill_rings([points], shape)


def fill_rings(rings: Sequence[Float[np.ndarray, "_ 2"]], shape: tuple[int, int]) -> Bool[np.ndarray, "I J"]:
    """Mark the pixels whose centre several closed contours together surround an odd number of times.

    A contour inside another is a hole, one inside a hole an island. Arguments and errors are those of
    `fill_even_odd`.
    """
    mask = np.zeros(shape, bool)
    window, inside = fill_window(rings, shape)
    mask[window] = inside
    return mask


def fill_parts(rings: Sequence[Float[np.ndarray, "_ 2"]], shape: tuple[int, int]) -> Bool[np.ndarray, "I J"]:
    """Mark what several closed contours surround, where contours that cross are united.

    A contour is a hole if all that it surrounds is marked already by larger ones. Two islands that overlap, or a
    contour that was stored twice, lose nothing, as they would by `fill_rings`. Arguments and errors are those of
    `fill_even_odd`.
    """
    mask = np.zeros(shape, bool)
    parts = sorted((fill_window([ring], shape) for ring in rings), key=lambda part: -np.count_nonzero(part[1]))
    drawn: list[tuple[Window, Bool[np.ndarray, "I J"]]] = []
    for window, inside in parts:
        if any(window == other and np.array_equal(inside, same) for other, same in drawn):
            continue
        drawn.append((window, inside))
        is_hole = mask[window][inside].all()
        mask[window] = mask[window] & ~inside if is_hole else mask[window] | inside
    return mask


def fill_window(
    rings: Sequence[Float[np.ndarray, "_ 2"]], shape: tuple[int, int]
) -> tuple[Window, Bool[np.ndarray, "I J"]]:
    """Do as `fill_rings`, and return only the part of the grid that the contours reach, with its place."""
    starts = np.concatenate([np.empty((0, 2)), *rings])
    ends = np.concatenate([np.empty((0, 2)), *(np.roll(ring, -1, axis=0) for ring in rings)])
    if not np.isfinite(starts).all():
        msg = (
            f"contour is unusable: expected finite points, got {int((~np.isfinite(starts)).any(axis=1).sum())} others."
        )
        raise ValueError(msg)
    window = _window(starts, shape)
    (top, bottom), (left, right) = ((part.start, part.stop) for part in window)
    crossings = np.zeros((bottom - top + 1, right - left), np.int32)
    for at, lines in _crossings(starts, ends, left, right):
        np.add.at(crossings, (np.ceil(at).clip(top, bottom).astype(int) - top, lines - left), 1)
    beyond = crossings[::-1].cumsum(axis=0)[::-1][1:]  # how often a contour is met further along the first axis
    return window, beyond % 2 == 1


def _window(points: Float[np.ndarray, "points 2"], shape: tuple[int, int]) -> Window:
    """Find the part of a grid that can lie inside of contours."""
    if not len(points):
        return slice(0, 0), slice(0, 0)
    lows = np.clip(np.floor(points.min(axis=0)), 0, shape).astype(int).tolist()
    highs = np.clip(np.ceil(points.max(axis=0)) + 1, 0, shape).astype(int).tolist()
    rows, columns = (slice(low, max(low, high)) for low, high in zip(lows, highs, strict=True))
    return rows, columns


def _crossings(
    starts: Float[np.ndarray, "edges 2"], ends: Float[np.ndarray, "edges 2"], left: int, right: int
) -> Iterable[tuple[Float[np.ndarray, " crossings"], Integer[np.ndarray, " crossings"]]]:
    """Yield where edges meet the lines of pixel centres from left to right: position on the line, line."""
    # an edge is walked from its lower end, so that it meets a line at the same place from both of its sides
    upward = (starts[:, 1] <= ends[:, 1])[:, None]
    low, high = np.where(upward, starts, ends), np.where(upward, ends, starts)
    first = np.ceil(np.clip(low[:, 1], left, right)).astype(int)
    count = np.ceil(np.clip(high[:, 1], left, right)).astype(int) - first
    edges = np.flatnonzero(count)
    blocks = np.cumsum(count[edges]) // MAX_CROSSINGS
    for block in np.split(edges, np.flatnonzero(np.diff(blocks)) + 1):
        edge = np.repeat(block, count[block])
        before = np.cumsum(count[block]) - count[block]
        lines = first[edge] + np.arange(edge.size) - np.repeat(before, count[block])
        slope = (high[edge, 0] - low[edge, 0]) / (high[edge, 1] - low[edge, 1])
        yield low[edge, 0] + (lines - low[edge, 1]) * slope, lines
