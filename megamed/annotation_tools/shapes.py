"""Shapes made of the numbers in an annotation, one bad shape being noted instead of losing its image."""

import struct
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from megamed.annotation_tools.model import AnnotatedImage, LabelClass, Shape

FAULTS = (
    *(ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, OSError, RuntimeError),
    struct.error,
)
"""Errors that reading a shape raises which is not as its tool writes it."""

CORNERS = 360
"""Number of corners of the polygon that stands for an ellipse."""


class ShapeCollector:
    """Shapes of an image, and notes on what is left out or taken in one of several senses."""

    def __init__(self) -> None:
        self.shapes: list[Shape] = []
        self.unknown: list[Shape] = []
        self._notes: Counter[str] = Counter()

    def note(self, text: str) -> None:
        """Remember what a reader should tell, once for all shapes of which it is true."""
        self._notes[text] += 1

    def add(self, kind: str, read: Callable[..., Shape], *arguments: Any, judged: bool = True) -> None:
        """Add the shape that a function makes of its arguments, or note why it cannot.

        Args:
            kind: How the note calls it.
            read: The function.
            arguments: What it is given.
            judged: Whether somebody judged its pixels; else it bounds a region in which nobody did.
        """
        try:
            (self.shapes if judged else self.unknown).append(read(*arguments))
        except FAULTS as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            self.note(f"{kind} left out: {' '.join(reason.split()).rstrip('.')}")

    def onto(self, image: AnnotatedImage) -> AnnotatedImage:
        """Return an image with the shapes and the notes; its classes are those of the shapes unless it states some."""
        names = dict.fromkeys(shape.class_name for shape in self.shapes)
        notes = tuple(f"{count} × {text}" for text, count in self._notes.items())
        classes = image.classes or tuple(LabelClass(name) for name in names)
        return replace(image, shapes=tuple(self.shapes), unknown=tuple(self.unknown), classes=classes, notes=notes)


def ring(points: Any) -> Float[np.ndarray, "points 2"]:
    """Check the points of a closed contour.

    Raises:
        ValueError: If they are no three pairs of finite numbers.
    """
    array = np.array(points, float)
    if array.ndim != 2 or array.shape[0] < 3 or array.shape[1] != 2 or not np.isfinite(array).all():
        msg = f"expected three or more points of finite x and y, got {array.shape}"
        raise ValueError(msg)
    return array


def pairs(numbers: Sequence[Any]) -> Float[np.ndarray, "points 2"]:
    """Make a contour of numbers that are by turns x and y.

    Raises:
        ValueError: If their number is odd, or they are no contour.
    """
    if len(numbers) % 2:
        msg = f"expected pairs of x and y, got {len(numbers)} numbers"
        raise ValueError(msg)
    return ring(np.array(numbers, float).reshape(-1, 2))


def box(
    x: float, y: float, width: float, height: float, degrees: float = 0.0, about: tuple[float, float] | None = None
) -> Float[np.ndarray, "4 2"]:
    """Make the contour of a box.

    Args:
        x: Column of its left upper corner.
        y: Row of its left upper corner.
        width: Extent to the right.
        height: Extent downwards.
        degrees: Angle by which it is turned clockwise.
        about: The point about which it is turned; its centre, if none is given.
    """
    corners = ring([(x, y), (x + width, y), (x + width, y + height), (x, y + height)])
    centre = np.array(about or (x + width / 2, y + height / 2), float)
    return _turned(corners - centre, degrees) + centre


def ellipse(
    centre: tuple[float, float], radii: tuple[float, float], degrees: float = 0.0
) -> Float[np.ndarray, "points 2"]:
    """Make the contour of an ellipse, turned clockwise about its centre."""
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array(radii, float)
    return ring(_turned(points, degrees) + np.array(centre, float))


def _turned(points: Float[np.ndarray, "points 2"], degrees: float) -> Float[np.ndarray, "points 2"]:
    if not degrees:
        return points
    angle = np.deg2rad(degrees)
    return points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
