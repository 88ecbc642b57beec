"""Pure array to array: intensities to [0, 1], slices of volumes, square 128-pixel images and masks."""

import re

import numpy as np
from jaxtyping import Bool, Float, Integer, Real, UInt8
from PIL import Image

VERSION = 1
"""Raised whenever the same file would be standardised differently."""
AXES = ("sagittal", "coronal", "axial")
CT_WINDOW_HU = (-500.0, 1000.0)
MR_PERCENTILES = (0.5, 99.5)
THICK_SPACING_RATIO = 2.0
THIN_STACK_SHARE = 0.25
SPACING_TOLERANCE = 0.01


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
        values = values.clip(*np.percentile(values[values > 0], MR_PERCENTILES))
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


def informative_slices(masks: list[Bool[np.ndarray, "X Y Z"]], axis: int) -> list[int]:
    """Choose slices along an axis: the middle one if labelled, and for each mask the one with its largest area.

    Source:
        Butoi et al., UniverSeg, ICCV 2023, section 4.1.
    """
    areas = np.stack([mask.sum(axis=tuple({0, 1, 2} - {axis})) for mask in masks])
    middle = areas.shape[1] // 2
    chosen = {int(area.argmax()) for area in areas if area.any()}
    return sorted(chosen | ({middle} if areas[:, middle].any() else set()))


def display_plane(volume: Real[np.ndarray, "X Y Z"], axis: int, index: int) -> Real[np.ndarray, "H W"]:
    """Cut a RAS volume as radiologists show it: head or front up, the patient's right or front at the left."""
    return np.ascontiguousarray(volume.take(index, axis).T[::-1, ::-1])


def display_spacing(spacing_mm: tuple[float, float, float], axis: int) -> tuple[float, float]:
    """Pixel size along H and W of `display_plane`."""
    width_mm, height_mm = (size for other, size in enumerate(spacing_mm) if other != axis)
    return height_mm, width_mm


def pad_to_square(
    image: Real[np.ndarray, "H W"], spacing_mm: tuple[float, float] = (1.0, 1.0)
) -> Real[np.ndarray, "S T"]:
    """Add zeros around an image until it is as high as wide in millimetres, the image in the middle."""
    size_mm = np.array(spacing_mm)
    if size_mm.max() <= (1 + SPACING_TOLERANCE) * size_mm.min():
        size_mm[:] = 1.0
    side_mm = np.multiply(image.shape, size_mm).max()
    missing = np.maximum(np.rint(side_mm / size_mm).astype(int) - image.shape, 0)
    before = missing // 2
    return np.pad(image, np.stack([before, missing - before], axis=1))


def resize(image: Float[np.ndarray, "H W"], size_px: int) -> Float[np.ndarray, "S S"]:
    """Resize bilinearly, antialiased when reducing."""
    picture = Image.fromarray(np.asarray(image, dtype=np.float32))
    return np.asarray(picture.resize((size_px, size_px), Image.Resampling.BILINEAR))


def standard_image(
    image: Float[np.ndarray, "H W"], size_px: int, spacing_mm: tuple[float, float] = (1.0, 1.0)
) -> UInt8[np.ndarray, "S S"]:
    """Pad to a square, resize and store [0, 1] as 0 to 255."""
    return np.rint(resize(pad_to_square(image, spacing_mm), size_px) * 255).clip(0, 255).astype(np.uint8)


def standard_mask(
    mask: Bool[np.ndarray, "H W"], size_px: int, spacing_mm: tuple[float, float] = (1.0, 1.0)
) -> UInt8[np.ndarray, "S S"]:
    """Pad to a square, resize and keep the pixels that are at least half covered.

    A structure thinner than half a pixel of the result vanishes; the image is then no sample of its task.
    """
    return (resize(pad_to_square(mask.astype(np.float32), spacing_mm), size_px) >= 0.5).astype(np.uint8)


def binary_masks(
    label: Integer[np.ndarray, "..."], values: dict[str, tuple[int, ...]]
) -> dict[str, Bool[np.ndarray, "..."]]:
    """Split a label map into the masks present in it, each the union of its label values."""
    masks = {name: np.isin(label, united) for name, united in values.items()}
    return {name: mask for name, mask in masks.items() if mask.any()}
