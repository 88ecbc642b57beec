"""Masks → contours: the exact outlines of a mask along the edges of its pixels, with holes and islands."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Integer

from megamed.rasterise import fill_window

Ring = Integer[np.ndarray, "corners 2"]
"""A closed contour as x and y of its corners, where (0, 0) is the corner of the first pixel; it has three or more
corners, none of them twice, and its last is joined to its first."""


@dataclass(frozen=True)
class TracedPolygon:
    """One connected piece of a mask."""

    outer: Integer[np.ndarray, "corners 2"]
    """Clockwise on the screen."""
    holes: tuple[Integer[np.ndarray, "_ 2"], ...]
    """Anticlockwise on the screen."""

    @property
    def rings(self) -> tuple[Integer[np.ndarray, "_ 2"], ...]:
        """The outer contour, then the holes."""
        return (self.outer, *self.holes)


def trace(mask: Bool[np.ndarray, "H W"]) -> list[TracedPolygon]:
    """Trace the outlines of a mask, such that filling them by even-odd gives back the mask exactly.

    Pixels that touch only at a corner belong to different pieces. A contour meets another at corners at most.
    """
    rings = [simple for ring in _walks(mask) for simple in _simple(ring)]
    areas = [_area(ring) for ring in rings]
    outers = [rings[index] for index in np.argsort(areas)[::-1].tolist() if areas[index] > 0]
    holes: list[list[Ring]] = [[] for _ in outers]
    # painted from the largest to the smallest, so that a pixel of the mask shows the piece that it belongs to
    owner = np.full(mask.shape, -1, np.int32)
    for number, outer in enumerate(outers):
        window, inside = fill_window([outer[:, ::-1] - 0.5], (mask.shape[0], mask.shape[1]))
        owner[window][inside] = number
    for ring, area in zip(rings, areas, strict=True):
        if area < 0:
            x, y = ring[np.lexsort((ring[:, 0], ring[:, 1]))[0]]
            holes[owner[y - 1, x]].append(ring)
    return [TracedPolygon(outer, tuple(inner)) for outer, inner in zip(outers, holes, strict=True)]


def keyhole(polygon: TracedPolygon) -> Integer[np.ndarray, "corners 2"]:
    """Join the holes of a polygon to its outer contour by cuts of no width, for formats without holes.

    Cuts run along the edges of pixels, so that no reader finds the centre of a pixel on one.
    """
    ring = polygon.outer
    # from left to right, so that what a cut to the left meets has been joined already
    for hole in sorted(polygon.holes, key=lambda hole: tuple(_leftmost(hole))):
        ring = _joined(ring, hole)
    return ring


def _leftmost(ring: Ring) -> Integer[np.ndarray, "2"]:
    """Return the highest of the leftmost corners of a ring."""
    return ring[np.lexsort((ring[:, 1], ring[:, 0]))[0]]


def _joined(ring: Integer[np.ndarray, "_ 2"], hole: Integer[np.ndarray, "_ 2"]) -> Integer[np.ndarray, "_ 2"]:
    """Join a hole to a ring by a cut from its leftmost corner to the left."""
    corner = _leftmost(hole)
    following = np.roll(ring, -1, axis=0)
    low, high = np.minimum(ring[:, 1], following[:, 1]), np.maximum(ring[:, 1], following[:, 1])
    is_met = (ring[:, 0] == following[:, 0]) & (low <= corner[1]) & (corner[1] <= high) & (ring[:, 0] <= corner[0])
    side = int(np.where(is_met, ring[:, 0], -1).argmax())
    at = np.array([[ring[side, 0], corner[1]]])
    start = int((hole == corner).all(axis=1).argmax())
    around = np.concatenate([hole[start:], hole[:start], hole[start : start + 1]])
    return np.concatenate([ring[: side + 1], at, around, at, ring[side + 1 :]])


def _area(ring: Ring) -> float:
    """Compute the area of a ring by the shoelace formula, positive if it runs clockwise on the screen."""
    x, y = ring.astype(float).T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _walks(mask: Bool[np.ndarray, "H W"]) -> Iterator[Ring]:
    """Walk along the outlines of a mask, with the mask to the right.

    A corner of an outline has one horizontal and one vertical side. On a line of the grid, corners follow each other as
    the two ends of sides; where two pixels touch at a corner, that counts as two corners, one for each of them.
    """
    x, y, order = _corners(mask)  # horizontal sides are the pairs 0–1, 2–3, …, vertical ones likewise by column
    by_column = np.lexsort((order, y, x))
    vertical = np.empty_like(by_column)
    vertical[by_column] = by_column[np.arange(len(x)) ^ 1]
    padded = np.pad(mask, ((0, 1), (0, 1)))
    along_column = vertical.tolist()
    visited = bytearray(len(x))
    for start in range(0, len(x), 2):
        if visited[start]:
            continue
        walk = []
        at = start
        while not visited[at]:
            beside = at ^ 1
            visited[at] = visited[beside] = True
            walk += [at, beside]
            at = along_column[beside]
        ring = np.stack([x[walk], y[walk]], axis=1)
        # the first side leads to the right along the top: below it lies either the mask or a hole
        yield ring if padded[y[start], x[start]] else ring[::-1]


def _corners(
    mask: Bool[np.ndarray, "H W"],
) -> tuple[Integer[np.ndarray, " corners"], Integer[np.ndarray, " corners"], Integer[np.ndarray, " corners"]]:
    """Find the corners of the outlines by row, then column: x, y, and which of two at one place is the lower one."""
    padded = np.pad(mask, 1)
    north_west, north_east = padded[:-1, :-1], padded[:-1, 1:]
    south_west, south_east = padded[1:, :-1], padded[1:, 1:]
    falling = north_west & south_east & ~north_east & ~south_west
    rising = ~north_west & ~south_east & north_east & south_west
    is_corner = (north_west ^ north_east ^ south_west ^ south_east) | falling | rising
    y, x = np.nonzero(is_corner)
    times = 1 + (falling | rising)[y, x]
    is_second = np.arange(times.sum()) != np.repeat(np.cumsum(times) - times, times)
    # of two pixels that touch, the left one is above the right one where they fall, and below it where they rise
    is_rising = np.repeat(rising[y, x], times)
    return np.repeat(x, times), np.repeat(y, times), (is_second ^ is_rising).astype(int)


def _simple(ring: Ring) -> Iterator[Ring]:
    """Cut a ring where it meets itself, so that no part of it passes a corner twice."""
    if np.unique(ring @ np.array([1, 1 << 32])).size == len(ring):
        yield ring
        return
    path: list[tuple[int, int]] = []
    places: dict[tuple[int, int], int] = {}
    for x, y in ring.tolist():
        corner = (x, y)
        if corner in places:
            first = places[corner]
            yield np.array(path[first:])
            for passed in path[first + 1 :]:
                del places[passed]
            del path[first + 1 :]
        else:
            places[corner] = len(path)
            path.append(corner)
    yield np.array(path)
