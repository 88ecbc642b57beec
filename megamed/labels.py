"""Annotations of a case, read from its label files: what their pixels mean, checked against card and image."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Real, UInt8

from megamed import formats
from megamed.annotation import Annotation, overlay
from megamed.annotation_tools.slicer import is_nameless
from megamed.label_values import split_unknown, whole_numbers
from megamed.layouts.cases import Case, LabelSource
from megamed.pixels import read_coloured_label, read_label, read_mask
from megamed.readers.source import Source
from megamed.readers.stored import REVERSED, UNPLACED, Canvas, DrawnLabel, Geometry, Segment
from megamed.readers.volume import Volume, on_grid, place_note
from megamed.schema import DatasetCard, FileRules, slugify

LabelMap = UInt8[np.ndarray, "..."]
Grid = Volume | np.ndarray
"""An image, for the shape and the place that its labels must have."""


@dataclass(frozen=True)
class _Place:
    """An image, and where it was read."""

    image: Grid
    source: Source

    def canvas(self, label: Source) -> Canvas:
        """Return what a label can be drawn on: for one that names the files of its series, these."""
        path, series = self.source.files[0], label.files[1:]
        if not isinstance(self.image, Volume):
            sizes = formats.sizes_in(path) if self.source.level else []
            return Canvas(path, self.image.shape, Geometry(files=series, full_size=sizes[0] if sizes else None))
        found = formats.format_of(path)
        if found and "stack" in found.holds:  # pages without a place, which became axial planes
            return Canvas(path, self.image.array.shape[::-1])
        place = Geometry(self.image.stored_affine, files=series, is_placed=self.image.is_placed)
        return Canvas(path, self.image.as_stored.shape, place)

    def of_its_size(self, label: Source) -> Source:
        """Return a label at the level that has the size of the image, which is a reduced level itself."""
        sizes = formats.sizes_in(label.files[0]) if self.source.level else []
        shape = () if isinstance(self.image, Volume) else self.image.shape
        return replace(label, level=next((level for level, size in enumerate(sizes) if size == shape), 0))


@dataclass(frozen=True)
class _Part:
    """A label map out of a file."""

    values: set[int]
    """The label values that it speaks of."""
    layer: LabelMap
    unknown: Bool[np.ndarray, "..."] | None = None
    """Pixels that nobody judged; None if there are none."""

    @classmethod
    def drawn(cls, mask: Bool[np.ndarray, "..."], value: int, rules: FileRules) -> "_Part":
        """A mask of one value, or of pixels that nobody judged."""
        if value in rules.unknown:
            return cls(set(), np.zeros(mask.shape, np.uint8), mask)
        return cls({value}, mask * np.uint8(value))


def read_annotations(
    case: Case, card: DatasetCard, image: Grid, notes: list[str] | None = None
) -> dict[str, Annotation]:
    """Read what each annotator says of a case; the one annotator whom nobody names is "".

    Args:
        case: The case.
        card: Names and values of its labels.
        image: What it was drawn on.
        notes: List to which remarks on parts of labels that were left out are added.

    Raises:
        ValueError: If a label cannot be read, or fits neither image nor card.
    """
    sources: dict[str, list[LabelSource]] = defaultdict(list)
    for source in case.labels:
        sources[source.annotator].append(source)
    everywhere = frozenset(card.labels) - card.unknown_values(case.subject or "")
    place = _Place(image, next(iter(case.images.values())))
    annotations = {}
    for annotator, drawn in sources.items():
        layers: list[LabelMap] = []
        spoken: set[int] = set()
        unknown: list[Bool[np.ndarray, ...]] = []
        for source in drawn:
            for part in _parts(source, card, place, [] if notes is None else notes):
                spoken |= part.values
                layers = _merged(layers, part.layer)
                unknown += [] if part.unknown is None else [part.unknown]
        known = everywhere if card.files.missing_class == "background" else everywhere & spoken
        where = np.logical_or.reduce(unknown) if unknown else None
        annotations[annotator] = Annotation(tuple(layers or [_nothing(image)]), known, where)
    return annotations


def _parts(source: LabelSource, card: DatasetCard, place: _Place, notes: list[str]) -> Iterator[_Part]:
    """Read a label file as maps."""
    everything, image = set(card.labels), place.image
    path = source.source.files[0]
    source, canvas = replace(source, source=place.of_its_size(source.source)), place.canvas(source.source)
    if found := formats.drawn_format(path, canvas):
        drawn = found.read(path, canvas)
        yield from _drawn(source, card, image, drawn, notes)
        name = source.source.name
        notes += (note if note.startswith(name) else f"{name}: {note}" for note in drawn.notes)  # drawing adds some
    elif card.files.colours:
        label = _fitting(read_coloured_label(source.source, card.files.colours), image, notes)
        yield _Part(everything, *split_unknown(label, card.files.unknown))
    elif source.value is not None:
        yield _positive(source, card.files, place, notes, source.value)
    elif card.files.positive_above is not None:
        yield replace(_positive(source, card.files, place, notes, _only_value(card)), values=everything)
    else:
        read = _fitting(read_label(source.source), image, notes)
        judged, unknown = split_unknown(read, _unknown_values(source, card.files))
        label, divisor = whole_numbers(judged, source.source.name), card.files.instance_divisor
        yield _Part(everything, _checked(label // divisor if divisor else label, card), unknown)


def _unknown_values(source: LabelSource, rules: FileRules) -> tuple[int, ...]:
    """Values of pixels that nobody judged; one that files of a class stand for is not one of pixels."""
    return *(value for value in rules.unknown if value not in rules.classes.values()), *source.unknown


def _drawn(source: LabelSource, card: DatasetCard, image: Grid, drawn: DrawnLabel, notes: list[str]) -> Iterator[_Part]:
    """Draw structures by their names, for files number them each in its own way; those not on the card are left out.

    A name that Slicer made up says nothing, and then its number is the label value.

    Raises:
        ValueError: If there are structures, but none is of a label on the card.
    """
    values = {segment.name: _segment_value(segment, source, card) for segment in drawn.segments}
    if values and all(value is None for value in values.values()):
        msg = f"segments are not on the card: expected some of {sorted(card.class_values)}, got {sorted(values)}."
        raise ValueError(msg)
    if drawn.is_complete:
        spoken = set(card.labels) if source.value is None else {source.value} - {*card.files.unknown}
        yield _Part(spoken, _nothing(image))
    for segment in drawn.segments:
        if (value := values[segment.name]) is not None:
            yield _Part.drawn(_fitting(drawn.to_ras(segment), image, notes) > 0, value, card.files)
    if drawn.unknown:
        yield _Part(set(), _nothing(image), _fitting(drawn.to_ras(drawn.unknown), image, notes) > 0)


def _segment_value(segment: Segment, source: LabelSource, card: DatasetCard) -> int | None:
    """Return the label value of a segment; None if the card has no such label."""
    if source.value is not None:
        return source.value
    if is_nameless(segment.name):
        number = _only_value(card) if card.files.positive_above is not None else segment.number
        return number if number in {*card.labels, *card.files.unknown} else None
    return card.class_values.get(slugify(segment.name))


def _positive(source: LabelSource, rules: FileRules, place: _Place, notes: list[str], value: int) -> _Part:
    """Read where a mask is set, be it grey or coloured."""
    read = _fitting(read_mask(source.source), place.image, notes)
    judged, unknown = split_unknown(read, _unknown_values(source, rules))
    part = _Part.drawn(judged > (rules.positive_above or 0), value, rules)
    return part if unknown is None else replace(part, unknown=unknown)


def _nothing(image: Grid) -> LabelMap:
    return np.zeros(image.array.shape if isinstance(image, Volume) else image.shape, np.uint8)


def _merged(layers: list[LabelMap], new: LabelMap) -> list[LabelMap]:
    if not layers:
        return [new]
    for value in np.unique(new[new > 0]).tolist():
        layers = overlay(layers, new == value, value)
    return layers


def _fitting(label: Grid, image: Grid, notes: list[str]) -> Real[np.ndarray, "..."]:
    """Return a label's array on the grid of its image, on which it must lie."""
    if isinstance(label, Volume) and isinstance(image, Volume):
        fitting = on_grid(label, image)
        if image.is_placed and not label.is_placed:
            is_alike = label.as_stored.shape == image.as_stored.shape
            notes.append(f"label: {UNPLACED if is_alike else REVERSED}")
        notes += [f"label: {note}" for note in [place_note(label, image)] if note]
        return fitting
    if isinstance(image, Volume) and not isinstance(label, Volume):
        is_picture = image.planes_first and image.as_stored.shape == (1, *label.shape)
        label = image.turned(label[None]) if is_picture else label  # drawn on a single slice, as it is displayed
    array, grid = (each.array if isinstance(each, Volume) else each for each in (label, image))
    if array.shape != grid.shape:
        msg = f"label does not match its image: expected {grid.shape}, got {array.shape}."
        raise ValueError(msg)
    return array


def _only_value(card: DatasetCard) -> int:
    """Return the value of the one label that masks can mean."""
    if len(card.labels) != 1:
        msg = f"label values are ambiguous: expected one label on a card with positive_above, got {len(card.labels)}."
        raise ValueError(msg)
    return next(iter(card.labels))


def _checked(label: Real[np.ndarray, "..."], card: DatasetCard) -> LabelMap:
    """Return a label map as small integers, having checked that all its values are on the card."""
    if stray := set(np.unique(label).tolist()) - {0, *card.labels}:
        msg = f"label has values not on the card: expected {sorted(card.labels)}, got {sorted(stray)[:5]}."
        raise ValueError(msg)
    return label.astype(np.uint8)
