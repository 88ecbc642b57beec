"""Volumes whose axes run to the patient's right, front and head, and the way there from any other axes."""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Integer, Real, Shaped

from megamed.readers.faults import needs
from megamed.readers.memory import check_room

MAX_VOXELS = 2**30
MISPLACED = 0.1
"""Largest distance of voxels that are taken for the same, as a share of their smallest spacing."""
BESIDE = 0.5001
"""Largest distance along an axis, in voxels, of a label of its image's size that is taken to lie on it, with a note;
half a voxel, as headers round it."""
ASIDE = "its header puts it beside its image"
"""Beginning of the note."""
PAGES = np.array([[2.0, 1.0], [1.0, -1.0], [0.0, -1.0]])
"""Axis of a volume and its direction that planes, rows and columns of pages become."""
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Volume:
    """A volume whose axes run to the patient's right, front and head."""

    array: Real[np.ndarray, "X Y Z"]
    spacing_mm: tuple[float, float, float]
    affine: Float[np.ndarray, "4 4"]
    """Affine from voxel indices to millimetres towards the patient's right, front and head."""
    other_affines: tuple[Float[np.ndarray, "4 4"], ...] = ()
    """Affines that the header states besides, which other programs may have taken."""
    orientation: Float[np.ndarray, "3 2"] | None = None
    """Axis, and 1 or -1 for its direction, that each axis of the file has become; None if they are the same."""
    is_placed: bool = True
    """Whether the header states the affine."""
    planes_first: bool = False
    """Whether the file's axes are planes, rows and columns, as those of pages and DICOM series; else columns come
    first."""

    @property
    def stored_affine(self) -> Float[np.ndarray, "4 4"]:
        """Affine from indices of `as_stored`."""
        if self.orientation is None:
            return self.affine
        turning = usable_orientations(self.affine).inv_ornt_aff(self.orientation, self.as_stored.shape)
        return self.affine @ np.linalg.inv(turning)

    @property
    def as_stored(self) -> Real[np.ndarray, "I J K"]:
        """The array in its file's order of axes."""
        if self.orientation is None:
            return self.array
        axes = self.orientation[:, 0].astype(int)
        flipped = np.flip(self.array, tuple(int(axis) for axis, sign in self.orientation if sign < 0))
        return flipped.transpose(axes)

    def turned(self, array: Real[np.ndarray, "I J K"]) -> Real[np.ndarray, "X Y Z"]:
        """Return an array that has the order of the file's axes as `array` is turned."""
        if self.orientation is None:
            return array
        return usable_orientations(self.affine).apply_orientation(array, self.orientation)


def canonical(
    array: Real[np.ndarray, "I J K"],
    affine: Float[np.ndarray, "4 4"],
    spacing_mm: tuple[float, ...] | None = None,
    other_affines: tuple[Float[np.ndarray, "4 4"], ...] = (),
) -> Volume:
    """Reorient a volume by flips and swaps of axes only.

    Args:
        array: Volume in any orientation.
        affine: Map from voxel indices of the array to millimetres towards right, front and head.
        spacing_mm: Distance of neighbouring voxels along each axis, where the header states it apart from the affine.
        other_affines: Affines that the header states besides.
    """
    orientations = usable_orientations(affine)
    orientation = orientations.io_orientation(affine)
    turning = orientations.inv_ornt_aff(orientation, array.shape)
    turned, others = affine @ turning, tuple(other @ turning for other in other_affines)
    if spacing_mm is None:
        x, y, z = (float(size) for size in np.linalg.norm(turned[:3, :3], axis=0))
    else:
        x, y, z = (float(spacing_mm[axis]) for axis in np.argsort(orientation[:, 0]))
    return Volume(orientations.apply_orientation(array, orientation), (x, y, z), turned, others, orientation)


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


