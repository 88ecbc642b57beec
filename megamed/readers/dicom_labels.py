"""Read labels drawn on a DICOM series: segments of a DICOM-SEG, regions of an RTSTRUCT, matched to slices by UID."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from megamed.rasterise import fill_even_odd
from megamed.readers.dicom_grid import SeriesGrid, read_grid
from megamed.readers.dicom_headers import header_of, readable
from megamed.readers.faults import needs
from megamed.readers.source import Source
from megamed.readers.stored import DrawnLabel, Segment

CLOSED = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})
PLANE_TOLERANCE = 0.1
"""How far from a slice a contour may lie, as a share of the distance between slices."""

Mask = UInt8[np.ndarray, "slices rows columns"]


def read_drawn(source: Source) -> DrawnLabel:
    """Read the segments of a DICOM-SEG, or the regions of an RTSTRUCT that have contours.

    Args:
        source: The label's file, followed by the files of the series that it was drawn on.

    Raises:
        ValueError: If a file cannot be decoded, or the labels were not drawn on the slices at hand. Pixels and contours
            are looked at when a segment is drawn.
        ImportError: If pydicom, or highdicom for a DICOM-SEG, is not installed.
    """
    path, *series = source.files
    grid = read_grid(series)
    with readable(path):
        is_region = header_of(path).Modality == "RTSTRUCT"
        return (_regions if is_region else _segments)(path, grid)


def _segments(path: Path, grid: SeriesGrid) -> DrawnLabel:
    with needs("highdicom", "DICOM-SEG"):
        from highdicom.seg import Segmentation
    segmentation = Segmentation.from_dataset(header_of(path))
    _check_slices({str(uid) for *_, uid in segmentation.get_source_image_uids()}, grid)
    names = {
        int(number): str(segmentation.get_segment_description(number).segment_label)
        for number in segmentation.segment_numbers
    }
    segments = (
        Segment(number, name, functools.partial(_segment_mask, path, segmentation, number, grid))
        for number, name in names.items()
    )
    return DrawnLabel(grid.geometry, tuple(segments), names)


def _segment_mask(path: Path, segmentation: Any, number: int, grid: SeriesGrid) -> Mask:
    """Read where a segment is; a slice without a frame is empty."""
    with readable(path):
        frames = segmentation.get_pixels_by_source_instance(
            [uid for uid, _ in (plane.uid for plane in grid.planes)],
            segment_numbers=[number],
            assert_missing_frames_are_empty=True,
        )
        return (frames[..., 0] >= 0.5).astype(np.uint8)


def _regions(path: Path, grid: SeriesGrid) -> DrawnLabel:
    dataset = header_of(path)
    names = {int(roi.ROINumber): str(roi.ROIName) for roi in dataset.StructureSetROISequence}
    contours = {int(each.ReferencedROINumber): each.get("ContourSequence") for each in dataset.ROIContourSequence}
    segments = (
        Segment(number, names[number], functools.partial(_region_mask, path, drawn, grid))
        for number, drawn in contours.items()
        if drawn
    )
    return DrawnLabel(grid.geometry, tuple(segments), names)


def _region_mask(path: Path, contours: Sequence[Any], grid: SeriesGrid) -> Mask:
    """Fill the contours of a region; one inside another is a hole."""
    mask = np.zeros(grid.shape, bool)
    to_index = np.linalg.inv(grid.affine)
    with readable(path):
        for contour in contours:
            if contour.ContourGeometricType not in CLOSED:
                continue
            images = contour.get("ContourImageSequence") or ()
            _check_slices({str(image.ReferencedSOPInstanceUID) for image in images}, grid)
            points_mm = np.reshape(np.array(contour.ContourData, float), (-1, 3)) * (-1, -1, 1)  # DICOM's LPS to RAS
            points = points_mm @ to_index[:3, :3].T + to_index[:3, 3]
            level = round(float(points[:, 0].mean()))
            if np.abs(points[:, 0] - level).max() > PLANE_TOLERANCE or not 0 <= level < grid.shape[0]:
                msg = f"expected contours on slices 0 to {grid.shape[0] - 1}, got one at {points[:, 0].mean():.2f}"
                raise ValueError(msg)
            # columns first, as the filling treats a centre on an edge along its second axis
            mask[level] ^= fill_even_odd(points[:, :0:-1], grid.shape[:0:-1]).transpose()
    return mask.astype(np.uint8)


def _check_slices(uids: set[str], grid: SeriesGrid) -> None:
    """Refuse labels that were drawn on slices that are not at hand."""
    if missing := uids - set(grid.uids):
        msg = f"expected labels drawn on the {len(grid.uids)} slices of the series, got {len(missing)} on others"
        raise ValueError(msg)
