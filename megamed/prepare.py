"""One subject's files to standardised rows, or the reasons why not."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer, Real

from megamed import standardise
from megamed.collection import Row
from megamed.layouts import VOLUME_NAME, Case, Subject
from megamed.readers.image import read_image, read_label
from megamed.readers.nifti import Volume, read_volume
from megamed.schema import DatasetCard, Split

AFFINE_TOLERANCE_MM = 1e-3


@dataclass(frozen=True)
class _Plane:
    """One image and its label map before resizing."""

    axis: str
    case: str
    image: Float[np.ndarray, "H W"]
    label: Integer[np.ndarray, "H W"]
    spacing_mm: tuple[float, float]


def prepare_subject(card: DatasetCard, size_px: int, subject: Subject, split: Split) -> tuple[list[Row], list[str]]:
    """Read and standardise all cases of a subject.

    Returns:
        The rows and the problems; a subject with any problem has no rows.
    """
    rows: list[Row] = []
    problems = list(subject.problems)
    for case in subject.cases:
        try:
            planes = _volume_planes(case, card) if VOLUME_NAME.match(case.image.name) else _image_planes(case, card)
            rows += [_row(card, size_px, subject, split, plane) for plane in planes]
        except ValueError as error:
            problems.append(f"case {case.name!r}: {error}")
    return ([] if problems else rows), problems


def _row(card: DatasetCard, size_px: int, subject: Subject, split: Split, plane: _Plane) -> Row:
    """Standardise a plane and name where it belongs."""
    masks = standardise.binary_masks(plane.label, card.masks).items()
    return Row(
        modality=card.modality_slug,
        axis=plane.axis,
        subject=subject.id,
        case=plane.case,
        split=split,
        image=standardise.standard_image(plane.image, size_px, plane.spacing_mm),
        masks={name: standardise.standard_mask(mask, size_px, plane.spacing_mm) for name, mask in masks},
    )


def _image_planes(case: Case, card: DatasetCard) -> Iterator[_Plane]:
    """Yield the one plane of a picture."""
    image = read_image(case.image)
    label = _checked_label(read_label(case.label), image.shape, card)
    yield _Plane("2d", case.name, standardise.unit_range(image, card.modality), label, (1.0, 1.0))


def _volume_planes(case: Case, card: DatasetCard) -> Iterator[_Plane]:
    """Yield the informative slices of a volume along each of its axes."""
    image, label_volume = read_volume(case.image), read_volume(case.label)
    label = _checked_label(label_volume.array, image.array.shape, card)
    _check_affines(image, label_volume)
    array = standardise.unit_range(image.array, card.modality)
    masks = list(standardise.binary_masks(label, card.masks).values())
    for axis in standardise.slicing_axes(array.shape, image.spacing_mm):
        spacing_mm = standardise.display_spacing(image.spacing_mm, axis)
        for index in standardise.informative_slices(masks, axis):
            yield _Plane(
                standardise.AXES[axis],
                f"{case.name}:{index}",
                standardise.display_plane(array, axis, index),
                standardise.display_plane(label, axis, index),
                spacing_mm,
            )


def _checked_label(
    label: Real[np.ndarray, "..."], shape: tuple[int, ...], card: DatasetCard
) -> Integer[np.ndarray, "..."]:
    """Return a label map as integers, having checked that it fits its image and its card."""
    if label.shape != shape:
        msg = f"label does not match its image: expected {shape}, got {label.shape}."
        raise ValueError(msg)
    values = set(np.unique(label).tolist())
    if stray := values - {0, *card.labels}:
        msg = f"label has values not on the card: expected {sorted(card.labels)}, got {sorted(stray)[:5]}."
        raise ValueError(msg)
    if values <= {0}:
        msg = "label is empty: expected at least one labelled pixel, got none."
        raise ValueError(msg)
    return label.astype(np.uint8)


def _check_affines(image: Volume, label: Volume) -> None:
    """Refuse a label that lies elsewhere in space than its image."""
    if not np.allclose(image.affine, label.affine, atol=AFFINE_TOLERANCE_MM):
        affines = (volume.affine.round(3).tolist() for volume in (image, label))
        msg = "label lies elsewhere than its image: expected affine {}, got {}.".format(*affines)
        raise ValueError(msg)
