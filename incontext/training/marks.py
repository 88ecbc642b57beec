"""Clicks and scribbles that a person may make in one connected part of an image.

Lengths are in pixels of the image. A mark never leaves its part.

Source:
    Wong et al., ScribblePrompt, ECCV 2024: clicks at centres, in border bands and anywhere; scribbles along lines,
    centrelines and contours, broken by thresholded noise and warped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from incontext.synthesis.shapes import spline_weights

WARP_PX, BREAK_PX = 32, 12
"""Cells, in images of 128×128, of the noise that bends scribbles and of that which breaks them."""
REACH_PX = 8, 64
"""Range of how far a scribble reaches from a pixel of its course in images of 128×128; nobody draws a whole border."""
CONNECTED = np.ones((3, 3))
"""Pixels that touch at a corner belong together."""
Way = Literal["anywhere", "centre", "border"]
WAYS: tuple[Way, ...] = ("anywhere", "centre", "border")
"""Places in a part that a person may click."""
Course = Literal["line", "ridge", "contour"]
SCRIBBLES: tuple[Course, ...] = ("line", "ridge", "contour")
Pixels = tuple[Int[np.ndarray, "_"], Int[np.ndarray, "_"]]
"""Rows and columns of some pixels of an image."""


@dataclass(frozen=True)
class Hand:
    """Sizes of what a person draws on images of one size."""

    scale: float
    """Size of the images, in multiples of 128 pixels."""
    band_px: int
    """Width of the band along a border in which clicks at the border lie."""
    width_px: int
    """Largest width of a scribble."""
    warp_px: float
    """Standard deviation of how far a scribble strays from its course."""


class Parts:
    """Connected components of some regions of an image; regions may touch, and no component joins two of them."""

    def __init__(self, *regions: Bool[np.ndarray, "H W"]) -> None:
        from scipy import ndimage  # takes a tenth of a second to import

        numbers, count = ndimage.label(regions[0], CONNECTED)
        for region in regions[1:]:
            further, more = ndimage.label(region, CONNECTED)
            numbers, count = np.where(region, further + count, numbers), count + more
        self.numbers = numbers
        """Number of the component that each pixel is of, from 1; 0 if of none."""
        self.count = count
        self._pixels = np.flatnonzero(numbers)
        self._parts: dict[int, Part] = {}

    @cached_property
    def areas(self) -> Int[np.ndarray, " count"]:
        """Pixels of each component."""
        return np.bincount(self.numbers.ravel()[self._pixels], minlength=1 + self.count)[1:]

    @cached_property
    def _boxes(self) -> list[tuple[slice, slice]]:
        from scipy import ndimage

        return ndimage.find_objects(self.numbers)

    def __getitem__(self, number: int) -> "Part":
        if number not in self._parts:
            box = self._boxes[number - 1]
            frame = _frame_distance(*self.numbers.shape)[box]
            self._parts[number] = Part((box[0].start, box[1].start), self.numbers[box] == number, frame)
        return self._parts[number]

    def around(self, rng: np.random.Generator) -> "Part":
        """Draw a component, each as probable as its share of the area."""
        return self[int(self.numbers.ravel()[self._pixels[rng.integers(len(self._pixels))]])]

    def largest(self) -> "Part":
        """The component of most pixels, of those of equally many the first."""
        return self[1 + int(self.areas.argmax())]


@dataclass(frozen=True)
class Part:
    """A connected component, cut out of its image."""

    corner: tuple[int, int]
    """Row and column of the image where the cut begins."""
    pixels: Bool[np.ndarray, "h w"]
    frame: Int[np.ndarray, "h w"]
    """Distance of each pixel of the cut to what is beyond the image."""

    @cached_property
    def depth(self) -> Float[np.ndarray, "h w"]:
        """Distance of each pixel to the nearest that is beyond the component or the image."""
        from scipy import ndimage

        return ndimage.distance_transform_edt(np.pad(self.pixels, 1))[1:-1, 1:-1]

    def centre(self) -> tuple[int, int]:
        """Pixel of the image that is deepest inside; of those equally deep, the one nearest their mean."""
        deepest = np.argwhere(self.depth == self.depth.max())
        return self._on_image(deepest[((deepest - deepest.mean(0)) ** 2).sum(1).argmin()])

    def click(self, way: Way, hand: Hand, rng: np.random.Generator) -> tuple[int, int]:
        """Draw a pixel of the image: anywhere inside, the centre, or one near the border."""
        if way == "centre":
            return self.centre()
        pixels = self.pixels
        if way == "border":
            band = pixels & (self.depth <= rng.integers(1, hand.band_px + 1))
            pixels = _some_of(band & (self.depth < self.frame), band)
        return self._on_image(random_pixel(pixels, rng))

    def scribble(self, kind: Course, hand: Hand, rng: np.random.Generator) -> Pixels:
        """Draw pixels of the image along a straight line, the centreline, or a contour at some depth; at least one."""
        rows, columns = np.nonzero({"line": self._line, "ridge": self._ridge, "contour": self._contour}[kind](rng))
        strokes = self._broken(_near((rows, columns), hand, rng), hand, rng)
        drawn = self._inside(_thick(self._bent(strokes, hand, rng), int(rng.integers(1, hand.width_px + 1))))
        rows, columns = drawn if len(drawn[0]) else strokes
        return self.corner[0] + rows, self.corner[1] + columns

    def _broken(self, course: Pixels, hand: Hand, rng: np.random.Generator) -> Pixels:
        """Take pieces away, up to more than half, but never everything."""
        kept = self._noise(1, course, BREAK_PX * hand.scale, rng)[0] > rng.uniform(-1.5, 0.3)
        return (course[0][kept], course[1][kept]) if kept.any() else course

    def _bent(self, course: Pixels, hand: Hand, rng: np.random.Generator) -> Pixels:
        """Move pixels smoothly, maybe beyond the cut."""
        shifts = np.rint(hand.warp_px * self._noise(2, course, WARP_PX * hand.scale, rng)).astype(int)
        return course[0] + shifts[0], course[1] + shifts[1]

    def _inside(self, pixels: Pixels) -> Pixels:
        """Pixels of the cut that belong to the component."""
        rows, columns = pixels
        height, width = self.pixels.shape
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        inside[inside] = self.pixels[rows[inside], columns[inside]]
        return rows[inside], columns[inside]

    def _noise(self, count: int, at: Pixels, cell_px: float, rng: np.random.Generator) -> Float[np.ndarray, "count P"]:
        """Smooth noise of variance about 1 at some pixels of the cut."""
        cells = (1 + int(side // cell_px) for side in self.pixels.shape)
        rows, columns = (spline_weights(side, n)[i] for side, n, i in zip(self.pixels.shape, cells, at, strict=True))
        knots = rng.standard_normal((count, rows.shape[1], columns.shape[1]), dtype=np.float32)
        return (rows @ knots * columns).sum(-1) / np.float32(0.479)  # mean sum of squared weights, once per axis

    def _on_image(self, pixel: Sequence[int] | Int[np.ndarray, " 2"]) -> tuple[int, int]:
        return self.corner[0] + int(pixel[0]), self.corner[1] + int(pixel[1])

    def _line(self, rng: np.random.Generator) -> Bool[np.ndarray, "h w"]:
        start, end = (np.array(random_pixel(self.pixels, rng)) for _ in range(2))
        steps = 1 + abs(end - start).max()
        course = np.zeros_like(self.pixels)
        course[tuple(np.linspace(start, end, steps).round().astype(int).T)] = True
        return course & self.pixels

    def _ridge(self, rng: np.random.Generator) -> Bool[np.ndarray, "h w"]:
        """Pixels deeper than those before them in their row or column and as deep as those behind, if deep enough."""
        depth = np.pad(self.depth, 1)
        here, up, down = depth[1:-1, 1:-1], depth[:-2, 1:-1], depth[2:, 1:-1]
        left, right = depth[1:-1, :-2], depth[1:-1, 2:]
        tops = ((here > up) & (here >= down)) | ((here > left) & (here >= right))
        return tops & (here > rng.uniform(0.2, 0.7) * here.max())

    def _contour(self, rng: np.random.Generator) -> Bool[np.ndarray, "h w"]:
        level = rng.uniform(0, self.depth.max() / 2)
        course = self.pixels & (self.depth > level) & (self.depth <= level + 1)
        return _some_of(course & (self.depth < self.frame), _some_of(course, self.pixels))


def random_pixel(region: Bool[np.ndarray, "H W"], rng: np.random.Generator) -> tuple[int, int]:
    """Draw one of the pixels of a region that has some."""
    among = np.flatnonzero(region)
    row, column = divmod(int(among[rng.integers(len(among))]), region.shape[1])
    return row, column


def _some_of(wanted: Bool[np.ndarray, "h w"], otherwise: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    return wanted if wanted.any() else otherwise


def _near(course: Pixels, hand: Hand, rng: np.random.Generator) -> Pixels:
    """Keep what is not far from one of the pixels."""
    rows, columns = course
    one, reach_px = rng.integers(len(rows)), hand.scale * rng.uniform(*REACH_PX)
    near = (rows - rows[one]) ** 2 + (columns - columns[one]) ** 2 <= reach_px**2
    return rows[near], columns[near]


def _thick(pixels: Pixels, width_px: int) -> Pixels:
    """Widen lines to this many pixels, downwards and to the right."""
    across = np.arange(width_px)
    rows, columns = np.broadcast_arrays(pixels[0] + across[:, None, None], pixels[1] + across[:, None])
    return rows.ravel(), columns.ravel()


@lru_cache(maxsize=8)
def _frame_distance(rows: int, columns: int) -> Int[np.ndarray, "H W"]:
    """Distance of each pixel to what is beyond the image, 1 at its border."""
    row, column = np.arange(1, rows + 1), np.arange(1, columns + 1)
    return np.minimum(np.minimum(row, row[::-1])[:, None], np.minimum(column, column[::-1]))
