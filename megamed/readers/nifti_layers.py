"""Read a NIfTI label of four axes that holds one mask for each class: one-hot labels, and classes that overlap."""

import functools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from megamed.colour_tables import FULL
from megamed.failures import Attempt
from megamed.readers import nifti
from megamed.readers.stored import UNPLACED, Canvas, DrawnLabel, Segment, StoredImage
from megamed.readers.volume import check_header, on_grid
from megamed.unchanged import while_unchanged

SUFFIXES = (".nii", ".nii.gz")
MOST_LAYERS = 255
MOST_SHAPES = 2048
"""Number of files whose sides are remembered."""
FIRST_IS_BACKGROUND = "the first of its masks is what no other covers: it is read as background"


def recognises(path: Path) -> bool:
    """Whether a file is a NIfTI image of four axes, or of five as ITK writes several values of a voxel."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file() and 1 < _count(_shape(path)) <= MOST_LAYERS


def names_in(path: Path) -> dict[int, str]:
    """Return names, which say nothing, of the masks by number; without that of the background.

    Raises:
        ValueError: If the file is damaged or holds other values than those of masks.
        ImportError: If nibabel is not installed.
    """
    return {number: f"Segment_{number}" for number in _masks(path)[1]}


def read_drawn(path: Path, canvas: Canvas) -> DrawnLabel:
    """Read the masks of all classes, on the grid of the image.

    Raises:
        ValueError: If the file is damaged, holds other values than those of masks, or lies elsewhere than the image.
        ImportError: If nibabel is not installed.
    """
    if canvas.path and _count(_shape(canvas.path)) == _count(_shape(path)):
        msg = f"{path.name} has as many volumes as its image: expected one label map, got several. Save each by itself."
        raise ValueError(msg)
    stored, places, notes = _masks(path)
    if not stored.geometry.is_placed:
        notes = [*notes, f"{path.name}: {UNPLACED}"]

    def drawn(number: int) -> UInt8[np.ndarray, "I J K"]:
        layer = stored.array[..., places[number]]
        if canvas.geometry.affine is None:
            return layer.astype(np.uint8).reshape(canvas.shape)
        image = StoredImage(np.zeros(canvas.shape, np.uint8), "XYZ", canvas.geometry).to_ras()
        label = StoredImage(layer.astype(np.uint8), "XYZ", stored.geometry).to_ras()
        return replace(image, array=on_grid(label, image)).as_stored

    names = {number: f"Segment_{number}" for number in places}
    segments = tuple(Segment(number, name, functools.partial(drawn, number)) for number, name in names.items())
    return DrawnLabel(canvas.geometry, segments, names, notes, is_complete=True)


@while_unchanged(most=1)
def _masks(path: Path) -> tuple[StoredImage, dict[int, int], list[str]]:
    """Read the masks, the place of each class by its number, and remarks."""
    with nifti.decoding(path) as nibabel:
        image = nibabel.load(path)
        count = _count(image.shape)
        check_header((*image.shape[:2], image.shape[2] * count), image.get_data_dtype())
        values = np.asanyarray(image.dataobj).reshape(*image.shape[:3], count)
        first = image.slicer[(..., *[0] * (image.ndim - 3))]
        geometry = nifti.stored_image(first, path, "").geometry
    masks: Bool[np.ndarray, "I J K layers"] = values > 0
    if not (masks * values.max() == values).all() or values.max() not in (0, 1, FULL):
        msg = (
            f"{path.name} holds {count} volumes: expected a label map, or a mask of 0 and 1 for each class, got values "
            f"from {values.min():g} to {values.max():g}. Save one label map: label.argmax(axis=3)"
        )
        raise ValueError(msg)
    is_one_hot = bool((masks.sum(axis=-1) == 1).all())
    places = {number: number if is_one_hot else number - 1 for number in range(1, count + (not is_one_hot))}
    return StoredImage(masks, "XYZC", geometry), places, [f"{path.name}: {FIRST_IS_BACKGROUND}"] * is_one_hot


def _shape(path: Path) -> tuple[int, ...]:
    """Return the sides that a header states, which is read once; none if it is no NIfTI."""
    with Attempt():
        return _stated_shape(path)
    return ()


@while_unchanged(most=MOST_SHAPES)
def _stated_shape(path: Path) -> tuple[int, ...]:
    return nifti.sides(path)


def _count(shape: tuple[int, ...]) -> int:
    """Number of volumes of an image of a shape."""
    return math.prod(shape[3:])
