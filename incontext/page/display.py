"""Images as the screen shows them: grey values or colours of a plane as bytes, and thumbnails."""

import io
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import Image

from incontext.images.normalisation import choose, limits
from incontext.images.source_image import SourceImage
from megamed import formats

THUMBNAIL_PX = 88
WORD = 2**16 - 1
LETTERS = ("RL", "AP", "HF")
"""Letters of the sides of the patient, along each axis of its coordinates."""


@dataclass(frozen=True, eq=False)
class ScreenImage:
    """An image for the screen.

    Attributes:
        planes: Bytes of grey (N, H, W) or of red, green and blue (N, H, W, 3); or words of grey.
        low: Grey value that 0 stands for.
        high: Grey value that the largest number stands for.
        window: Grey values that are shown black and white at first.
    """

    planes: Shaped[np.ndarray, "N H W *C"] = field(repr=False)
    low: float
    high: float
    window: tuple[float, float]

    @classmethod
    def of(cls, case: SourceImage) -> "ScreenImage":
        """Make bytes or words of what was read; colours are read anew, as segmentation does without them."""
        low, high = float(case.planes.min()), float(case.planes.max())
        if (colours := _colours(case)) is not None:
            return cls(colours[None], 0.0, 255.0, (0.0, 255.0))
        window = limits(case, choose([case], "auto"))
        if not window[0] < window[1]:
            window = low, low + 1.0
        if case.dtype == np.uint8 and low >= 0 and high <= 255:
            return cls(case.planes.astype(np.uint8), 0.0, 255.0, window)
        scale = WORD / (high - low) if high > low else 0.0
        words = np.empty(case.planes.shape, np.uint16)
        for plane, into in zip(case.planes, words, strict=True):
            into[...] = ((plane.astype(np.float64) - low) * scale).round()
        return cls(words, low, high if high > low else low + 1, window)

    @property
    def has_colours(self) -> bool:
        """Whether pixels are red, green and blue."""
        return self.planes.ndim == 4

    @property
    def bits(self) -> int:
        """Number of bits of each number."""
        return self.planes.dtype.itemsize * 8

    def plane(self, index: int) -> bytes:
        """Numbers of a plane, rows one after the other, the lower byte of words first.

        Raises:
            ValueError: If there is no such plane.
        """
        if not 0 <= index < len(self.planes):
            msg = f"plane is unknown: expected 0 to {len(self.planes) - 1}, got {index}."
            raise ValueError(msg)
        return _bytes(self.planes[index])

    def across(self, axis: int, place: int) -> bytes:
        """Numbers of the plane through a row (axis 1) or a column (axis 2) of all planes, plane after plane."""
        return _bytes(self.planes.take(place, axis))

    def thumbnail(self, side_px: int = THUMBNAIL_PX) -> bytes:
        """PNG of the middle plane, fitted into a square."""
        plane = self.planes[len(self.planes) // 2]
        step = max(1, min(plane.shape[:2]) // (2 * side_px))  # a large image is not scaled as a whole
        values = plane[::step, ::step]
        if not self.has_colours:
            values = self._grey(values)
        picture = Image.fromarray(values)
        picture.thumbnail((side_px, side_px), Image.Resampling.BILINEAR)
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return buffer.getvalue()

    def _grey(self, values: Shaped[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
        stored = self.low + values * ((self.high - self.low) / (2**self.bits - 1))
        black, white = self.window
        return (np.clip((stored - black) / (white - black), 0, 1) * 255).astype(np.uint8)


def _bytes(plane: Shaped[np.ndarray, "..."]) -> bytes:
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


def _colours(case: SourceImage) -> UInt8[np.ndarray, "H W 3"] | None:
    """Read red, green and blue of a picture; None if it is grey, or no picture."""
    if case.kind != "image" or case.source is None or not case.source.is_file():
        return None
    stored = formats.read(formats.source_at(case.source)).displayed()
    array = stored.array
    if stored.axes != "YXC" or array.shape[-1] not in (3, 4) or array.shape[:2] != case.shape:
        return None
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array[..., :3])
    largest = float(np.iinfo(array.dtype).max) if array.dtype.kind == "u" else float(array.max()) or 1.0
    return (np.clip(array[..., :3] / largest, 0, 1) * 255).astype(np.uint8)
