"""Grey values to [0, 1]: one way for all images of a call, chosen from the labelled ones.

megamed.standardise is the reference: a network sees at work what it saw in training.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

import numpy as np
from jaxtyping import Float32

from incontext.images.shared_scale import SharedScale
from incontext.images.source_image import SourceImage
from megamed.squares import CT_WINDOW_HU, PERCENTILES, positive_percentiles

Scaling = Literal["min-max", "percentile", "window"]

AIR_HU = -500
"""An image as dark as this, most of whose values are those of CT, is taken for CT."""

LARGEST_HU = 4096

FEW_NEGATIVE = 0.05
"""Share of negative values up to which they are taken for errors, and those above 0 for the patient."""

LONG_TAIL = 0.25
"""Largest distance of the brightest value above the upper percentile, as a share of that between the percentiles."""

SAMPLED_PIXELS = 2**14
"""Number of pixels, about, that represent an image where not all are needed."""

BAND_PIXELS = 2**16
"""Number of pixels, about, that are scaled at a time."""


@dataclass(frozen=True)
class Normalisation:
    """Linear scaling of grey values to [0, 1].

    Attributes:
        kind: Source of the range that is scaled: each image's extremes, the percentiles of its positive values, or a
            window, the same for all. What is scaled as one image, `scaled_apart` says.
        low: Grey value of a window that becomes 0.
        high: Grey value of a window that becomes 1.
        reason: Reason for the kind, in words for the user.
        by_plane: Whether the planes of an array are scaled one by one, as a list of them would be.
        shared: Scale of grey values that labelled images share; None where it is not known.
    """

    kind: Scaling
    low: float | None = None
    high: float | None = None
    reason: str = ""
    by_plane: bool = False
    shared: SharedScale | None = None

    def reach(self, plane: Float32[np.ndarray, "H W"]) -> tuple[float, float]:
        """Least and greatest value of a plane in [0, 1]; of a window both its ends, which nothing has to reach.

        A structure that takes up contrast medium is as bright as others on one CT, and not on the next.
        """
        return (0.0, 1.0) if self.kind == "window" else (float(plane.min()), float(plane.max()))

    def __str__(self) -> str:
        window = f" {self.low:g} to {self.high:g}" if self.kind == "window" else ""
        return f"{self.kind}{window} ({self.reason})"


def choose(cases: Sequence[SourceImage], asked: str = "auto") -> Normalisation:
    """Choose how to scale images by the labelled ones among them.

    CT, as DICOM says or if most images are as dark as air, is clipped to a window; MR, as DICOM says, and what has few
    values far brighter than the others, to percentiles. Eight-bit images and those within [0, 1] were windowed by
    whoever made them and are never clipped.

    Unless there are volumes or files of several planes among them, nothing says that the planes of an array are one
    thing: they are scaled one by one.

    Args:
        cases: The labelled images.
        asked: `auto`, or the kind to take in any case.

    Raises:
        ValueError: If there is no such kind.
    """
    by_plane = all(case.kind == "image" or _is_array(case) for case in cases)
    cases = [part for case in cases for part in _parts(case, by_plane)]
    if asked == "auto":
        kind, reason = _suitable(cases)
    elif asked in get_args(Scaling):
        kind, reason = cast(Scaling, asked), "as asked"
    else:
        msg = f"scaling is unknown: expected auto, {', '.join(get_args(Scaling))}, got {asked!r}. Choose one of these."
        raise ValueError(msg)
    low, high = _window(cases) if kind == "window" else (None, None)
    return Normalisation(kind, low, high, reason, by_plane)


def on_shared_scale(normalisation: Normalisation, cases: Sequence[SourceImage]) -> Normalisation:
    """Return the same scaling, for images whose grey values mean what those of the labelled ones mean.

    Args:
        normalisation: The scaling that was chosen for them.
        cases: The labelled images that show a structure.
    """
    if normalisation.kind == "window":
        return normalisation
    parts = [part for case in cases for part in scaled_apart(case, normalisation)]
    ranges = [_own_limits(part, normalisation.kind) for part in parts]
    return replace(normalisation, shared=SharedScale.of(ranges, [sampled(part) for part in parts]))


def apply(case: SourceImage, normalisation: Normalisation) -> Float32[np.ndarray, "N H W"]:
    """The planes of a case in [0, 1]; a constant case becomes 0."""
    scaled = np.zeros(case.planes.shape, dtype=np.float32)
    results = iter(scaled)
    for part in scaled_apart(case, normalisation):
        low, high = limits(part, normalisation)
        for plane, result in zip(part.planes, results, strict=False):
            # a band of rows at a time, which fits into a cache
            step = max(1, BAND_PIXELS // plane.shape[1])
            for start in range(0, len(plane) if low < high else 0, step):
                # float64, because float32 cannot hold the difference of two extreme values
                values = plane[start : start + step].astype(np.float64)
                values -= low
                values /= high - low
                np.clip(values, 0, 1, out=result[start : start + step], casting="same_kind")
    return scaled


def scaled_apart(case: SourceImage, normalisation: Normalisation) -> list[SourceImage]:
    """The parts of a case of which each is scaled by itself: the planes of an array, else the whole case."""
    return _parts(case, normalisation.by_plane)


def of_plane(case: SourceImage, normalisation: Normalisation, plane: int) -> Normalisation:
    """The scaling by which a plane that is taken out of a case becomes what it becomes within it."""
    parts = scaled_apart(case, normalisation)
    low, high = limits(parts[plane if len(parts) > 1 else 0], normalisation)
    return replace(normalisation, low=low, high=high)


def limits(case: SourceImage, normalisation: Normalisation) -> tuple[float, float]:
    """The grey values of what is scaled as one image that become 0 and 1."""
    if normalisation.low is not None and normalisation.high is not None:
        return normalisation.low, normalisation.high
    own = _own_limits(case, normalisation.kind)
    return normalisation.shared.widened(*own, case.planes) if normalisation.shared else own


def _own_limits(case: SourceImage, kind: Scaling) -> tuple[float, float]:
    """The grey values that become 0 and 1 where nothing is known of others."""
    if kind == "percentile":
        low, high = _percentiles(case)
        if low < high:
            return low, high
    return float(case.planes.min()), float(case.planes.max())


def _is_array(case: SourceImage) -> bool:
    """Whether a stack is no file's, so that its planes may be of one thing or of many."""
    return case.kind == "stack" and case.source is None


