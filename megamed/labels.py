"""Annotations of a case, read from its label files: what their pixels mean, checked against card and image."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Integer, Real, UInt8

from megamed import formats
from megamed.annotation import Annotation, overlay
from megamed.annotation_tools import slicer
from megamed.label_values import whole_numbers
from megamed.layouts.cases import Case, LabelSource
from megamed.pixels import read_colours, read_image, read_label
from megamed.readers.source import Source
from megamed.readers.volume import Volume, on_grid
from megamed.schema import DatasetCard, FileRules, slugify

LabelMap = UInt8[np.ndarray, "..."]
Grid = Volume | np.ndarray
"""An image, for the shape and the place that its labels must have."""


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
    annotations = {}
    for annotator, drawn in sources.items():
        layers: list[LabelMap] = []
        spoken: set[int] = set()
        for source in drawn:
            for values, layer in _maps(source, card, image, [] if notes is None else notes):
                spoken |= values
                layers = _merged(layers, layer)
        known = everywhere if card.files.missing_class == "background" else everywhere & spoken
        annotations[annotator] = Annotation(tuple(layers or [_nothing(image)]), known)
    return annotations


def _maps(source: LabelSource, card: DatasetCard, image: Grid, notes: list[str]) -> Iterator[tuple[set[int], LabelMap]]:
    """Read a label file as maps, each with the values it speaks of."""
    everything = set(card.labels)
    if len(source.source.files) > 1:
        drawn = formats.read_drawn(source.source)
        for segment in drawn.segments:
            if (value := card.class_values.get(slugify(segment.name))) is not None:
                yield {value}, _fitting(drawn.to_ras(segment), image) * np.uint8(value)
        notes += (f"{source.source.name}: {note}" for note in drawn.notes)
    elif slicer.recognises(source.source.files[0]) and isinstance(image, Volume):
        yield from _segments(source, card, image)
    elif card.files.colours:
        yield everything, _fitting(_from_colours(source.source, card.files), image)
    elif source.value is not None:
        yield {source.value}, _positive(source.source, card.files, image) * np.uint8(source.value)
    elif card.files.positive_above is not None:
        yield everything, _positive(source.source, card.files, image) * np.uint8(_only_value(card))
    else:
        label = whole_numbers(_fitting(read_label(source.source), image), source.source.name)
        divisor = card.files.instance_divisor
        yield everything, _checked(label // divisor if divisor else label, card)


def _segments(source: LabelSource, card: DatasetCard, image: Volume) -> Iterator[tuple[set[int], LabelMap]]:
    """Read the segments of a file that names them: by their names, for files number them each in its own way.

    A name that Slicer made up says nothing, and then its number is the label value.

    Raises:
        ValueError: If no segment is of a label on the card.
    """
    segmentation = slicer.read(source.source.files[0])
    numbers = slicer.numbers(segmentation)
    values = {name: _segment_value(name, number, source, card) for name, number in numbers.items()}
    if not any(values.values()):
        msg = f"segments are not on the card: expected some of {sorted(card.class_values)}, got {sorted(values)}."
        raise ValueError(msg)
    for name, mask in slicer.on_grid(segmentation, image.array.shape, image.affine).items():
        if value := values[name]:
            yield {value}, mask * np.uint8(value)


def _segment_value(name: str, number: int, source: LabelSource, card: DatasetCard) -> int | None:
    """Return the label value of a segment; None if the card has no such label."""
    if source.value is not None:
        return source.value
    if slicer.is_nameless(name):
        number = _only_value(card) if card.files.positive_above is not None else number
        return number if number in card.labels else None
    return card.class_values.get(slugify(name))


def _positive(source: Source, rules: FileRules, image: Grid) -> Bool[np.ndarray, "..."]:
    """Read where a mask is set, be it grey or coloured."""
    return _fitting(read_image(source), image) > (rules.positive_above or 0)


def _nothing(image: Grid) -> LabelMap:
    return np.zeros(image.array.shape if isinstance(image, Volume) else image.shape, np.uint8)


def _merged(layers: list[LabelMap], new: LabelMap) -> list[LabelMap]:
    if not layers:
        return [new]
    for value in np.unique(new[new > 0]).tolist():
        layers = overlay(layers, new == value, value)
    return layers


def _fitting(label: Grid, image: Grid) -> Real[np.ndarray, "..."]:
    """Return a label's array on the grid of its image, on which it must lie."""
    if isinstance(label, Volume) and isinstance(image, Volume):
        return on_grid(label, image)
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


def _from_colours(source: Source, rules: FileRules) -> UInt8[np.ndarray, "H W"]:
    """Turn colours into label values."""
    rgb = read_colours(source).astype(np.int32)
    colours: Integer[np.ndarray, "H W"] = (rgb << np.array([16, 8, 0], np.int32)).sum(axis=-1)
    label = np.zeros(colours.shape, np.uint8)
    known: Bool[np.ndarray, "H W"] = colours == 0
    for colour, value in rules.colours.items():
        same = colours == int(colour[1:], 16)
        label[same] = value
        known |= same
    if not known.all():
        stray = [f"#{colour:06x}" for colour in np.unique(colours[~known])[:5].tolist()]
        msg = f"label has colours not on the card: expected {sorted(rules.colours)}, got {stray}."
        raise ValueError(msg)
    return label
