"""Place of a label against its image's: whether both lie alike, and the label in the order of the image's axes."""

import itertools
import math
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from incontext.images.orientation import parallel, viewed
from megamed.readers.stored import AS_THEY_LIE, REVERSED, UNPLACED, Geometry, StoredImage
from megamed.readers.volume import BESIDE, beside_note, displacement_mm, part_on_grid, voxels_apart
from megamed.slice_pictures import on_slices


def in_its_order(label: StoredImage, image: Geometry, shape: tuple[int, ...], name: str) -> StoredImage:
    """Return a label of which only the image, or only the label, is a stack of planes: its axes may be reversed.

    Volumes begin with columns, stacks with planes; but many programs store arrays as they are. The size tells which.
    Arguments are those of `on_image`.

    Raises:
        ValueError: If the size fits both ways.
    """
    is_stack = label.geometry.affine is None and image.affine is not None and not image.files
    is_volume = label.geometry.affine is not None and image.affine is None and not label.geometry.files
    array = label.space if is_volume else label.array
    if not (is_stack or is_volume) or array.ndim != 3 or array.shape[::-1] != shape:
        return label
    if array.shape != shape:
        return replace(label, array=array.transpose(), axes=label.axes[::-1], geometry=Geometry(), notes=(REVERSED,))
    if not label.axes:
        return label
    msg = (
        f"{name} has two readings on its image: expected axes in one order, got {shape}, which fits columns, rows, "
        "planes and planes, rows, columns. Save it in its image's format."
    )
    raise ValueError(msg)


def on_image(label: StoredImage, image: Geometry, shape: tuple[int, ...], name: str) -> Shaped[np.ndarray, "..."]:
    """Return the array of a label in the order of its image's axes, or as it is where one of them tells no place.

    A part that was cut out of the image returns to its place. A label may lie up to half a voxel beside it: see
    `place_notes`. Where a header states no place, voxels of a label of the image's size are in the image's order.

    Args:
        label: What was read.
        image: Where its image lies.
        shape: Size of the image's own grid.
        name: How errors call the label.

    Raises:
        ValueError: If the label lies elsewhere than its image.
    """
    affine = label.geometry.affine
    if affine is None:
        is_stack = bool(label.geometry.files and image.files)
        return on_slices(label, image.files, name) if is_stack else label.array
    if image.affine is None:
        return label.space
    is_alike = label.space.shape[:3] == shape
    if is_alike and not label.geometry.is_placed:
        return label.space
    if (
        image.is_placed
        and label.geometry.is_placed
        and label.space.ndim == len(shape) == 3
        and label.space.size < math.prod(shape)
    ):
        with suppress(ValueError):
            return part_on_grid(label.space, affine, shape, image.affine)
    placed = _readings(label, image)
    nearest = min(placed, key=lambda each: each.voxels)
    if nearest.voxels <= BESIDE:
        return nearest.array
    if is_alike and not image.is_placed:
        return label.space
    msg = f"{name} lies elsewhere than its image: {placed[0].fault}. Save it with its image's affine, on its grid."
    raise ValueError(msg)


def place_notes(label: StoredImage, image: Geometry) -> list[str]:
    """List what is assumed of the place of a label that lies a part of a voxel beside its image, or has no place."""
    notes = [UNPLACED] if image.is_placed and not label.geometry.is_placed else []
    if label.geometry.affine is None:
        return [*notes, *([AS_THEY_LIE] if not label.geometry.files and _is_out_of_number(image) else [])]
    if image.affine is None or not (label.geometry.is_placed and image.is_placed):
        return notes
    note = beside_note(min(each.voxels for each in _readings(label, image)))
    return [*notes, *([note] if note else [])]


def _is_out_of_number(image: Geometry) -> bool:
    """Whether the slices of a series are numbered in another order than they lie."""
    numbers = [each.get("InstanceNumber") for each in image.header] if len(image.files) > 1 else []
    return None not in numbers and numbers != sorted(numbers)


class _PlacedLabel(NamedTuple):
    """A label in the order of its image's axes, how many voxels it lies beside it, and why, if that is too far."""

    array: Shaped[np.ndarray, "..."]
    voxels: float
    fault: str


def _readings(label: StoredImage, image: Geometry) -> list[_PlacedLabel]:
    """List the readings of a label by the places that its header and its image's state, the usual ones first."""
    assert label.geometry.affine is not None
    assert image.affine is not None
    stated = (label.geometry.affine, *label.geometry.other_affines), (image.affine, *image.other_affines)
    return [_placed(label.space, its_own, expected) for its_own, expected in itertools.product(*stated)]


def _placed(
    label: Shaped[np.ndarray, "I J K *channels"], affine: Float[np.ndarray, "4 4"], image: Float[np.ndarray, "4 4"]
) -> _PlacedLabel:
    """Return a label in the order of its image's axes, by the affines of both."""
    try:
        view = parallel(affine, image[:3, :3])
    except ValueError as error:
        return _PlacedLabel(label, math.inf, str(error))
    i, j, k = label.shape[:3]
    array, placed = view.planes(label), viewed(affine, (i, j, k), view)
    apart = displacement_mm(placed, image, array.shape[:3])
    fault = f"expected voxels at the same place, got them up to {apart:.3g} mm apart"
    return _PlacedLabel(array, voxels_apart(placed, image, array.shape[:3]), fault)
