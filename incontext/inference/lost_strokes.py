"""Strokes that are thinner than a pixel of the network's grid: what a person judged of an example and nobody learns."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from megamed.notes import counted
from megamed.squares import Box

ENOUGH = 3
"""Pixels of the network's grid that are as thick as a stroke of which some pixel is kept wherever it lies."""


class Lost(NamedTuple):
    """Strokes of an example of which the network's grid keeps nothing.

    Attributes:
        example: Name of the example.
        value: Label value of their class; 0 where the example shows none.
        is_inside: Whether they are inside of it.
        least_px: Thickness, in pixels of the image, at which something would be kept.
    """

    example: str
    value: int
    is_inside: bool
    least_px: int


@dataclass
class Strokes:
    """Judged pixels inside and outside of each class in windows of an example, and whether squares keep some of them.

    Attributes:
        drawn: Label values of classes, and whether something inside or outside of them is judged.
        kept: Label values of classes, and whether a square keeps something inside or outside of them.
        least_px: Thickness, in pixels of the image, at which something would be kept.
    """

    drawn: set[tuple[int, bool]] = field(default_factory=set)
    kept: set[tuple[int, bool]] = field(default_factory=set)
    least_px: int = 0

    def add(
        self,
        box: Box,
        unknown: Bool[np.ndarray, "H W"],
        masks: Mapping[int, Bool[np.ndarray, "H W"]],
        squares: Mapping[int, UInt8[np.ndarray, "size size"]],
    ) -> None:
        """Compare classes in a window with their squares; the value 0 and an empty mask stand for all of them."""
        within = box.within(unknown.shape)
        for value, square in squares.items():
            inside, judged = masks[value][within], ~unknown[within]
            self.least_px = max(self.least_px, math.ceil(ENOUGH * max(box.height, box.width) / len(square)))
            found = ((inside, square == 1, True), (judged & ~inside, square == 0, False))
            self.drawn |= {(value, is_inside) for drawn, _, is_inside in found if drawn.any()}
            self.kept |= {(value, is_inside) for _, kept, is_inside in found if kept.any()}

    def lost(self, example: str) -> Iterator[Lost]:
        """Yield what no square of an example keeps."""
        return (Lost(example, *kind, self.least_px) for kind in sorted(self.drawn - self.kept))


def told(lost: Iterable[Lost], names: Mapping[int, str], size_px: int) -> list[str]:
    """Say what is lost of the first of several examples, and of how many others, and what to do.

    Args:
        lost: What is lost.
        names: Names of the classes by label value.
        size_px: Side of the network's grid.
    """
    return list(counted(_told(each, names, size_px) for each in lost))


def _told(lost: Lost, names: Mapping[int, str], size_px: int) -> str:
    where = f"{'inside' if lost.is_inside else 'outside'} of {names.get(lost.value, 'every class')}"
    return (
        f"{lost.example} has strokes {where} that are all lost on the network's grid, and not learnt from: expected "
        f"strokes {lost.least_px} pixels thick, got thinner ones. Draw them thicker, or see images in tiles of the "
        f"grid's size by tiling={size_px}"
    )