def stack(pages: Real[np.ndarray, "Z H W"], spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Volume:
    """Make a volume of pages without a place in the patient; its axial planes show them as they are.

    Args:
        pages: Planes in their order.
        spacing_mm: Distances of planes, rows and columns.
    """
    between, row, column = spacing_mm
    array = pages.transpose(2, 1, 0)[::-1, ::-1]
    return Volume(array, (column, row, between), np.eye(4), (), PAGES, is_placed=False, planes_first=True)


def check_header(shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Refuse what is no volume of numbers, before decoding it."""
    if len(shape) != 3 or min(shape) < 1 or math.prod(shape) > MAX_VOXELS:
        msg = f"expected three axes and at most {MAX_VOXELS} voxels, got {shape}"
        raise ValueError(msg)
    if dtype.kind not in "iuf":
        msg = f"expected real numbers, got {dtype}"
        raise ValueError(msg)
    check_room(math.prod(shape), f"{' × '.join(map(str, shape))} voxels")


def _corners(shape: tuple[int, ...]) -> Float[np.ndarray, "8 4"]:
    """List the homogeneous indices of the corners of a volume."""
    return np.array([(*corner, 1.0) for corner in np.ndindex(2, 2, 2)]) * [*(np.array(shape) - 1), 1]


def displacement_mm(affine: Float[np.ndarray, "4 4"], other: Float[np.ndarray, "4 4"], shape: tuple[int, ...]) -> float:
    """Measure how far apart two affines put a voxel of a volume at most."""
    return float(np.linalg.norm(_corners(shape) @ (affine - other).T, axis=1).max())


def voxels_apart(affine: Float[np.ndarray, "4 4"], other: Float[np.ndarray, "4 4"], shape: tuple[int, ...]) -> float:
    """Measure how far apart two affines put a voxel of a volume at most along an axis, in voxels of the other."""
    return float(np.abs(np.linalg.inv(other)[:3, :3] @ ((affine - other) @ _corners(shape).T)[:3]).max())


def beside_note(voxels: float) -> str:
    """Return a note on a label that lies a part of a voxel beside its image; empty if it lies on it, or elsewhere."""
    if not MISPLACED < voxels <= BESIDE:
        return ""
    return f"{ASIDE} by {voxels:.2f} of a voxel, but it has its size: it is taken to lie on it"


def check_place(image: Volume, other: Volume, what: str) -> None:
    """Refuse a volume that lies elsewhere in space than its image, by more than a small part of a voxel.

    Where headers state several places, one that both have is enough.
    """
    apart = _apart_mm(image, other)
    if apart > MISPLACED * min(image.spacing_mm):
        affines = (volume.affine.round(3).tolist() for volume in (image, other))
        msg = f"{what} lies elsewhere than its image: expected affine {{}}, got {{}}, up to {apart:.3g} mm apart."
        raise ValueError(msg.format(*affines))


def _apart_mm(image: Volume, other: Volume) -> float:
    """Measure how far apart two volumes of one size lie, by the nearest of the places that their headers state."""
    stated = ((volume.affine, *volume.other_affines) for volume in (image, other))
    return min(displacement_mm(one, another, image.array.shape) for one, another in itertools.product(*stated))


def place_note(label: Volume, image: Volume) -> str:
    """Return the note on a label of its image's size that lies a part of a voxel beside it; empty for others."""
    if label.array.shape != image.array.shape or not (label.is_placed and image.is_placed):
        return ""
    return beside_note(_voxels_beside(label, image))


def _voxels_beside(label: Volume, image: Volume) -> float:
    """Measure how many voxels a label of its image's size lies beside it, by the nearest of the stated places."""
    stated = ((volume.affine, *volume.other_affines) for volume in (label, image))
    shape = image.array.shape
    return min(voxels_apart(one, another, shape) for one, another in itertools.product(*stated))


def _has_its_order(label: Volume, image: Volume) -> bool:
    """Whether a label's place tells nothing, so that its file has the order of its image's axes."""
    if image.is_placed or not label.is_placed:
        return not label.is_placed
    return label.array.shape != image.array.shape or _apart_mm(image, label) > MISPLACED * min(image.spacing_mm)


def on_grid(label: Volume, image: Volume) -> Real[np.ndarray, "X Y Z"]:
    """Put a label onto the grid of its image, of which it may be a part that was cut out.

    A label of the image's size may lie up to half a voxel beside it: see `place_note`. A part must lie inside the
    image, and not in a corner of it: there also lies what has lost its place. Where one of them states no place, their
    files have the same order of axes; or the reverse order, if only the file of one begins with planes, and the size
    says so.

    Raises:
        ValueError: If it lies elsewhere, its size is another and its place does not tell where it belongs, or both
            orders of axes fit.
    """
    shape, stored = image.array.shape, label.as_stored
    is_alike, is_placed = stored.shape == image.as_stored.shape, label.is_placed and image.is_placed
    if label.planes_first != image.planes_first and not is_placed and stored.shape[::-1] == image.as_stored.shape:
        if is_alike:
            msg = f"label has two readings: expected axes in one order, got {stored.shape}, which fits both. "
            raise ValueError(msg + "Save it in its image's format.")
        return image.turned(stored.transpose())
    if is_alike and _has_its_order(label, image):
        return image.turned(stored)
    if label.array.shape == shape:
        if _voxels_beside(label, image) > BESIDE:
            check_place(image, label, "label")
        return label.array
    msg = (
        f"label does not match its image: expected {shape}, got {label.array.shape}, which by its place is no part "
        "of it. Save it on the image's grid."
    )
    if not is_placed:
        raise ValueError(msg)
    try:
        return part_on_grid(label.array, label.affine, shape, image.affine)
    except ValueError as error:
        raise ValueError(msg) from error


def part_on_grid(
    array: Shaped[np.ndarray, "I J K"],
    affine: Float[np.ndarray, "4 4"],
    shape: tuple[int, ...],
    onto: Float[np.ndarray, "4 4"],
) -> Shaped[np.ndarray, "i j k"]:
    """Put a part that was cut out of a volume back into its place; arguments are those of `laid_on`.

    Raises:
        ValueError: If by its place it is no part of it, or lies in a corner of it, as does what has lost its place.
    """
    inside, part = laid_on(array, affine, shape, onto)
    in_corner = all(0 in (cut.start, size - cut.stop) for cut, size in zip(inside, shape, strict=True))
    if in_corner or part.size < array.size:
        msg = f"expected a part of {shape}, got {array.shape} in a corner or beyond"
        raise ValueError(msg)
    whole = np.zeros(shape, array.dtype)
    whole[inside] = part
    return whole


def laid_on(
    array: Shaped[np.ndarray, "I J K"],
    affine: Float[np.ndarray, "4 4"],
    shape: tuple[int, ...],
    onto: Float[np.ndarray, "4 4"],
) -> tuple[tuple[slice, ...], Shaped[np.ndarray, "i j k"]]:
    """Find where a volume lies on a grid with the same voxels, turn it so and cut off what reaches beyond.

    Args:
        array: Volume in any order and direction of axes.
        affine: Map from indices of the volume to millimetres.
        shape: Size of the grid.
        onto: Map from indices of the grid to millimetres.

    Returns:
        The part of the grid that the volume covers, and what belongs there.

    Raises:
        ValueError: If the voxels of the two do not coincide.
    """
    to_grid = np.linalg.inv(onto) @ affine
    steps, start = np.rint(to_grid[:3, :3]), np.rint(to_grid[:3, 3])
    drift = np.abs(to_grid[:3, :3] - steps) @ np.array(array.shape) + np.abs(to_grid[:3, 3] - start)
    off = float(drift.max())
    is_turned = all((np.abs(steps).sum(axis=axis) == 1).all() for axis in (0, 1))
    if not is_turned or off > MISPLACED:
        msg = f"segmentation lies elsewhere than its image: expected voxels that coincide, got them {off:.2f} apart."
        raise ValueError(msg)
    aligned = array.transpose(np.abs(steps).argmax(axis=1))
    low = start.astype(int)
    for axis in range(3):
        if steps[axis].sum() < 0:
            aligned = np.flip(aligned, axis)
            low[axis] -= aligned.shape[axis] - 1
    return _cut(aligned, low, shape)


def looked_up(
    array: Shaped[np.ndarray, "I J K"],
    affine: Float[np.ndarray, "4 4"],
    shape: tuple[int, ...],
    onto: Float[np.ndarray, "4 4"],
) -> Shaped[np.ndarray, "i j k"]:
    """Bring a volume to a grid whose axes are parallel but have other spacings, as that of an oversampled one.

    Every voxel of the grid has the value of the nearest one of the volume, or 0 outside of it. Arguments are those of
    `laid_on`.

    Raises:
        ValueError: If axes are not parallel.
    """
    to_array = np.linalg.inv(affine) @ onto
    steps = np.abs(to_array[:3, :3])
    along = steps.argmax(axis=0)
    ratios = steps[along, range(3)]
    aside = steps.sum(axis=0) - ratios
    if len(set(along.tolist())) < 3 or (aside > MISPLACED * ratios / max(shape)).any():
        msg = "segmentation lies elsewhere than its image: expected axes that are parallel, got others."
        raise ValueError(msg)
    found = np.zeros(shape, array.dtype)
    places, inside = [np.zeros(0, int)] * 3, [np.zeros(0, int)] * 3
    for axis, (own, side) in enumerate(zip(along.tolist(), shape, strict=True)):
        nearest = np.rint(to_array[own, axis] * np.arange(side) + to_array[own, 3]).astype(int)
        inside[axis] = np.flatnonzero((nearest >= 0) & (nearest < array.shape[own]))
        places[axis] = nearest[inside[axis]]
    found[np.ix_(*inside)] = array.transpose(along)[np.ix_(*places)]
    return found


def _cut(
    array: Shaped[np.ndarray, "I J K"], low: Integer[np.ndarray, "3"], shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], Shaped[np.ndarray, "i j k"]]:
    """Cut off what reaches beyond a grid."""
    inside, part = [], []
    for first, count, size in zip(low.tolist(), array.shape, shape, strict=True):
        start, stop = max(first, 0), max(min(first + count, size), max(first, 0))
        inside.append(slice(min(start, size), min(stop, size)))
        part.append(slice(min(start, size) - first, min(stop, size) - first))
    return tuple(inside), array[tuple(part)]
