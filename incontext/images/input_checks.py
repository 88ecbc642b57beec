"""Warnings on images that look wrong, by themselves or beside the labelled ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Bool, Float

from incontext.images.contrast import QUANTILES, distances, most_apart
from incontext.images.drawn_outlines import FILL, is_outline
from incontext.images.examples import Example
from incontext.images.fields_of_view import COVER, is_field_of_view
from incontext.images.normalisation import Normalisation, limits, sampled, scaled_apart
from incontext.images.source_image import SourceImage
from megamed.label_values import common_corner
from megamed.notes import counted

TINY_PX, TINY_SHARE = 10, 0.01
FULL_SHARE = 0.95
MANY_VALUES, EDGE_VALUES = 8, 3
WHITE = 255
STRETCH, SCALE = 2.0, 4.0
"""Factors by which the medians of height to width and of the longer side may lie outside the labelled images' range."""


Range = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Expectations:
    """Range of contrast, shape, size and cut that labelled images span.

    Attributes:
        normalisation: Scaling of grey values, the same for labelled and other images.
        quantiles: Quantiles of the scaled grey values, a row for each image that is not blank.
        aspects: Least and greatest height to width.
        sides: Least and greatest longer side in pixels.
        cuts: Axes that the labelled images are cut along, where known.
        warnings: Faults of the labelled images, each with its reason and a fix.
    """

    normalisation: Normalisation
    quantiles: Float[np.ndarray, "images quantiles"]
    aspects: Range
    sides: Range
    cuts: frozenset[str]
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, examples: Sequence[Example], normalisation: Normalisation) -> Self:
        """Measure labelled images, of which there must be at least one."""
        cases = [example.case for example in examples]
        return cls(
            normalisation=normalisation,
            quantiles=_quantiles(cases, normalisation),
            aspects=_range([_aspect(case) for case in cases]),
            sides=_range([_longer_side(case) for case in cases]),
            cuts=_known_cuts(cases),
            warnings=(
                *_blank("support_images", cases, normalisation),
                *_areas(examples),
                *_values(examples),
                *_corners(examples),
                *counted(note for example in examples for note in example.notes),
                *_readings("support_images", cases),
            ),
        )

    def warn_about(self, cases: Sequence[SourceImage]) -> list[str]:
        """List what looks wrong in these images, or in the labelled ones, each with its reason and a fix."""
        if not cases:
            return [*self.warnings]
        return [
            *self.warnings,
            *_blank("images", cases, self.normalisation),
            *self._contrast(_quantiles(cases, self.normalisation)),
            *_extent("height to width", self.aspects, STRETCH, [_aspect(case) for case in cases]),
            *_extent("longer side", self.sides, SCALE, [_longer_side(case) for case in cases]),
            *self._cuts(_known_cuts(cases)),
            *_readings("images", cases),
        ]

    def _contrast(self, ours: Float[np.ndarray, "images quantiles"]) -> Iterator[str]:
        theirs = self.quantiles
        if not theirs.size or not ours.size:
            return
        if np.median(distances(ours, theirs)) <= most_apart(len(theirs)):
            return
        middle = len(QUANTILES) // 2
        got = (
            f"expected a median brightness of {np.median(theirs[:, middle]):.2f}, got {np.median(ours[:, middle]):.2f}"
        )
        yield f"images differ from support_images in contrast: {got}. Pass images of the same kind and window."

    def _cuts(self, got: frozenset[str]) -> Iterator[str]:
        if self.cuts and got and not self.cuts & got:
            yield (
                "images are cut along another axis than support_images: "
                f"expected {', '.join(sorted(self.cuts))} planes, got {', '.join(sorted(got))}. "
                "Read them along the same axis: incontext.images.source_image.read_source_image(path, name, axis)."
            )


def _quantiles(cases: Sequence[SourceImage], normalisation: Normalisation) -> Float[np.ndarray, "images quantiles"]:
    """Quantiles of the scaled grey values, a row for each image that holds several."""
    scaled = [_scaled(case, normalisation) for case in cases]
    rows = [np.quantile(values, QUANTILES) for values in scaled if np.ptp(values) > 0]
    return np.array(rows).reshape(-1, len(QUANTILES))


