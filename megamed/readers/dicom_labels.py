"""Read labels drawn on DICOM images: segments of a DICOM-SEG, regions of an RTSTRUCT, placed by their positions."""

import functools
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from megamed.rasterise import fill_parts, fill_rings
from megamed.readers.dicom_grid import SeriesGrid, planes_of, read_grid
from megamed.readers.dicom_headers import LABEL_MODALITIES, has_mark, header_of, readable, states_label
from megamed.readers.dicom_segments import PLANE_TOLERANCE, read_segments
from megamed.readers.source import Source
from megamed.readers.stored import DrawnLabel, Segment

XOR = "CLOSEDPLANAR_XOR"
CLOSED = frozenset({"CLOSED_PLANAR", XOR})
FEWEST_POINTS = 3
"""Number of points of a contour that surrounds anything."""

Mask = UInt8[np.ndarray, "slices rows columns"]


def read_drawn(source: Source) -> DrawnLabel:
    """Read the segments of a DICOM-SEG, or the regions of an RTSTRUCT that have contours.

    Args:
        source: The label's file, followed by the files of the images that it was drawn on.

    Raises:
        ValueError: If a file cannot be decoded, or the labels were not drawn on the images at hand. Pixels and contours
            are looked at when a segment is drawn.
        ImportError: If pydicom is not installed.
    """
    path, *images = source.files
    is_region = header_of(path).get("Modality") == "RTSTRUCT"
    with readable(path):
        is_placed = len(images) > 1 or is_region or bool(planes_of(images[0], header_of(images[0])))
    grid = read_grid(images) if is_placed else None
    with readable(path):
        return _regions(path, grid) if is_region and grid else read_segments(path, images, grid)


def recognises(path: Path) -> bool:
    """Whether a file is a DICOM-SEG or an RTSTRUCT.

    Raises:
        ValueError: If it is of DICOM, but damaged.
        ImportError: If pydicom is needed to tell, and is not installed.
    """
    return states_label(path) or (has_mark(path) and header_of(path).get("Modality") in LABEL_MODALITIES)


def names_in(path: Path) -> dict[int, str]:
    """Return the names of segments or regions by their numbers, from the header alone.

    Raises:
        ValueError: If the file cannot be decoded.
        ImportError: If pydicom is not installed.
    """
    header = header_of(path)
    with readable(path):
        segments = {int(each.SegmentNumber): str(each.SegmentLabel) for each in header.get("SegmentSequence") or ()}
        regions = {int(each.ROINumber): str(each.ROIName) for each in header.get("StructureSetROISequence") or ()}
        return segments | regions


def _regions(path: Path, grid: SeriesGrid) -> DrawnLabel:
    dataset = header_of(path)
    names = {int(roi.ROINumber): str(roi.ROIName) for roi in dataset.StructureSetROISequence}
    contours = {int(each.ReferencedROINumber): each.get("ContourSequence") for each in dataset.ROIContourSequence}
    notes: list[str] = []
    segments = (
        Segment(number, names[number], functools.partial(_region_mask, path, names[number], drawn, grid, notes))
        for number, drawn in contours.items()
        if drawn
    )
    return DrawnLabel(grid.geometry, tuple(segments), names, notes)


def _region_mask(path: Path, name: str, contours: Sequence[Any], grid: SeriesGrid, notes: list[str]) -> Mask:
    """Fill the contours of a region: one inside another is a hole, those that cross are united."""
    mask = np.zeros(grid.shape, bool)
    rings: dict[int, list[Float[np.ndarray, "points 2"]]] = defaultdict(list)
    strays: list[str] = []
    with readable(path):
        closed = [
            contour
            for contour in contours
            if contour.ContourGeometricType in CLOSED and len(contour.ContourData) >= 3 * FEWEST_POINTS
        ]
        for contour in closed:
            level, points, reason = _placed(contour, grid)
            if reason:
                strays.append(reason)
            else:
                rings[level].append(points)
        if strays and not rings:
            msg = f"expected contours on the {len(grid.planes)} slices of the series, got one {strays[0]}"
            raise ValueError(msg)
        if strays:
            notes.append(f"left out {len(strays)} of {len(closed)} contours of {name!r}: one lies {strays[0]}")
        fill = fill_rings if any(contour.ContourGeometricType == XOR for contour in closed) else fill_parts
        for level, drawn in rings.items():
            # columns first, as the filling treats a centre on an edge along its second axis
            mask[level] = fill([points[:, ::-1] for points in drawn], grid.shape[:0:-1]).transpose()
    return mask.astype(np.uint8)


def _placed(contour: Any, grid: SeriesGrid) -> tuple[int, Float[np.ndarray, "points 2"], str]:
    """Find the slice of a contour and its rows and columns there; else say why it lies on none."""
    points_mm = np.reshape(np.array(contour.ContourData, float), (-1, 3))
    level, _ = grid.level_of(points_mm.mean(axis=0))
    apart = max(grid.off(level, point) for point in points_mm)
    named = {str(image.ReferencedSOPInstanceUID) for image in contour.get("ContourImageSequence") or ()}
    if named and not named & grid.uids:
        return level, points_mm[:, :2], "on others"
    if apart > PLANE_TOLERANCE:
        return level, points_mm[:, :2], f"{apart:.2f} of the distance between slices off the nearest"
    return level, grid.planes[level].indices_of(points_mm), ""
