"""One subject's files to standardised rows, or the reasons why not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer

from megamed import standardise
from megamed.annotation import Annotation, masks_of, overlay
from megamed.labels import Grid, read_annotations
from megamed.layouts import Case, Subject
from megamed.pixels import read_image
from megamed.readers.volume import Volume, check_place
from megamed.rows import StandardSlice
from megamed.schema import DatasetCard, slugify
from megamed.squares import SQUARE_PIXELS_MM
from megamed.standardise import Standard
from megamed.unknown import foreground
from megamed.vocabulary import Split

Annotations = Mapping[str, Annotation]
"""Annotations of one image by the name of the annotator."""


@dataclass(frozen=True)
class _Plane:
    """One image and its annotations before resizing."""

    axis: str
    case: str
    image: Float[np.ndarray, "H W"]
    annotations: Annotations
    spacing_mm: tuple[float, float]


def prepare_subject(
    card: DatasetCard, standard: Standard, subject: Subject, split: Split, notes: list[str] | None = None
) -> tuple[list[StandardSlice], list[str]]:
    """Read and standardise all cases of a subject; a case without a labelled pixel, or of one grey, shows nothing.

    Args:
        card: Facts of the dataset.
        standard: What images are brought to.
        subject: The cases and their files.
        split: The split that the subject is in.
        notes: List to which remarks on what was left out, and assumptions, are added.

    Returns:
        The rows and the problems; a subject with any problem has no rows. That every case is empty is one.
    """
    notes = [] if notes is None else notes
    rows: list[StandardSlice] = []
    problems = list(subject.problems)
    empty: list[str] = []
    for case in subject.cases:
        notes += case.notes
        try:
            first, annotations = _annotated(case, card, notes)
            if all(annotation.is_empty for annotation in annotations.values()):
                empty.append(case.name)
                continue
            rows += [
                _row(card, standard, subject, split, modality, plane)
                for modality, plane in _planes(case, card, standard, (first, annotations), notes)
            ]
        except ValueError as error:
            problems.append(f"case {case.name!r}: {error}")
    if len(empty) == len(subject.cases) and not problems:
        cases = f"all {len(empty)} cases" if len(empty) > 1 else f"case {empty[0]!r}"
        problems.append(f"{cases}: label is empty: expected at least one labelled pixel, got none.")
    elif not rows and not problems:
        problems.append(f"nothing is left of its images: {'; '.join(notes) or 'no slice shows a label'}.")
    return ([] if problems else rows), problems


def _row(
    card: DatasetCard, standard: Standard, subject: Subject, split: Split, modality: str, plane: _Plane
) -> StandardSlice:
    """Standardise a plane and name where it belongs.

    Labels are resized one by one, unions and consensus derived from the result: a union is exactly its parts.
    """
    squares = {who: _standard_annotation(each, standard, plane) for who, each in plane.annotations.items()}
    masks = masks_of(squares, card.masks, card.consensus_slug)
    return StandardSlice(
        modality=slugify(modality),
        axis=plane.axis,
        subject=subject.id,
        case=plane.case,
        split=split,
        image=standardise.standard_image(plane.image, standard, plane.spacing_mm),
        masks={name: mask for name, mask in masks.items() if mask.any()},
        known=frozenset(masks),
    )


def _standard_annotation(annotation: Annotation, standard: Standard, plane: _Plane) -> Annotation:
    """Make square and resize what one annotator drew; neighbours that now share a pixel both keep it.

    A pixel of the square is unknown if it depends on those that nobody judged, read as background or as foreground,
    whether it is of a label.
    """

    def resized(mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "S S"]:
        return standardise.standard_mask(mask, standard, plane.spacing_mm) > 0

    layers = [np.zeros((standard.size_px, standard.size_px), np.uint8)]
    unknown = None if annotation.unknown is None else resized(annotation.unknown)
    for layer in annotation.layers:
        for value in np.unique(layer[layer > 0]).tolist():
            mask = resized(layer == value)
            layers = overlay(layers, mask, value)
            if annotation.unknown is not None:
                unknown |= resized((layer == value) | annotation.unknown) & ~mask
    return Annotation(tuple(layers), annotation.known, unknown)


def _annotated(case: Case, card: DatasetCard, notes: list[str]) -> tuple[Grid, Annotations]:
    """Read the first image of a case and what is drawn on it."""
    image = read_image(next(iter(case.images.values())), notes)
    return image, read_annotations(case, card, image, notes)


def _planes(
    case: Case, card: DatasetCard, standard: Standard, annotated: tuple[Grid, Annotations], notes: list[str]
) -> Iterator[tuple[str, _Plane]]:
    """Yield the planes of every modality of a case; all modalities show the same slices.

    An image of one grey value is left out, with a note.
    """
    first, annotations = annotated
    slices = _slices(first, annotations, card, standard) if isinstance(first, Volume) else []
    for number, (modality, source) in enumerate(case.images.items()):
        image = read_image(source) if number else first
        _check_same_grid(first, image)
        pixels = image.array if isinstance(image, Volume) else image
        if pixels.min() == pixels.max():
            notes.append(f"case {case.name!r}, {modality}: left out, for all its pixels are {pixels.min()}")
            continue
        array = standardise.unit_range(pixels, modality)
        if isinstance(image, Volume):
            for axis, index in slices:
                yield modality, _slice(array, image.spacing_mm, annotations, axis, index, case.name)
        else:
            yield modality, _Plane("2d", case.name, array, annotations, SQUARE_PIXELS_MM)


def _slices(image: Volume, annotations: Annotations, card: DatasetCard, standard: Standard) -> list[tuple[int, int]]:
    """Choose the informative slices along each axis."""
    axes = standardise.slicing_axes(image.array.shape, image.spacing_mm)
    areas: dict[int, list[Integer[np.ndarray, " slices"]]] = {axis: [] for axis in axes}
    for name, values in card.masks.items():  # one at a time: a hundred masks of a volume would fill the memory
        mask = masks_of(annotations, {name: values}, card.consensus_slug).get(name)
        if mask is not None:
            for axis in axes:
                areas[axis].append(foreground(mask).sum(axis=tuple({0, 1, 2} - {axis})))
    return [
        (axis, index)
        for axis in axes
        if areas[axis]
        for index in standardise.informative_slices(np.stack(areas[axis]), standard.every_nth)
    ]


def _slice(
    array: Float[np.ndarray, "X Y Z"],
    spacing_mm: tuple[float, float, float],
    annotations: Annotations,
    axis: int,
    index: int,
    case: str,
) -> _Plane:
    return _Plane(
        standardise.AXES[axis],
        f"{case}:{index}",
        standardise.display_plane(array, axis, index),
        {
            who: each.cut(lambda layer: standardise.display_plane(layer, axis, index))
            for who, each in annotations.items()
        },
        standardise.display_spacing(spacing_mm, axis),
    )


def _check_same_grid(first: Grid, other: Grid) -> None:
    """Refuse modalities that do not lie on each other."""
    shapes = [each.array.shape if isinstance(each, Volume) else each.shape for each in (first, other)]
    if shapes[0] != shapes[1]:
        msg = "modalities do not match: expected {}, got {}.".format(*shapes)
        raise ValueError(msg)
    if isinstance(first, Volume) and isinstance(other, Volume):
        check_place(first, other, "image")
