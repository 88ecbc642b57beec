"""Fill contours of RTSTRUCT that were drawn across the slices of a series, as on sagittal or coronal planes."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float

from megamed.rasterise import fill_parts
from megamed.readers.dicom_grid import SeriesGrid
from megamed.readers.volume import LPS_TO_RAS

SAME_PLANE = 0.1
"""Largest extent of a contour across its own plane, in voxels."""
AXES = ("slices", "rows", "columns")

Fill = Callable[[Sequence[Float[np.ndarray, "_ 2"]], tuple[int, int]], Bool[np.ndarray, "I J"]]


def fill_across(
    contours: Sequence[Float[np.ndarray, "_ 3"]], grid: SeriesGrid, fill: Fill = fill_parts
) -> tuple[Bool[np.ndarray, "slices rows columns"], str] | None:
    """Fill contours of which each lies on one row or one column of the series.

    Where they are farther apart than rows or columns are, each counts for those that lie nearest to it.

    Args:
        contours: Points in millimetres towards the patient's left, back and head.
        grid: The series.
        fill: Function that fills the contours of a plane.

    Returns:
        The mask, and a remark; None if the contours lie on slices, or on no planes of one direction.
    """
    to_index = np.linalg.inv(grid.affine) @ LPS_TO_RAS
    indices = [points @ to_index[:3, :3].T + to_index[:3, 3] for points in contours]
    extents = np.max([np.ptp(points, axis=0) for points in indices], axis=0)
    axis = int(extents.argmin())
    if axis == 0 or extents[axis] > SAME_PLANE:
        return None
    rows, columns = (each for each in range(3) if each != axis)
    places = np.array([points[:, axis].mean() for points in indices])
    planes = np.unique(places.round(1))
    step = max(float(np.median(np.diff(planes))) if len(planes) > 1 else 1.0, 1.0)
    mask = np.zeros(grid.shape, bool)
    layers = np.moveaxis(mask, axis, 0)
    for number, layer in enumerate(layers):
        nearest = planes[np.abs(planes - number).argmin()]
        if abs(nearest - number) <= step / 2:
            rings = [points for points, place in zip(indices, places, strict=True) if abs(place - nearest) < SAME_PLANE]
            layer[...] = fill([points[:, [rows, columns]] for points in rings], (layer.shape[0], layer.shape[1]))
    return mask, f"drawn across the slices: each counts for about {step:.3g} {AXES[axis]}"
