"""Volumes whose axes run to the patient's right, front and head, and the way there from any other axes."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Real

from megamed.readers.faults import needs

MAX_VOXELS = 2**30
AFFINE_TOLERANCE_MM = 1e-3
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Volume:
    """A volume whose axes run to the patient's right, front and head."""

    array: Real[np.ndarray, "X Y Z"]
    spacing_mm: tuple[float, float, float]
    affine: Float[np.ndarray, "4 4"]
    """From voxel indices to millimetres."""


def canonical(
    array: Real[np.ndarray, "I J K"], affine: Float[np.ndarray, "4 4"], spacing_mm: tuple[float, ...] | None = None
) -> Volume:
    """Reorient a volume by flips and swaps of axes only.

    Args:
        array: In any orientation.
        affine: From its voxel indices to millimetres towards right, front and head.
        spacing_mm: Distance of neighbouring voxels along each axis, where the header states it apart from the affine.
    """
    orientations = usable_orientations(affine)
    orientation = orientations.io_orientation(affine)
    turned = affine @ orientations.inv_ornt_aff(orientation, array.shape)
    if spacing_mm is None:
        x, y, z = (float(size) for size in np.linalg.norm(turned[:3, :3], axis=0))
    else:
        x, y, z = (float(spacing_mm[axis]) for axis in np.argsort(orientation[:, 0]))
    return Volume(orientations.apply_orientation(array, orientation), (x, y, z), turned)


def usable_orientations(affine: Float[np.ndarray, "4 4"]) -> Any:
    """Return the module that reorients volumes, having checked that an affine can be used.

    Raises:
        ValueError: If the affine is singular or not finite.
        ImportError: If nibabel is not installed.
    """
    with needs("nibabel", "volumes"):
        from nibabel import orientations
    if not np.isfinite(affine).all() or not np.linalg.det(affine[:3, :3]):
        msg = f"affine is unusable: expected three independent axes, got {affine.tolist()}."
        raise ValueError(msg)
    return orientations


def stack(pages: Real[np.ndarray, "Z H W"]) -> Volume:
    """Make a volume of pages without geometry; its axial planes show them as they are."""
    return Volume(pages.transpose(2, 1, 0)[::-1, ::-1], (1.0, 1.0, 1.0), np.eye(4))


def check_header(shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Refuse what is no volume of numbers, before decoding it."""
    if len(shape) != 3 or min(shape) < 1 or math.prod(shape) > MAX_VOXELS:
        msg = f"expected three axes and at most {MAX_VOXELS} voxels, got {shape}"
        raise ValueError(msg)
    if dtype.kind not in "iuf":
        msg = f"expected real numbers, got {dtype}"
        raise ValueError(msg)


def check_affines(image: Volume, label: Volume) -> None:
    """Refuse a label that lies elsewhere in space than its image."""
    if not np.allclose(image.affine, label.affine, atol=AFFINE_TOLERANCE_MM):
        affines = (volume.affine.round(3).tolist() for volume in (image, label))
        msg = "label lies elsewhere than its image: expected affine {}, got {}.".format(*affines)
        raise ValueError(msg)
