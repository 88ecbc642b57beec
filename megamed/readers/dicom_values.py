"""Meaning of the stored pixels of a DICOM data set: units of the modality, colours, brightness, size."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Real, Shaped

DETECTOR_SPACING, MAGNIFICATION = "ImagerPixelSpacing", "EstimatedRadiographicMagnificationFactor"
ULTRASOUND_CM = 3
"""The code of centimetres among the units of an ultrasound region."""


def values_of(headers: Sequence[Any]) -> list[Real[np.ndarray, "..."]]:
    """Decode the images of one series: in Hounsfield or whatever units the headers state, bright being dense.

    Values of MONOCHROME1, where bright is empty, are subtracted from the highest one of the whole series, so that equal
    values stay equal in all slices.
    """
    images = [_values(header) for header in headers]
    inverted = [header.get("PhotometricInterpretation") == "MONOCHROME1" for header in headers]
    top = max((image.max() for image, is_inverted in zip(images, inverted, strict=True) if is_inverted), default=0)
    return [top - image if is_inverted else image for image, is_inverted in zip(images, inverted, strict=True)]


def number(header: Any, tag: str, default: float | int) -> float:
    """Read a number; an empty tag has the default, as has a missing one."""
    value = header.get(tag)
    return float(default if value is None or value == "" else value)


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
        if spacing := header.get(tag):
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


def _values(header: Any) -> Shaped[np.ndarray, "..."]:
    pixels = stored_pixels(header)
    if _has_palette(header):
        from pydicom.pixels.processing import apply_color_lut

        colours = apply_color_lut(pixels, header)[..., :3]
        return colours if colours.dtype == np.uint8 else (colours >> 8).astype(np.uint8)
    if number(header, "SamplesPerPixel", 1) > 1:
        return pixels
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


def stored_pixels(header: Any) -> Shaped[np.ndarray, "..."]:
    """Decode stored pixels; the data set keeps none of them."""
    deferred = header.get_item("PixelData", keep_deferred=True)
    _complete(header)
    try:
        return copy.copy(header).pixel_array
    finally:
        if deferred is not None:
            header[deferred.tag] = deferred


def _complete(header: Any) -> None:
    """Give tags that say how pixels are stored their usual values where they are empty or missing."""
    is_grey = number(header, "SamplesPerPixel", 1) == 1
    usual = {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2" if is_grey else "RGB",
        "PixelRepresentation": 0,
        "BitsStored": header.get("BitsAllocated"),
    }
    for tag, value in usual.items():
        if header.get(tag) in (None, ""):
            setattr(header, tag, value)
