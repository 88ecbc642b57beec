"""Grey values to [0, 1]: one way for all images of a call, chosen from the labelled ones; and what looks wrong there.

megamed.standardise is the reference: a network sees at work what it saw in training.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
from jaxtyping import Bool, Float, Float32

from incontext.cases import Case
from incontext.examples import Example

Scaling = Literal["min-max", "percentile", "window"]

CT_WINDOW_HU = (-500.0, 1000.0)
PERCENTILES = (0.5, 99.5)

AIR_HU = -500
"""An image as dark as this, most of whose values are those of CT, is taken for CT."""

LARGEST_HU = 4096

FEW_NEGATIVE = 0.05
"""Share of negative values up to which they are taken for errors, and those above 0 for the patient."""

LONG_TAIL = 0.25
"""How far above the upper percentile an image's brightest value may lie, as a share of what is between both."""

QUANTILES = np.linspace(0.05, 0.95, 19)
SAMPLED_PIXELS = 2**14
"""What contrast is judged by, of every image."""

CONTRAST, CONTRAST_OF_FEW = 0.15, 0.25
"""Mean difference of quantiles above which images differ in contrast, from many examples or from few.

Of 100 public datasets none exceeds the first between six and six of its images, two thirds do from their negatives.
"""

FEW = 4
"""Examples, below which contrast is judged less strictly."""

INVERTED = 0.5
"""Share of that difference below which an image looks more like the others when it is inverted."""

TINY_PX, TINY_SHARE = 10, 0.01
FULL_SHARE = 0.95
MANY_VALUES, EDGE_VALUES = 8, 3
WHITE = 255
STRETCH, SCALE = 2.0, 4.0
"""How many times oblonger, or larger, than the labelled images others may be."""


@dataclass(frozen=True)
class Normalisation:
    """How grey values become [0, 1].

    Attributes:
        kind: From where to where: each image's extremes, the percentiles of its positive values, or a window, the same
            for all. An image is a whole stack or volume.
        low: What becomes 0 of a window.
        high: What becomes 1 of a window.
        reason: Why.
    """

    kind: Scaling
    low: float | None = None
    high: float | None = None
    reason: str = ""

    def __str__(self) -> str:
        window = f" {self.low:g} to {self.high:g}" if self.kind == "window" else ""
        return f"{self.kind}{window} ({self.reason})"


def choose(cases: Sequence[Case], asked: str = "auto") -> Normalisation:
    """Choose how to scale images by the labelled ones among them.

    CT, as DICOM says or if most images are as dark as air, is clipped to a window; MR, as DICOM says, and what has few
    values far brighter than the others, to percentiles. Eight-bit images and those within [0, 1] were windowed by
    whoever made them and are never clipped.

    Args:
        cases: The labelled images.
        asked: `auto`, or the kind to take in any case.

    Raises:
        ValueError: If there is no such kind.
    """
    if asked == "auto":
        kind, reason = _suitable(cases)
    elif asked in get_args(Scaling):
        kind, reason = cast(Scaling, asked), "as asked"
    else:
        msg = f"scaling is unknown: expected auto, {', '.join(get_args(Scaling))}, got {asked!r}. Choose one of these."
        raise ValueError(msg)
    return Normalisation(kind, *_window(cases), reason) if kind == "window" else Normalisation(kind, reason=reason)


def apply(case: Case, normalisation: Normalisation) -> Float32[np.ndarray, "N H W"]:
    """The planes of a case in [0, 1]; a constant case becomes 0."""
    low, high = limits(case, normalisation)
    scaled = np.zeros(case.planes.shape, dtype=np.float32)
    if low < high:
        for plane, result in zip(case.planes, scaled, strict=True):
            # float64, because float32 cannot hold the difference of two extreme values
            result[:] = ((plane.astype(np.float64) - low) / (high - low)).clip(0, 1)
    return scaled


def limits(case: Case, normalisation: Normalisation) -> tuple[float, float]:
    """The grey values of a case that become 0 and 1."""
    if normalisation.low is not None and normalisation.high is not None:
        return normalisation.low, normalisation.high
    if normalisation.kind == "percentile":
        low, high = _percentiles(case)
        if low < high:
            return low, high
    return float(case.planes.min()), float(case.planes.max())