def _extent(what: str, known: Range, limit: float, measured: list[float]) -> Iterator[str]:
    got = float(np.median(measured))
    if not known[0] / limit <= got <= known[1] * limit:
        yield (
            f"images differ from support_images in {what}: expected {_short(known[0])} to {_short(known[1])}, got "
            f"{_short(got)}. Crop or resize them to show the same field of view."
        )


def _short(number: float) -> str:
    """Write a number for people: of a large one no fraction, of a small one three digits.

    >>> _short(4932.6), _short(1.3333)
    ('4933', '1.33')
    """
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def _range(values: list[float]) -> Range:
    return (min(values), max(values)) if values else (0.0, np.inf)


def _known_cuts(cases: Sequence[SourceImage]) -> frozenset[str]:
    return frozenset(case.cut for case in cases if case.cut)


def _scaled(case: SourceImage, normalisation: Normalisation) -> Float[np.ndarray, " pixels"]:
    parts = []
    for part in scaled_apart(case, normalisation):
        low, high = limits(part, normalisation)
        parts.append((sampled(part).astype(np.float64) - low) / max(high - low, np.finfo(np.float64).tiny))
    return np.concatenate(parts).clip(0, 1)


def _blank(what: str, cases: Sequence[SourceImage], normalisation: Normalisation) -> Iterator[str]:
    if count := sum(_is_blank(case, normalisation) for case in cases):
        yield (
            f"{what} show nothing: expected several grey values, got one in {count} of {len(cases)} after scaling by "
            f"{normalisation}. Leave blank images out, or choose another scaling."
        )


def _is_blank(case: SourceImage, normalisation: Normalisation) -> bool:
    for part in scaled_apart(case, normalisation):
        darkest, brightest = np.clip([part.planes.min(), part.planes.max()], *limits(part, normalisation))
        if darkest != brightest:
            return False
    return True


def _aspect(case: SourceImage) -> float:
    """Height to width, in millimetres if known."""
    _, row_mm, column_mm = case.spacing_mm or (1.0, 1.0, 1.0)
    return case.planes.shape[1] * row_mm / (case.planes.shape[2] * column_mm)


def _longer_side(case: SourceImage) -> float:
    return float(max(case.planes.shape[1:]))


def _areas(examples: Sequence[Example]) -> Iterator[str]:
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
        if sum(map(is_outline, masks)) > len(masks) / 2:
            yield f"support_labels of {name} {FILL}"
        images = [example.case.planes[plane] for example in examples for plane in _showing(example, value)]
        if sum(map(is_field_of_view, images, masks)) > len(masks) / 2:
            yield f"support_labels of {name} {COVER}"
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
    elif len(classes) > 1 and WHITE in classes and not any(len(example.masks) > 1 for example in examples):
        others = ", ".join(str(value) for value in classes if value != WHITE)
        yield (
            f"support_labels number one class in several ways, it seems: expected one value, got {others} in "
            f"some labels and {WHITE} in others. Make them alike: label > 0."
        )


def _corners(examples: Sequence[Example]) -> Iterator[str]:
    classes = _classes(examples)
    for value, name in classes.items():
        if len(classes) == 1 or value == WHITE:
            continue
        masks = [example.masks.get(value) for example in examples]
        if all(mask is not None and common_corner(mask) for mask in masks):
            yield (
                f"support_labels have {name} in all their corners: expected the background there, which is 0. If it "
                f"is {value}, give it 0, and a class another number."
            )


def _readings(argument: str, cases: Sequence[SourceImage]) -> Iterator[str]:
    """Changes and assumptions made when files were read, once each with the first file and a count."""
    sources: dict[str, list[str]] = {}
    for case in cases:
        for note in case.notes:
            sources.setdefault(note, []).append(case.source.name if case.source else argument)
    for note, (first, *others) in sources.items():
        yield f"{first}{f' and {len(others)} more' if others else ''}: {note}."


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
