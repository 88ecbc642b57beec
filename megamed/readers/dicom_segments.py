"""Read the segments of a DICOM-SEG onto the images that they were drawn on, wherever its own pixels lie."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from megamed.readers.dicom import radiograph_geometry
from megamed.readers.dicom_frame_stack import FrameStack
from megamed.readers.dicom_grid import PlacedPlane, SeriesGrid, planes_of
from megamed.readers.dicom_headers import header_of, readable
from megamed.readers.dicom_stored import number, stored_pixels
from megamed.readers.dicom_values import frame_group
from megamed.readers.stored import DrawnLabel, Segment

PLANE_TOLERANCE = 0.1
"""Largest distance of a segment's plane from a slice, as a share of the distance between slices."""
PIXEL_TOLERANCE = 0.25
"""Largest offset of a segment's pixels from those of the image, in pixels."""
RESAMPLED = "segments lie on other pixels than the image's: of each pixel, the nearest one counts"
LABEL_MAP, FRACTIONAL = "LABELMAP", "FRACTIONAL"

Mask = UInt8[np.ndarray, "slices rows columns"]
Frame = Shaped[np.ndarray, "rows columns"]


def read_segments(path: Path, images: Sequence[Path], grid: SeriesGrid | None) -> DrawnLabel:
    """Read what segments there are; their pixels are looked at when they are drawn.

    Args:
        path: The DICOM-SEG.
        images: The files that it was drawn on.
        grid: Where their planes lie; None for images without a place, as radiographs, to which segments belong by UID.

    Raises:
        ValueError: If the segments were drawn on other images.
    """
    header = header_of(path)
    headers = [header_of(image) for image in images]
    _check_source(header, headers)
    names = segment_names(header)
    geometry = grid.geometry if grid else radiograph_geometry(images[0], headers[0])
    notes: list[str] = []
    segments = (
        Segment(each, name, functools.partial(_segment_mask, path, each, _Target(grid, headers[0], notes)))
        for each, name in names.items()
    )
    return DrawnLabel(geometry, tuple(segments), names, notes)


def segment_names(header: Any) -> dict[int, str]:
    """Return the labels of segments by number, or else what they show; 0 is the background of a label map."""
    names = {}
    for segment in header.get("SegmentSequence") or ():
        number_ = int(segment.SegmentNumber)
        kinds = segment.get("SegmentedPropertyTypeCodeSequence") or ()
        meaning = kinds[0].get("CodeMeaning") if kinds else ""
        if number_:
            names[number_] = str(segment.get("SegmentLabel") or meaning or f"Segment {number_}")
    return names


@dataclass(frozen=True, eq=False)
class _Target:
    """The images that segments are brought to."""

    grid: SeriesGrid | None
    image: Any
    """The header of the first image."""
    notes: list[str]
    """Remarks for the user, each once."""


def _segment_mask(path: Path, segment: int, target: _Target) -> Mask:
    """Read where a segment is; a slice without a frame is empty."""
    grid, image = target.grid, target.image
    with readable(path):
        header = header_of(path)
        frames = stored_pixels(header).values.reshape(-1, int(header.Rows), int(header.Columns))
        shape = grid.shape if grid else (1, int(image.Rows), int(image.Columns))
        mask = np.zeros(shape, bool)
        planes = {plane.frame: plane for plane in planes_of(path, header) if plane.is_sized}
        full = number(header, "MaximumFractionalValue", max(int(frames.max(initial=1)), 1))
        found = ((frame, _is_set(header, frame, pixels, segment, full)) for frame, pixels in enumerate(frames))
        drawn = [(frame, is_set) for frame, is_set in found if is_set.any()]
        placed = [(is_set, planes[frame]) for frame, is_set in drawn if frame in planes]
        if grid and placed and not all(_lies_on(plane, grid) for plane in planes.values()):
            stack = FrameStack.of(list(planes.values()), grid)
            if stack:
                _say(target, RESAMPLED)
                return stack.on_grid(placed, grid).astype(np.uint8)
        for frame, is_set in drawn:
            if grid is None:
                if is_set.shape != shape[1:]:
                    msg = f"expected frames of {shape[1:]} pixels as the image's, got {is_set.shape}"
                    raise ValueError(msg)
                mask[0] |= is_set
            elif frame in planes:
                if _place(is_set, planes[frame], mask, grid):
                    _say(target, RESAMPLED)
            else:
                _place_by_uid(is_set, _sources(header, frame), mask, grid)
        return mask.astype(np.uint8)


def _say(target: _Target, note: str) -> None:
    if note not in target.notes:
        target.notes.append(note)