def _suitable(cases: Sequence[Case]) -> tuple[Scaling, str]:
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


def _is_ct(case: Case) -> bool:
    return bool(case.planes.min() <= AIR_HU and np.quantile(np.abs(_sampled(case)), 0.99) <= LARGEST_HU)


def _has_long_tail(case: Case) -> bool:
    low, high = _percentiles(case)
    return float(case.planes.max()) - high > LONG_TAIL * (high - low)


def _percentiles(case: Case) -> tuple[float, float]:
    """Of the positive values, or of all where many are negative, as in images scaled to a mean of 0."""
    values = case.planes
    if np.mean(values < 0) <= FEW_NEGATIVE and (values > 0).any():
        values = values[values > 0]
    low, high = np.percentile(values, PERCENTILES).tolist()
    return low, high


def _window(cases: Sequence[Case]) -> tuple[float, float]:
    """The window for CT, or the part of it that the images fill."""
    low = max(CT_WINDOW_HU[0], min(float(case.planes.min()) for case in cases))
    high = min(CT_WINDOW_HU[1], max(float(case.planes.max()) for case in cases))
    return (low, high) if low < high else CT_WINDOW_HU


def warn_about(
    examples: Sequence[Example], queries: Sequence[Case], normalisation: Normalisation | None = None
) -> list[str]:
    """Tell what looks wrong, each with its reason and a fix.

    Args:
        examples: Labelled images, or some of them.
        queries: Images to segment, or some of them.
        normalisation: How both are scaled; by default as the examples suggest.
    """
    cases = [example.case for example in examples]
    normalisation = normalisation or choose(cases)
    known, asked = ([_scaled(case, normalisation) for case in each] for each in (cases, queries))
    return [
        *_blank("support_images", cases, normalisation),
        *_blank("images", queries, normalisation),
        *_contrast(known, asked),
        *_sizes(cases, queries),
        *_cuts(cases, queries),
        *_areas(examples),
        *_values(examples),
    ]


