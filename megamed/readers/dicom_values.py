"""Meaning of the stored pixels of a DICOM data set: units of the modality, colours, brightness, size."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Real, Shaped

from megamed.readers.dicom_headers import readable
from megamed.readers.dicom_stored import number, stored_pixels

DETECTOR_SPACING, MAGNIFICATION = "ImagerPixelSpacing", "EstimatedRadiographicMagnificationFactor"
ULTRASOUND_CM = 3
"""The code of centimetres among the units of an ultrasound region."""
FULL_BYTE = 255
PADDED = "what the header calls padding is read as the darkest of the other values"
FEW_BITS = "its palette has 16 bits and uses 8: colours are read by these"


def values_of(headers: Sequence[Any], notes: list[str] | None = None) -> list[Real[np.ndarray, "..."]]:
    """Decode the images of one series: in Hounsfield or whatever units the headers state, bright being dense.

    Values of MONOCHROME1, where bright is empty, are subtracted from the highest one of the whole series, so that equal
    values stay equal in all slices.

    Args:
        headers: Data sets of the images.
        notes: List to which remarks are added, each once.

    Raises:
        ValueError: If pixels cannot be decoded; it names their file.
        ImportError: If the codec that they need is not installed.
    """
    notes = [] if notes is None else notes
    decoded = [_values(header, notes) for header in headers]
    images, padding = [image for image, _ in decoded], [padding for _, padding in decoded]
    inverted = [header.get("PhotometricInterpretation") == "MONOCHROME1" for header in headers]
    judged = (_judged(*each) for each, is_inverted in zip(decoded, inverted, strict=True) if is_inverted)
    top = max((values.max() for values in judged), default=0)
    images = [top - image if is_inverted else image for image, is_inverted in zip(images, inverted, strict=True)]
    return _without_padding(images, padding, notes)


def _judged(image: Real[np.ndarray, "..."], padding: Bool[np.ndarray, "..."] | None) -> Real[np.ndarray, "..."]:
    """Return the values that are no padding."""
    return image if padding is None else image[~padding]


def _without_padding(
    images: list[Real[np.ndarray, "..."]], padding: Sequence[Bool[np.ndarray, "..."] | None], notes: list[str]
) -> list[Real[np.ndarray, "..."]]:
    """Give padding the darkest of the other values, where it is brighter than all or takes more than half of the range.

    Padding that is about as dark as the rest stays as it is.
    """
    if all(each is None for each in padding):
        return images
    ranges = [(values.min(), values.max()) for values in map(_judged, images, padding)]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    filled = []
    for image, where in zip(images, padding, strict=True):
        is_far = (image > high) | (image < low - (high - low)) if where is not None else np.zeros((), bool)
        filled.append(np.where(is_far, low, image) if is_far.any() else image)
        notes += [PADDED] if is_far.any() and PADDED not in notes else []
    return filled


def has_colours(header: Any) -> bool:
    """Whether a file holds red, green and blue, or indices of a palette of these."""
    return number(header, "SamplesPerPixel", 1) > 1 or _has_palette(header)


def frame_group(header: Any, frame: int, name: str) -> Any:
    """Return what an enhanced file says of a frame in a functional group, as `PlanePosition`.

    It is the item for this frame, else the one for all frames, else, as in files of one image, the data set itself.
    """
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or ()
    shared = header.get("SharedFunctionalGroupsSequence") or ()
    for groups in (*per_frame[frame : frame + 1], *shared[:1]):
        if items := groups.get(f"{name}Sequence"):
            return items[0]
    return header


def pixel_spacing_mm(header: Any) -> tuple[float, float] | None:
    """Find the distances of rows and of columns: in the patient, else at the detector, else of an ultrasound region.

    Those at the detector are reduced by the magnification, where the header estimates it.
    """
    for tag in ("PixelSpacing", DETECTOR_SPACING, "NominalScannedPixelSpacing"):
        if (spacing := header.get(tag)) and all(float(side) > 0 for side in spacing):
            magnified = number(header, MAGNIFICATION, 1) if tag == DETECTOR_SPACING else 1.0
            return float(spacing[0]) / (magnified or 1.0), float(spacing[1]) / (magnified or 1.0)
    regions = header.get("SequenceOfUltrasoundRegions") or ()
    deltas = {
        (abs(10 * float(region.PhysicalDeltaY)), abs(10 * float(region.PhysicalDeltaX)))
        for region in regions
        if region.get("PhysicalUnitsXDirection") == region.get("PhysicalUnitsYDirection") == ULTRASOUND_CM
    }
    return deltas.pop() if len(deltas) == 1 == len(regions) else None


def spacing_note(header: Any) -> tuple[str, ...]:
    """Say that the size of pixels is the one at the detector, where the one in the patient is not known."""
    is_known = header.get("PixelSpacing") or number(header, MAGNIFICATION, 0)
    if is_known or not header.get(DETECTOR_SPACING):
        return ()
    return ("areas are those at the detector, larger than in the patient: the header states no magnification",)


def _has_palette(header: Any) -> bool:
    return header.get("PhotometricInterpretation") == "PALETTE COLOR"


def _values(header: Any, notes: list[str]) -> tuple[Shaped[np.ndarray, "..."], Bool[np.ndarray, "..."] | None]:
    """Return the values of an image, and which of its pixels are padding."""
    with readable(Path(header.filename)):
        stored = stored_pixels(header, notes)
        if _has_palette(header):
            return _coloured(stored.values, header, notes), None
        if number(header, "SamplesPerPixel", 1) > 1:
            return stored.values, None
        return _in_units(stored.values, header), stored.padding


def _coloured(indices: Shaped[np.ndarray, "..."], header: Any, notes: list[str]) -> Shaped[np.ndarray, "... 3"]:
    """Look up the colours of indices, in 8 bits."""
    from pydicom.pixels.processing import apply_color_lut

    colours = apply_color_lut(indices, header)[..., :3]
    if colours.dtype == np.uint8:
        return colours
    if colours.max() <= FULL_BYTE:
        notes += [FEW_BITS] if FEW_BITS not in notes else []
        return colours.astype(np.uint8)
    return (colours >> 8).astype(np.uint8)


def _in_units(pixels: Shaped[np.ndarray, "..."], header: Any) -> Shaped[np.ndarray, "..."]:
    """Apply the table, or slope and intercept of each frame."""
    if header.get("ModalityLUTSequence"):
        from pydicom.pixels.processing import apply_modality_lut

        return apply_modality_lut(pixels, header).astype(np.float32)
    frames = len(header.get("PerFrameFunctionalGroupsSequence") or ())
    scales = [frame_group(header, frame, "PixelValueTransformation") for frame in range(max(frames, 1))]
    # a slope of zero would make all pixels equal, so it is taken for a missing one
    slopes = np.array([number(scale, "RescaleSlope", 1) or 1.0 for scale in scales], np.float32)
    intercepts = np.array([number(scale, "RescaleIntercept", 0) for scale in scales], np.float32)
    scaled = pixels.astype(np.float32).reshape(len(scales), -1) * slopes[:, None] + intercepts[:, None]
    return scaled.reshape(pixels.shape)
