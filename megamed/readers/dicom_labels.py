"""Read labels drawn on a DICOM series: segments of a DICOM-SEG, regions of an RTSTRUCT, matched to slices by UID."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from megamed.readers.dicom import Grid, read_grid, readable
from megamed.readers.faults import needs
from megamed.readers.volume import Volume
from megamed.schema import slugify

CLOSED = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})
PLANE_TOLERANCE = 0.1
"""How far from a slice a contour may lie, as a share of the distance between slices."""


def read_masks(path: Path, series: Sequence[Path], names: Mapping[str, int]) -> Iterator[tuple[int, Volume]]:
    """Yield the segments or regions of a file that have a name we know, as masks on a series.

    Args:
        path: A DICOM-SEG or RTSTRUCT file.
        series: The files of the series that it was drawn on.
        names: Per slug of a segment's or region's name, its label value. Others are not read.

    Yields:
        Label value, and where it is 1.

    Raises:
        ValueError: If a file cannot be decoded, or the labels were not drawn on the slices at hand.
        ImportError: If pydicom, or highdicom for a DICOM-SEG, is not installed.
    """
    grid = read_grid(series)
    with readable(path) as pydicom:
        is_region = pydicom.dcmread(path, specific_tags=["Modality"], stop_before_pixels=True).Modality == "RTSTRUCT"
    read = _regions if is_region else _segments
    for name, mask in read(path, grid, frozenset(names)):
        yield names[name], grid.volume(mask)


def _segments(
    path: Path, grid: Grid, names: frozenset[str]
) -> Iterator[tuple[str, UInt8[np.ndarray, "columns rows slices"]]]:
    """Yield the segments of a DICOM-SEG; a slice without a frame is empty."""
    with needs("highdicom", "DICOM-SEG"):
        from highdicom.seg import segread
    with readable(path):
        segmentation = segread(path)
        _check_slices({str(uid) for *_, uid in segmentation.get_source_image_uids()}, grid)
        for number in segmentation.segment_numbers:
            name = slugify(segmentation.get_segment_description(number).segment_label)
            if name in names:
                frames = segmentation.get_pixels_by_source_instance(
                    grid.uids, segment_numbers=[number], assert_missing_frames_are_empty=True
                )
                yield name, (frames[..., 0] >= 0.5).astype(np.uint8).transpose(2, 1, 0)


def _regions(
    path: Path, grid: Grid, names: frozenset[str]
) -> Iterator[tuple[str, UInt8[np.ndarray, "columns rows slices"]]]:
    """Yield the regions of an RTSTRUCT that have contours."""
    with readable(path) as pydicom:
        dataset = pydicom.dcmread(path)
        slugs = {int(roi.ROINumber): slugify(roi.ROIName) for roi in dataset.StructureSetROISequence}
        for region in dataset.ROIContourSequence:
            name = slugs[int(region.ReferencedROINumber)]
            if name in names and region.get("ContourSequence"):
                yield name, _filled(region.ContourSequence, grid).astype(np.uint8)


def _filled(contours: Sequence[Any], grid: Grid) -> Bool[np.ndarray, "columns rows slices"]:
    """Fill the contours of a region; one inside another is a hole."""
    mask = np.zeros(grid.shape, bool)
    to_index = np.linalg.inv(grid.affine)
    for contour in contours:
        if contour.ContourGeometricType not in CLOSED:
            continue
        _check_slices(
            {str(image.ReferencedSOPInstanceUID) for image in contour.get("ContourImageSequence") or ()}, grid
        )
        points_mm = np.reshape(np.array(contour.ContourData, float), (-1, 3))
        points = points_mm @ to_index[:3, :3].T + to_index[:3, 3]
        level = round(float(points[:, 2].mean()))
        if np.abs(points[:, 2] - level).max() > PLANE_TOLERANCE or not 0 <= level < grid.shape[2]:
            msg = f"expected contours on slices 0 to {grid.shape[2] - 1}, got one at {points[:, 2].mean():.2f}"
            raise ValueError(msg)
        mask[:, :, level] ^= fill_even_odd(points[:, :2], grid.shape[:2])
    return mask


def _check_slices(uids: set[str], grid: Grid) -> None:
    """Refuse labels that were drawn on slices that are not at hand."""
    if missing := uids - set(grid.uids):
        msg = f"expected labels drawn on the {len(grid.uids)} slices of the series, got {len(missing)} on others"
        raise ValueError(msg)


def fill_even_odd(points: Float[np.ndarray, "points 2"], shape: tuple[int, int]) -> Bool[np.ndarray, "I J"]:
    """Mark the pixels whose centre a closed contour surrounds an odd number of times.

    Args:
        points: Of the contour, as indices where the centre of the first pixel is (0, 0).
        shape: Of the result.

    A centre on a lower edge counts as inside, on an upper one as outside, so that neighbours share no pixel.
    """
    crossings = np.zeros((shape[0] + 1, shape[1]), np.int32)
    for (i0, j0), (i1, j1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        low, high = np.ceil(np.clip(sorted((j0, j1)), 0, shape[1])).astype(int)
        lines = np.arange(low, high)
        if lines.size:
            at = i0 + (lines - j0) * (i1 - i0) / (j1 - j0)
            np.add.at(crossings, (np.ceil(at).clip(0, shape[0]).astype(int), lines), 1)
    beyond = crossings[::-1].cumsum(axis=0)[::-1][1:]  # how often the contour is met further along the first axis
    return beyond % 2 == 1