def _sampled(case: Case) -> Float32[np.ndarray, " pixels"]:
    """Evenly spread pixels of a case."""
    return case.planes.reshape(-1)[:: case.planes.size // SAMPLED_PIXELS | 1]


def _scaled(case: Case, normalisation: Normalisation) -> Float[np.ndarray, " pixels"]:
    low, high = limits(case, normalisation)
    return ((_sampled(case).astype(np.float64) - low) / max(high - low, np.finfo(np.float64).tiny)).clip(0, 1)


def _blank(what: str, cases: Sequence[Case], normalisation: Normalisation) -> Iterator[str]:
    if count := sum(_is_blank(case, normalisation) for case in cases):
        yield (
            f"{what} show nothing: expected several grey values, got one in {count} of {len(cases)} after scaling by "
            f"{normalisation}. Leave blank images out, or choose another scaling."
        )


def _is_blank(case: Case, normalisation: Normalisation) -> bool:
    darkest, brightest = np.clip([case.planes.min(), case.planes.max()], *limits(case, normalisation))
    return bool(darkest == brightest)


def _contrast(known: Sequence[Float[np.ndarray, "..."]], asked: Sequence[Float[np.ndarray, "..."]]) -> Iterator[str]:
    theirs, ours = _quantiles(known), _quantiles(asked)
    if not theirs.size or not ours.size:
        return
    apart = _distance(ours, theirs)
    if apart <= (CONTRAST if len(theirs) >= FEW else CONTRAST_OF_FEW):
        return
    middle = len(QUANTILES) // 2
    got = f"expected a median brightness of {np.median(theirs[:, middle]):.2f}, got {np.median(ours[:, middle]):.2f}"
    if _distance(1 - ours[:, ::-1], theirs) < INVERTED * apart:
        yield f"images look like negatives of support_images: {got}. Invert one of them: image.max() - image."
    else:
        yield f"images differ from support_images in contrast: {got}. Pass images of the same kind and window."


def _quantiles(samples: Sequence[Float[np.ndarray, "..."]]) -> Float[np.ndarray, "..."]:
    """Of every sample that holds several values, a row each."""
    return np.array([np.quantile(sample, QUANTILES) for sample in samples if np.ptp(sample) > 0])


def _distance(ours: Float[np.ndarray, "N Q"], theirs: Float[np.ndarray, "M Q"]) -> float:
    """Mean difference in quantiles from the most similar one; the median over ours."""
    return float(np.median(np.abs(ours[:, None] - theirs).mean(axis=2).min(axis=1)))


def _sizes(cases: Sequence[Case], queries: Sequence[Case]) -> Iterator[str]:
    if not cases or not queries:
        return
    for what, limit, measure in (("height to width", STRETCH, _aspect), ("longer side", SCALE, _longer_side)):
        known, got = [measure(case) for case in cases], float(np.median([measure(case) for case in queries]))
        if not min(known) / limit <= got <= max(known) * limit:
            yield (
                f"images differ from support_images in {what}: expected {min(known):.3g} to {max(known):.3g}, "
                f"got {got:.3g}. Crop or resize them to show the same field of view."
            )


def _aspect(case: Case) -> float:
    """Height to width, in millimetres if known."""
    _, row_mm, column_mm = case.spacing_mm or (1.0, 1.0, 1.0)
    return case.planes.shape[1] * row_mm / (case.planes.shape[2] * column_mm)


def _longer_side(case: Case) -> float:
    return float(max(case.planes.shape[1:]))


def _cuts(cases: Sequence[Case], queries: Sequence[Case]) -> Iterator[str]:
    known, got = ({case.cut for case in each if case.cut} for each in (cases, queries))
    if known and got and not known & got:
        yield (
            f"images are cut along another axis than support_images: expected {', '.join(sorted(known))} planes, got "
            f"{', '.join(sorted(got))}. Read them along the same axis: incontext.cases.read_case(path, name, axis)."
        )


def _areas(examples: Sequence[Example]) -> Iterator[str]:
    if sum(not example.masks for example in examples) > len(examples) / 2:
        yield (
            "support_labels are mostly empty: expected the structure in at least every second image, got none in "
            f"{sum(not example.masks for example in examples)} of {len(examples)}. Leave out images not annotated."
        )
    for value, name in _classes(examples).items():
        masks = [example.masks[value][plane] for example in examples for plane in _showing(example, value)]
        if not masks:
            continue
        area_px, share = (float(np.median([measure(mask) for mask in masks])) for measure in (np.sum, np.mean))
        if area_px < TINY_PX and share < TINY_SHARE:
            yield (
                f"support_labels of {name} are nearly empty: expected at least {TINY_PX} pixels in an image, got a "
                f"median of {area_px:g}. Check the label, or pass images of higher resolution."
            )
        if share > FULL_SHARE:
            yield (
                f"support_labels of {name} cover nearly everything: expected some background, got a median of "
                f"{share:.0%} of the image. Give the background the value 0."
            )


def _values(examples: Sequence[Example]) -> Iterator[str]:
    classes = _classes(examples)
    if len(classes) > MANY_VALUES:
        edges = [value for value in classes if not any(_is_solid(example.masks.get(value)) for example in examples)]
        if len(edges) >= EDGE_VALUES:
            yield (
                f"support_labels hold values that occur along edges only: expected areas of one value, got "
                f"{', '.join(map(str, edges[:5]))}{', …' if len(edges) > 5 else ''} as thin lines. The labels were "
                "smoothed or compressed with loss: resize them by nearest neighbour, or cut them off: label > 127."
            )
    elif len(classes) == 2 and WHITE in classes and not any(len(example.masks) == 2 for example in examples):
        yield (
            f"support_labels number one class in two ways, it seems: expected one value, got {min(classes)} in some "
            f"labels and {WHITE} in others. Make them alike: label > 0."
        )


def _classes(examples: Sequence[Example]) -> dict[int, str]:
    """Names of the label values that occur, ascending."""
    names = {value: example.names.get(value, f"class {value}") for example in examples for value in example.masks}
    return dict(sorted(names.items()))


def _showing(example: Example, value: int) -> list[int]:
    """The planes that show a class."""
    masks = example.masks.get(value, ())
    return [plane for plane, mask in enumerate(masks) if mask.any()]


def _is_solid(masks: Bool[np.ndarray, "N H W"] | None) -> bool:
    """Whether a class fills two by two pixels anywhere."""
    if masks is None:
        return False
    return bool((masks[:, 1:, 1:] & masks[:, 1:, :-1] & masks[:, :-1, 1:] & masks[:, :-1, :-1]).any())
