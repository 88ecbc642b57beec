"""Images as the screen shows them: grey values or colours of a plane as bytes, and thumbnails."""

import io
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import Image

from incontext.images.normalisation import choose, limits
from incontext.images.source_image import SourceImage
from incontext.page.look import PLAIN, Look
from megamed.readers.stored import StoredImage

THUMBNAIL_PX = 88
MOST_ASPECT = 4
"""Times that a thumbnail is longer than wide, at most."""
PIXELS_AT_A_TIME = 2**18
"""Pixels that are scaled at a time, so that a large image takes little memory beside itself."""
LETTERS = ("RL", "AP", "HF")
"""Letters of the sides of the patient, along each axis of its coordinates."""


@dataclass(frozen=True)
class Scale:
    """Meaning of the numbers that a screen is sent.

    Attributes:
        low: Grey value that 0 stands for.
        high: Grey value that the largest number stands for.
        window: Grey values that are shown black and white at first.
        bits: Number of bits of each number.
        has_colours: Whether pixels are red, green and blue.
    """

    low: float
    high: float
    window: tuple[float, float]
    bits: int = 8
    has_colours: bool = False

    @classmethod
    def of(cls, case: SourceImage) -> Self:
        """Scale the grey values of an image: bytes stay, all else becomes words."""
        low, high = float(case.planes.min()), float(case.planes.max())
        window = limits(case, choose([case], "auto"))
        if not window[0] < window[1]:
            window = low, low + 1.0
        if case.dtype == np.uint8 and low >= 0 and high <= 255:
            return cls(0.0, 255.0, window)
        return cls(low, high if high > low else low + 1.0, window, 16)

    def of_file(self, dtype: np.dtype) -> Self:
        """Scale words so that no pixel of a file can lie outside, if those that were looked at are not all."""
        return self if self.has_colours or dtype != np.uint16 else replace(self, low=0.0, high=float(2**self.bits - 1))

    def numbers(self, values: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """Numbers of grey values; those of colours are what they are."""
        if self.has_colours:
            return values
        largest = 2**self.bits - 1
        numbers = np.empty(values.shape, np.uint8 if self.bits == 8 else np.uint16)
        rows = max(1, PIXELS_AT_A_TIME * len(values) // max(values.size, 1))
        for start in range(0, len(values), rows):
            scaled = values[start : start + rows].astype(np.float64)
            scaled -= self.low
            scaled *= largest / (self.high - self.low)
            numbers[start : start + rows] = scaled.round(out=scaled).clip(0, largest, out=scaled)
        return numbers


COLOURED = Scale(0.0, 255.0, (0.0, 255.0), has_colours=True)


@dataclass(frozen=True, eq=False)
class ScreenImage:
    """An image for the screen.

    Attributes:
        planes: Bytes of grey (N, H, W) or of red, green and blue (N, H, W, 3); or words of grey.
        scale: Meaning of these numbers.
    """

    planes: Shaped[np.ndarray, "N H W *C"] = field(repr=False)
    scale: Scale

    @classmethod
    def of(cls, case: SourceImage, look: Look = PLAIN) -> Self:
        """Make bytes or words of what was read; colours are read anew, as segmentation does without them."""
        if (colours := _colours(case, look)) is not None:
            return cls(colours[None], COLOURED)
        scale = Scale.of(case)
        planes = np.empty(case.planes.shape, np.uint8 if scale.bits == 8 else np.uint16)
        for plane, into in zip(case.planes, planes, strict=True):
            into[...] = scale.numbers(plane)
        return cls(planes, scale)

    def plane(self, index: int) -> bytes:
        """Numbers of a plane, rows one after the other, the lower byte of words first.

        Raises:
            ValueError: If there is no such plane.
        """
        if not 0 <= index < len(self.planes):
            msg = f"plane is unknown: expected 0 to {len(self.planes) - 1}, got {index}."
            raise ValueError(msg)
        return told(self.planes[index])

    def across(self, axis: int, place: int) -> bytes:
        """Numbers of the plane through a row (axis 1) or a column (axis 2) of all planes, plane after plane."""
        return told(self.planes.take(place, axis))

    def thumbnail(self, side_px: int = THUMBNAIL_PX) -> bytes:
        """PNG of the middle plane, fitted into a square; of a long one the middle, so that something can be seen."""
        plane = self.planes[len(self.planes) // 2]
        rows, columns = (min(side, MOST_ASPECT * min(plane.shape[:2])) for side in plane.shape[:2])
        top, left = (plane.shape[0] - rows) // 2, (plane.shape[1] - columns) // 2
        plane = plane[top : top + rows, left : left + columns]
        step = max(1, min(plane.shape[:2]) // (2 * side_px))  # a large image is not scaled as a whole
        values = plane[::step, ::step]
        if not self.scale.has_colours:
            values = self._grey(values)
        picture = Image.fromarray(values)
        picture.thumbnail((side_px, side_px), Image.Resampling.BILINEAR)
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return buffer.getvalue()

    def _grey(self, values: Shaped[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
        scale = self.scale
        stored = scale.low + values * ((scale.high - scale.low) / (2**scale.bits - 1))
        black, white = scale.window
        return (np.clip((stored - black) / (white - black), 0, 1) * 255).astype(np.uint8)


def told(plane: Shaped[np.ndarray, "..."]) -> bytes:
    """Numbers one after the other, the lower byte of words first."""
    return plane.astype(plane.dtype.newbyteorder("<")).tobytes()


def rises(case: SourceImage) -> bool:
    """Whether each plane lies nearer to the head than the one before it."""
    affine = None if case.geometry is None else case.geometry.affine
    if affine is None:
        return False
    through = affine[:3, case.view.axes[0]] * case.view.steps[0]
    return int(np.abs(through).argmax()) == 2 and through[2] > 0


def sides(case: SourceImage) -> list[str]:
    """Sides of the patient at the left, top, right and bottom of the planes, a letter each; none if unknown.

    Letters are right and left (R, L), front and back (A, P), head and feet (H, F).
    """
    affine = None if case.geometry is None else case.geometry.affine
    if affine is None:
        return []
    down, right = (affine[:3, case.view.axes[i]] * case.view.steps[i] for i in (1, 2))

    def letter(way: Float[np.ndarray, "3"]) -> str:
        axis = int(np.abs(way).argmax())
        return LETTERS[axis][0 if way[axis] > 0 else 1]

    return [letter(-right), letter(-down), letter(right), letter(down)]


def colours_in(stored: StoredImage) -> UInt8[np.ndarray, "H W 3"] | None:
    """Red, green and blue of what a file holds, as it is displayed; None if it is grey, or no single picture."""
    array = stored.array
    if stored.axes != "YXC" or array.shape[-1] not in (3, 4):
        return None
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array[..., :3])
    largest = float(np.iinfo(array.dtype).max) if array.dtype.kind == "u" else float(array.max()) or 1.0
    return (np.clip(array[..., :3] / largest, 0, 1) * 255).astype(np.uint8)


def _colours(case: SourceImage, look: Look) -> UInt8[np.ndarray, "H W 3"] | None:
    """Read red, green and blue of a picture; None if it is grey, or no picture."""
    if case.kind != "image" or case.source is None or not case.source.is_file():
        return None
    found = colours_in(look.stored(case.source))
    return None if found is None or found.shape[:2] != case.shape else found
