"""Geometry of planes in an array, and of an array in the patient: views, affines and anatomical axes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

from megamed.readers.volume import usable_orientations

CUTS = ("sagittal", "coronal", "axial")
"""Planes across the patient's right–left, back–front and foot–head axis."""

PARALLEL = 0.99
"""Cosine of the largest angle between directions that are taken for one."""


@dataclass(frozen=True)
class PlaneLayout:
    """Order and direction of an array's axes along which planes are cut from it.

    Attributes:
        axes: Axes of the array: the one from plane to plane, the one down the rows and the one along them.
        steps: 1 or -1 for each of these axes; -1 where a plane shows it backwards.
    """

    axes: tuple[int, int, int] = (0, 1, 2)
    steps: tuple[int, int, int] = (1, 1, 1)

    def planes(self, array: Shaped[np.ndarray, "I J K *channels"]) -> Shaped[np.ndarray, "N H W *channels"]:
        """The planes of an array."""
        return array.transpose(*self.axes, *range(3, array.ndim))[self._turn]

    def array(self, planes: Shaped[np.ndarray, "N H W"]) -> Shaped[np.ndarray, "I J K"]:
        """The array of planes: what undoes `planes`."""
        return planes[self._turn].transpose(np.argsort(self.axes))

    @property
    def _turn(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, step) for step in self.steps)


def orientation_of(affine: Float[np.ndarray, "4 4"]) -> PlaneLayout:
    """Return the view that makes an array out of one whose axes run to the patient's right, front and head.

    Args:
        affine: Map from indices of the array to millimetres towards right, front and head.

    Raises:
        ValueError: If the affine is singular or not finite.
    """
    i, j, k = usable_orientations(affine).io_orientation(affine).astype(int).tolist()
    return PlaneLayout((i[0], j[0], k[0]), (i[1], j[1], k[1]))


def spacings_mm(affine: Float[np.ndarray, "4 4"]) -> tuple[float, float, float]:
    """The length of a step along each axis of an array."""
    i, j, k = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return i, j, k


def parallel(affine: Float[np.ndarray, "4 4"], directions: Float[np.ndarray, "3 3"]) -> PlaneLayout:
    """The view that brings an array's axes into the order and the sense of given directions.

    Args:
        affine: Map from indices of the array to millimetres.
        directions: The wanted axes, one a column, of any length.

    Raises:
        ValueError: If the array has no such axes.
    """
    cosines = _unit(directions).T @ _unit(affine[:3, :3])
    i, j, k = np.abs(cosines).argmax(axis=1).tolist()
    chosen = cosines[range(3), [i, j, k]]
    if {i, j, k} != {0, 1, 2} or np.abs(chosen).min() < PARALLEL:
        msg = f"expected axes along {_unit(directions).round(3).T.tolist()}, got others"
        raise ValueError(msg)
    down, rows, columns = np.sign(chosen).astype(int).tolist()
    return PlaneLayout((i, j, k), (down, rows, columns))


def viewed(
    affine: Float[np.ndarray, "4 4"], shape: tuple[int, int, int], view: PlaneLayout
) -> Float[np.ndarray, "4 4"]:
    """The affine of `view.planes(array)`, given the affine and the shape of the array."""
    axes, steps = list(view.axes), np.array(view.steps)
    first = np.where(steps < 0, np.take(shape, axes) - 1, 0)
    result = affine.copy()
    result[:3, :3] = affine[:3, axes] * steps
    result[:3, 3] += affine[:3, axes] @ first
    return result


def radiological(orientation: PlaneLayout, axis: int) -> PlaneLayout:
    """The view whose planes show the patient's head or front up, and the right side or the front at the left.

    It is what megamed cuts out of volumes, but for the order of the planes, which is the array's own.

    Args:
        orientation: The view that makes the array out of one whose axes run to the patient's right, front and head.
        axis: Axis of the array from plane to plane.
    """
    across, down = sorted({0, 1, 2} - {axis}, key=lambda other: orientation.axes[other])
    return PlaneLayout((axis, down, across), (1, -orientation.steps[down], -orientation.steps[across]))


def _unit(columns: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    return columns / np.linalg.norm(columns, axis=0)
