"""Pure array to array: intensities to [0, 1], slices of volumes, square images and masks of one size."""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Integer, Real, Shaped, UInt8
from PIL import Image

from megamed.squares import CT_WINDOW_HU, SQUARE_PIXELS_MM, letterbox, level_of_equal_area, positive_percentiles, resize

AXES = ("sagittal", "coronal", "axial")
THICK_SPACING_RATIO = 2.0
THIN_STACK_SHARE = 0.25

LabelResize = Literal["keep-area", "antialias", "nearest"]


@dataclass(frozen=True)
class Standard:
    """The standard of a collection: size and manner of its images and masks."""

    size_px: int = 128
    """Height and width of every image and mask, in pixels."""
    fit: Literal["pad", "stretch"] = "pad"
    """Way in which an oblong image becomes square: `pad` adds zeros around it, `stretch` scales its sides apart."""
    label_resize: LabelResize = "keep-area"
    """Pixels that a resized mask keeps: `keep-area`, of the most covered ones as many as make up its area, so that thin
    structures survive; `antialias`, those covered by half or more; `nearest`, those whose centre is covered."""
    every_nth: int | None = None
    """Slices of volumes to keep besides the informative ones: those whose index this divides."""

    def __post_init__(self) -> None:
        if self.size_px < 1 or (self.every_nth is not None and self.every_nth < 1):
            msg = f"standard is impossible: expected a positive size_px and every_nth, got {self}."
            raise ValueError(msg)


def unit_range(image: Real[np.ndarray, "..."], modality: str) -> Float[np.ndarray, "..."]:
    """Bring intensities to [0, 1]: clip by modality, then min–max.

    CT in Hounsfield units is clipped to [-500, 1000], MR to the 0.5 and 99.5 percentiles of its positive
    values. Eight-bit images were windowed by whoever made them and are never clipped.

    Raises:
        ValueError: If a value is not finite or all are equal.

    Source:
        Butoi et al., UniverSeg, ICCV 2023, supplement.
    """
    values = np.asarray(image, dtype=np.float32)
    if not np.isfinite(values).all():
        msg = f"image is not finite: expected numbers, got {np.count_nonzero(~np.isfinite(values))} NaN or infinite."
        raise ValueError(msg)
    if image.dtype != np.uint8 and re.search(r"\bCT\b", modality):
        values = values.clip(*CT_WINDOW_HU)
    elif image.dtype != np.uint8 and re.search(r"\bMRI?\b", modality) and (values > 0).any():
        values = values.clip(*positive_percentiles(values))
    low, high = values.min(), values.max()
    if low == high:
        msg = f"image is constant: expected at least two values, got only {low:g}."
        raise ValueError(msg)
    return (values - low) / (high - low)


def slicing_axes(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> list[int]:
    """Choose the axes to slice a volume along: all three, or only the through-plane one of thick slices.

    Slices are thick when one spacing is at least twice the smallest, or the stack is shorter than a quarter of
    both other sides.
    """
    through_plane = int(np.argmax(spacing_mm))
    if max(spacing_mm) >= THICK_SPACING_RATIO * min(spacing_mm):
        return [through_plane]
    shortest = int(np.argmin(shape))
    others = [side for axis, side in enumerate(shape) if axis != shortest]
    return [shortest] if shape[shortest] < THIN_STACK_SHARE * min(others) else [0, 1, 2]


def informative_slices(areas: Integer[np.ndarray, "masks slices"], every_nth: int | None = None) -> list[int]:
    """Choose slices along an axis: the middle one if labelled, and for each mask the one with its largest area.

    Args:
        areas: Area of each mask on each slice, in pixels.
        every_nth: Divisor of the indices of further labelled slices to choose; None chooses no others.

    Source:
        Butoi et al., UniverSeg, ICCV 2023, section 4.1.
    """
    slices = areas.shape[1]
    largest = {int(area.argmax()) for area in areas if area.any()}
    spread = {slices // 2, *range(0, slices if every_nth else 0, every_nth or 1)}
    return sorted(largest | {index for index in spread if areas[:, index].any()})


def display_plane(volume: Shaped[np.ndarray, "X Y Z"], axis: int, index: int) -> Shaped[np.ndarray, "H W"]:
    """Cut a RAS volume as radiologists show it: head or front up, the patient's right or front at the left."""
    return np.ascontiguousarray(volume.take(index, axis).T[::-1, ::-1])


def display_spacing(spacing_mm: tuple[float, float, float], axis: int) -> tuple[float, float]:
    """Pixel size along H and W of `display_plane`."""
    width_mm, height_mm = (size for other, size in enumerate(spacing_mm) if other != axis)
    return height_mm, width_mm


def pad_to_square(
    image: Real[np.ndarray, "H W"], spacing_mm: tuple[float, float] = SQUARE_PIXELS_MM
) -> Real[np.ndarray, "S T"]:
    """Add zeros around an image until it is as high as wide in millimetres, the image in the middle.

    Raises:
        ValueError: If the image is so oblong, or its header says so, that the square would not fit in memory.
    """
    return letterbox((image.shape[0], image.shape[1]), spacing_mm).cut(image)


def standard_image(
    image: Float[np.ndarray, "H W"], standard: Standard, spacing_mm: tuple[float, float] = SQUARE_PIXELS_MM
) -> UInt8[np.ndarray, "S S"]:
    """Make square, resize and store [0, 1] as 0 to 255."""
    resized = resize(_squared(image, standard, spacing_mm), standard.size_px)
    return np.rint(resized * 255).clip(0, 255).astype(np.uint8)


def standard_mask(
    mask: Bool[np.ndarray, "H W"], standard: Standard, spacing_mm: tuple[float, float] = SQUARE_PIXELS_MM
) -> UInt8[np.ndarray, "S S"]:
    """Make square and resize; see `Standard.label_resize` for what stays.

    A structure may vanish: one with less area than half a pixel of the result, if antialiased even one that is thinner
    than that. The image is then no sample of its task.
    """
    nearest = standard.label_resize == "nearest"
    resampling = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
    coverage = resize(_squared(mask.astype(np.float32), standard, spacing_mm), standard.size_px, resampling)
    level = level_of_equal_area(coverage) if standard.label_resize == "keep-area" else 0.5
    return (coverage >= level).astype(np.uint8)


def _squared(
    image: Real[np.ndarray, "H W"], standard: Standard, spacing_mm: tuple[float, float]
) -> Real[np.ndarray, "S T"]:
    return pad_to_square(image, spacing_mm) if standard.fit == "pad" else image