def _lies_on(plane: PlacedPlane, grid: SeriesGrid) -> bool:
    """Whether a frame lies on a slice of a series, all of it."""
    rows, columns = plane.shape
    row_mm, column_mm = plane.spacing_mm
    corner = plane.position + (rows - 1) * row_mm * plane.down + (columns - 1) * column_mm * plane.across
    level, off = grid.level_of(plane.position)
    return max(off, grid.off(level, corner)) <= PLANE_TOLERANCE


def _is_set(header: Any, frame: int, pixels: Frame, segment: int, full: float) -> Bool[np.ndarray, "rows columns"]:
    """Mark the pixels of a frame that belong to a segment, at least by half of the full value."""
    if header.SegmentationType == LABEL_MAP:
        return pixels == segment
    if int(frame_group(header, frame, "SegmentIdentification").ReferencedSegmentNumber) != segment:
        return np.zeros(pixels.shape, bool)
    if header.SegmentationType == FRACTIONAL:
        return 2 * pixels.astype(float) >= full
    return pixels > 0


def _place(
    is_set: Bool[np.ndarray, "rows columns"], plane: PlacedPlane, mask: Bool[np.ndarray, "..."], grid: SeriesGrid
) -> bool:
    """Mark, in the mask of a series, the pixels of a frame that may be turned or cropped, or have another size.

    Returns:
        Whether they had to be resampled.

    Raises:
        ValueError: If the frame lies on no slice.
    """
    rows, columns = np.nonzero(is_set)
    row_mm, column_mm = plane.spacing_mm
    points = plane.position + rows[:, None] * row_mm * plane.down + columns[:, None] * column_mm * plane.across
    level, _ = grid.level_of(points.mean(axis=0))
    apart = max(grid.off(level, point) for point in points[[0, -1]])
    at = grid.planes[level].indices_of(points)
    nearest = at.round().astype(int)
    off = float(np.abs(at - nearest).max())
    same_size = np.allclose(sorted(plane.spacing_mm), sorted(grid.planes[level].spacing_mm), rtol=1e-3)
    if apart > PLANE_TOLERANCE:
        msg = (
            f"expected segments on the {len(grid.planes)} slices, got a frame {apart:.2f} of the distance between "
            "slices off; resample it onto the series"
        )
        raise ValueError(msg)
    if off > PIXEL_TOLERANCE or not same_size:
        mask[level] |= _resampled(is_set, plane, grid.planes[level])
        return True
    is_inside = ((nearest >= 0) & (nearest < grid.shape[1:])).all(axis=1)
    mask[level][tuple(nearest[is_inside].transpose())] = True
    return False


def _resampled(
    is_set: Bool[np.ndarray, "rows columns"], plane: PlacedPlane, onto: PlacedPlane
) -> Bool[np.ndarray, "H W"]:
    """Look up every pixel of a slice in a frame that lies on it, by nearest neighbour."""
    rows, columns = (each.reshape(-1, 1) for each in np.indices(onto.shape))
    row_mm, column_mm = onto.spacing_mm
    nearest = plane.indices_of(onto.position + rows * row_mm * onto.down + columns * column_mm * onto.across)
    nearest = nearest.round().astype(int)
    is_inside = ((nearest >= 0) & (nearest < is_set.shape)).all(axis=1)
    found = np.zeros(rows.size, bool)
    found[is_inside] = is_set[tuple(nearest[is_inside].transpose())]
    return found.reshape(onto.shape)


def _place_by_uid(
    is_set: Bool[np.ndarray, "rows columns"], uids: set[str], mask: Bool[np.ndarray, "..."], grid: SeriesGrid
) -> None:
    levels = [level for level, plane in enumerate(grid.planes) if plane.uid[0] in uids]
    if len(levels) != 1 or is_set.shape != grid.shape[1:]:
        msg = "expected frames with a position, or each drawn on one slice of the series, got neither"
        raise ValueError(msg)
    mask[levels[0]] |= is_set


def _sources(header: Any, frame: int) -> set[str]:
    """Return the UIDs of the images that a frame was drawn on."""
    derivations = frame_group(header, frame, "DerivationImage").get("SourceImageSequence") or ()
    return {str(source.ReferencedSOPInstanceUID) for source in derivations}


def _check_source(header: Any, images: Sequence[Any]) -> None:
    """Refuse segments that state their images, if these are others, and so is their space."""
    frames = range(int(number(header, "NumberOfFrames", 1)))
    named = set().union(*(_sources(header, frame) for frame in frames))
    spaces = {str(image.get("FrameOfReferenceUID", "")) for image in images} - {""}
    is_elsewhere = str(header.get("FrameOfReferenceUID", "")) not in spaces
    if named and is_elsewhere and not named & {str(image.get("SOPInstanceUID", "")) for image in images}:
        msg = f"expected labels drawn on the {len(images)} images at hand, got {len(named)} on others"
        raise ValueError(msg)
