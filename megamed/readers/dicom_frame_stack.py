"""Bring frames that lie across the slices of a series, or closer than these, to its voxels: of each the nearest one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from megamed.readers.dicom_grid import PlacedPlane, SeriesGrid
from megamed.readers.dicom_stored import number
from megamed.readers.dicom_values import frame_group

EVENLY = 0.1
"""Largest deviation of a frame from its place in an even stack, as a share of the distance between frames."""
FINER = 0.75
"""Distance between frames, as a share of that between slices, below which each slice has a frame of its own."""
PARALLEL = 0.999
"""Cosine of the largest angle between planes that are taken for parallel."""


@dataclass(frozen=True, eq=False)
class FrameStack:
    """Parallel frames at even distances, of which those without a set pixel may be missing."""

    first: PlacedPlane
    step_mm: float

    @classmethod
    def of(cls, planes: Sequence[PlacedPlane], grid: SeriesGrid) -> "FrameStack | None":
        """Find the stack that all frames of a file lie in; None if they lie unevenly, or like slices but elsewhere."""
        first = min(planes, key=lambda plane: float(plane.position @ planes[0].normal))
        if any(plane.lies_like(first) for plane in planes):
            return None
        along = np.unique(np.round([_along(plane, first) for plane in planes], 3))
        measures = frame_group(first.header, first.frame, "PixelMeasures")
        stated = number(measures, "SpacingBetweenSlices", number(measures, "SliceThickness", 0))
        step_mm = float(np.diff(along).min()) if len(along) > 1 else stated
        if not step_mm or np.abs(along / step_mm - np.rint(along / step_mm)).max() > EVENLY:
            return None
        is_parallel = abs(first.normal @ grid.planes[0].normal) > PARALLEL
        gap_mm = float(np.linalg.norm(grid.affine[:3, 0]))
        return cls(first, step_mm) if not is_parallel or step_mm < FINER * gap_mm else None

    def on_grid(
        self, frames: Sequence[tuple[Bool[np.ndarray, "down across"], PlacedPlane]], grid: SeriesGrid
    ) -> Bool[np.ndarray, "slices rows columns"]:
        """Look up every voxel of a series in the frames of one segment."""
        places = [round(_along(plane, self.first) / self.step_mm) for _, plane in frames]
        stack = np.zeros((max(places, default=0) + 1, *self.first.shape), bool)
        for place, (is_set, _) in zip(places, frames, strict=True):
            stack[place] |= is_set
        return np.stack([self._on_slice(stack, plane) for plane in grid.planes])

    def _on_slice(self, stack: Bool[np.ndarray, "frames down across"], onto: PlacedPlane) -> Bool[np.ndarray, "H W"]:
        rows, columns = (each.reshape(-1, 1) for each in np.indices(onto.shape))
        row_mm, column_mm = onto.spacing_mm
        points = onto.position + rows * row_mm * onto.down + columns * column_mm * onto.across
        frames = (points - self.first.position) @ self.first.normal / self.step_mm
        nearest = np.rint(np.column_stack([frames, self.first.indices_of(points)])).astype(int)
        is_inside = ((nearest >= 0) & (nearest < stack.shape)).all(axis=1)
        found = np.zeros(rows.size, bool)
        found[is_inside] = stack[tuple(nearest[is_inside].transpose())]
        return found.reshape(onto.shape)


def _along(plane: PlacedPlane, first: PlacedPlane) -> float:
    return float((plane.position - first.position) @ first.normal)
