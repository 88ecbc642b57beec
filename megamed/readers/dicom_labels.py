"""Read labels drawn on DICOM images: segments of a DICOM-SEG, regions of an RTSTRUCT, placed by their positions."""

import functools
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from megamed.failures import Attempt
from megamed.rasterise import fill_parts, fill_rings
from megamed.readers.dicom_across import Fill, fill_across
from megamed.readers.dicom_grid import SeriesGrid, planes_of, read_grid
from megamed.readers.dicom_headers import LABEL_MODALITIES, has_mark, header_of, readable, states_label
from megamed.readers.dicom_references import spaces_of
from megamed.readers.dicom_segments import PLANE_TOLERANCE, read_segments, segment_names
from megamed.readers.source import Source
from megamed.readers.stored import DrawnLabel, Segment

XOR = "CLOSEDPLANARXOR"
CLOSED = frozenset({"CLOSEDPLANAR", XOR, ""})
"""Types of contours that surround an area, in capitals alone; one that states none is taken for closed."""
FEWEST_POINTS = 3
"""Number of points of a contour that surrounds anything."""
BESIDE = "contours lie a little beside the slices that they name: they count for these"
BESIDE_NAMED = 0.35
"""Largest distance of a contour from the slice that it names, as a share of the distance between slices."""

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
        is_sized = any(plane.is_sized for plane in planes_of(images[0], header_of(images[0])))
        is_placed = len(images) > 1 or is_region or is_sized
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
        return segment_names(header) | _region_names(header)


def _region_names(header: Any) -> dict[int, str]:
    regions = header.get("StructureSetROISequence") or ()
    return {int(each.ROINumber): str(each.get("ROIName") or f"ROI {each.ROINumber}") for each in regions}


def _regions(path: Path, grid: SeriesGrid) -> DrawnLabel:
    dataset = header_of(path)
    names = _region_names(dataset)
    contours = {
        int(each.ReferencedROINumber): each.get("ContourSequence") for each in dataset.get("ROIContourSequence") or ()
    }
    notes: list[str] = []
    images = (plane.header for plane in grid.planes)
    shares_space = not spaces_of(dataset).isdisjoint(str(image.get("FrameOfReferenceUID", "")) for image in images)
    segments = (
        Segment(
            number,
            names[number],
            functools.partial(_region_mask, path, names[number], drawn, _ContourSpace(grid, shares_space, notes)),
        )
        for number, drawn in contours.items()
        if drawn and number in names
    )
    if nameless := [number for number, drawn in contours.items() if drawn and number not in names]:
        notes.append(f"left out the contours of {len(nameless)} regions that the file does not list")
    return DrawnLabel(grid.geometry, tuple(segments), names, notes)


@dataclass(frozen=True)
class _ContourSpace:
    """The series that contours are brought to."""

    grid: SeriesGrid
    shares_space: bool
    """Whether the contours lie in the same space, so that those drawn on other images of it lie right."""
    notes: list[str]
    """Remarks for the user."""


def _region_mask(path: Path, name: str, contours: Sequence[Any], place: _ContourSpace) -> Mask:
    """Fill the contours of a region: one inside another is a hole, those that cross are united."""
    mask = np.zeros(place.grid.shape, bool)
    rings: dict[int, list[Float[np.ndarray, "points 2"]]] = defaultdict(list)
    strays: list[str] = []
    with readable(path):
        areas = [contour for contour in contours if len(contour.get("ContourData") or ()) >= 3 * FEWEST_POINTS]
        closed = [contour for contour in areas if _is_closed(contour)]
        fill = fill_rings if any(_type(contour) == XOR for contour in closed) else fill_parts
        if (found := _across(closed, place, fill)) is not None:
            place.notes.append(f"contours of {name!r} were {found[1]}")
            return found[0].astype(np.uint8)
        for contour in closed:
            level, points, reason = _placed(contour, place)
            if reason:
                strays.append(reason)
            else:
                rings[level].append(points)
        if strays and not rings:
            msg = f"expected contours on the {len(place.grid.planes)} slices of the series, got one {strays[0]}"
            raise ValueError(msg)
        if strays:
            place.notes.append(f"left out {len(strays)} of {len(closed)} contours of {name!r}: one lies {strays[0]}")
        if opened := len(areas) - len(closed):
            place.notes.append(f"left out {opened} of {len(areas)} contours of {name!r}, which are open lines")
        for level, drawn in rings.items():
            # columns first, as the filling treats a centre on an edge along its second axis
            mask[level] = fill([points[:, ::-1] for points in drawn], place.grid.shape[:0:-1]).transpose()
    return mask.astype(np.uint8)


def _across(contours: Sequence[Any], place: _ContourSpace, fill: Fill) -> tuple[Bool[np.ndarray, "..."], str] | None:
    """Fill contours that all were drawn across the slices; None if they were not, or one is damaged."""
    with Attempt():
        points = [np.array(contour.ContourData, float).reshape(-1, 3) for contour in contours]
        if points and place.shares_space and all(np.isfinite(each).all() for each in points):
            return fill_across(points, place.grid, fill)
    return None


def _type(contour: Any) -> str:
    return re.sub("[^A-Z]", "", str(contour.get("ContourGeometricType") or "").upper())


def _is_closed(contour: Any) -> bool:
    """Whether a contour surrounds an area, as a line that comes back to its first point does."""
    first, last = list(contour.ContourData[:3]), list(contour.ContourData[-3:])
    return _type(contour) in CLOSED or (_type(contour) == "OPENPLANAR" and first == last)


def _placed(contour: Any, place: _ContourSpace) -> tuple[int, Float[np.ndarray, "points 2"], str]:
    """Find the slice of a contour and its rows and columns there; else say why it lies on none."""
    grid, nothing = place.grid, np.zeros((0, 2))
    try:
        coordinates = np.array(contour.ContourData, float)
    except ValueError:
        coordinates = np.array([np.nan])
    if coordinates.size % 3 or not np.isfinite(coordinates).all():
        return 0, nothing, "nowhere: its points are not three numbers each"
    points_mm = coordinates.reshape(-1, 3)
    named = {str(image.ReferencedSOPInstanceUID) for image in contour.get("ContourImageSequence") or ()}
    if named and not named & grid.uids and not place.shares_space:
        return 0, nothing, "on others"
    level, _ = grid.level_of(points_mm.mean(axis=0))
    apart = max(grid.off(level, point) for point in points_mm)
    if apart > PLANE_TOLERANCE:
        its_own = [level for level, plane in enumerate(grid.planes) if plane.uid[0] in named]
        if len(its_own) != 1 or max(grid.off(its_own[0], point) for point in points_mm) >= BESIDE_NAMED:
            return 0, nothing, f"{apart:.2f} of the distance between slices off the nearest"
        (level,) = its_own
        if BESIDE not in place.notes:
            place.notes.append(BESIDE)
    return level, grid.planes[level].indices_of(points_mm), ""