def _parts(case: SourceImage, by_plane: bool) -> list[SourceImage]:
    return [replace(case, planes=plane[None]) for plane in case.planes] if by_plane and _is_array(case) else [case]


def _suitable(cases: Sequence[SourceImage]) -> tuple[Scaling, str]:
    modalities = {case.geometry.modality for case in cases if case.geometry}
    if all(case.dtype.itemsize == 1 for case in cases):
        return "min-max", "8-bit images: windowed before"
    if modalities == {"CT"}:
        return "window", "DICOM says CT"
    if modalities == {"MR"}:
        return "percentile", "DICOM says MR"
    if _most(map(_is_ct, cases)):
        return "window", f"values down to {AIR_HU} or below, as in CT"
    if all(case.planes.min() >= 0 and case.planes.max() <= 1 for case in cases):
        return "min-max", "values within 0 and 1: scaled before"
    if _most(map(_has_long_tail, cases)):
        return "percentile", "few values far brighter than the others"
    return "min-max", "no outliers"


def _most(answers: Iterable[bool]) -> bool:
    return bool(np.mean([*answers]) > 0.5)


def _is_ct(case: SourceImage) -> bool:
    return bool(case.planes.min() <= AIR_HU and np.quantile(np.abs(sampled(case)), 0.99) <= LARGEST_HU)


def _has_long_tail(case: SourceImage) -> bool:
    low, high = _percentiles(case)
    return float(case.planes.max()) - high > LONG_TAIL * (high - low)


def _percentiles(case: SourceImage) -> tuple[float, float]:
    """Percentiles of the positive values, or of all where many are negative, as in images scaled to a mean of 0."""
    values = case.planes
    few_negative = np.mean(values < 0) <= FEW_NEGATIVE
    low, high = (positive_percentiles(values) if few_negative else np.percentile(values, PERCENTILES)).tolist()
    return low, high


def _window(cases: Sequence[SourceImage]) -> tuple[float, float]:
    """The window for CT, or the part of it that the images fill."""
    low = max(CT_WINDOW_HU[0], min(float(case.planes.min()) for case in cases))
    high = min(CT_WINDOW_HU[1], max(float(case.planes.max()) for case in cases))
    return (low, high) if low < high else CT_WINDOW_HU


def sampled(case: SourceImage) -> Float32[np.ndarray, " pixels"]:
    """Evenly spread pixels of a case."""
    return case.planes.reshape(-1)[:: case.planes.size // SAMPLED_PIXELS | 1]
