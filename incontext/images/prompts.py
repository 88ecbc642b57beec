"""Prompts: clicks, scribbles, boxes and masks by which a person says on an image's own grid where a class is."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from jaxtyping import Bool, Shaped

from megamed.annotation_tools.run_lengths import RunMask

Kind = Literal["click", "scribble", "box", "mask"]
Number = int | float | np.integer | np.floating
"""A row or column of an image, or a place within it."""
Points = Sequence[Sequence[Number]]
"""Rows and columns of points on a line."""


@dataclass(frozen=True)
class DrawnMask:
    """A mask as a value that can be compared: runs down its columns, by turns outside and inside, as COCO has them."""

    size: tuple[int, int]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, mask: Bool[np.ndarray, "H W"]) -> Self:
        """Find the runs of a mask."""
        runs = RunMask.of_mask(mask, "F")
        return cls(runs.shape, tuple(runs.counts.tolist()))

    def pixels(self) -> Bool[np.ndarray, "H W"]:
        """Expand the runs.

        Raises:
            ValueError: If they do not fill the mask.
        """
        return RunMask.of_counts(self.counts, self.size, "F").pixels()


@dataclass(frozen=True)
class Stroke:
    """Prompt of one kind about one class: a click, a scribble, a box, or a mask to start from.

    Attributes:
        kind: Kind of the prompt; a `mask` is one to start from.
        where: Row and column of a click; top, left, bottom and right of a box, of which the last two are beyond it;
            of a scribble points that a line joins, or the mask that was drawn; the mask to start from.
        inside: Whether these pixels are said to be of the class, or not to be. A box and a mask have it True.
        label: Label value of the class; None for the usual one, which is the first.
        plane: Index of the plane of a stack or volume.
    """

    kind: Kind
    where: tuple[int, ...] | tuple[tuple[int, int], ...] | DrawnMask
    inside: bool = True
    label: int | None = None
    plane: int | None = None


@dataclass(frozen=True)
class Prompts:
    """Prompts about one image, in the order in which they were made: each is answered before the next.

    >>> Prompts().click(40, 25).click(8, 9, inside=False).box(10, 12, 60, 70).strokes[2].where
    (10, 12, 60, 70)

    Rows and columns are those of the image's own array. Fractions belong to the pixel that they lie in.
    """

    strokes: tuple[Stroke, ...] = ()

    def click(
        self, row: Number, column: Number, inside: bool = True, *, label: int | None = None, plane: int | None = None
    ) -> Self:
        """Add that a pixel is inside or outside.

        Raises:
            ValueError: If a number is not finite.
        """
        return self._with(Stroke("click", _whole((row, column), "click"), inside, label, plane))

    def scribble(
        self,
        drawn: Shaped[np.ndarray, "..."] | Points,
        inside: bool = True,
        *,
        label: int | None = None,
        plane: int | None = None,
    ) -> Self:
        """Add that pixels that were drawn are inside or outside.

        Args:
            drawn: A mask on the image's grid, or the rows and columns of points that a line joins.
            inside: Which of the two.
            label: Label value of the class.
            plane: Index of the plane of a stack or volume.

        Raises:
            ValueError: If nothing was drawn, or it is neither.
        """
        return self._with(Stroke("scribble", _drawn(drawn), inside, label, plane))

    def box(
        self,
        top: Number,
        left: Number,
        bottom: Number,
        right: Number,
        *,
        label: int | None = None,
        plane: int | None = None,
    ) -> Self:
        """Add that the class is within rows `top` to `bottom` and columns `left` to `right`, the last two left out.

        Raises:
            ValueError: If a number is not finite.
        """
        first, last = _whole((min(top, bottom), min(left, right)), "box"), (max(top, bottom), max(left, right))
        beyond = _whole(tuple(map(math.ceil, last)) if all(map(math.isfinite, last)) else last, "box")
        return self._with(Stroke("box", (*first, *beyond), True, label, plane))

    def start_from(
        self, mask: Shaped[np.ndarray, "H W"], *, label: int | None = None, plane: int | None = None
    ) -> Self:
        """Add a mask of the class to go on from; what was said of the class before does not count any more.

        Raises:
            ValueError: If it has other than two axes.
        """
        return self._with(Stroke("mask", DrawnMask.of(_mask(mask, "mask")), True, label, plane))

    @property
    def labels(self) -> list[int]:
        """Label values that are named, ascending."""
        return sorted({each.label for each in self.strokes if each.label is not None})

    def __len__(self) -> int:
        return len(self.strokes)

    def _with(self, stroke: Stroke) -> Self:
        return replace(self, strokes=(*self.strokes, stroke))


def _whole(numbers: Sequence[Number], name: str) -> tuple[int, ...]:
    if not all(map(math.isfinite, numbers)):
        msg = f"{name} is nowhere: expected finite numbers, got {tuple(numbers)}. Pass rows and columns of the image."
        raise ValueError(msg)
    return tuple(math.floor(number) for number in numbers)


def _drawn(drawn: Shaped[np.ndarray, "..."] | Points) -> tuple[tuple[int, int], ...] | DrawnMask:
    if isinstance(drawn, np.ndarray) and not (drawn.ndim == 2 and drawn.shape[1] == 2):
        mask = _mask(drawn, "scribble")
        if not mask.any():
            msg = "scribble is empty: expected a pixel at least, got a mask of none. Draw one."
            raise ValueError(msg)
        return DrawnMask.of(mask)
    points = [tuple(point) if isinstance(point, Iterable) else () for point in drawn]
    if not points or any(len(point) != 2 for point in points):
        msg = f"scribble is no line: expected rows and columns of points, got {drawn!r}. Pass [(row, column), …]."
        raise ValueError(msg)
    whole = [_whole(point, "scribble") for point in points]
    return tuple((row, column) for row, column in whole)


def _mask(mask: Shaped[np.ndarray, "..."], name: str) -> Bool[np.ndarray, "H W"]:
    if mask.ndim != 2:
        msg = f"{name} is no mask: expected two axes, got {mask.shape}. Pass that of an image, or of one plane."
        raise ValueError(msg)
    return mask != 0
