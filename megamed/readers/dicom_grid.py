"""Find out which planes of a DICOM series belong together, and where in the patient they lie."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from megamed.readers.dicom_headers import header_of, readable
from megamed.readers.dicom_stored import number
from megamed.readers.dicom_values import frame_group, has_colours, pixel_spacing_mm, values_of
from megamed.readers.stored import Geometry
from megamed.readers.volume import LPS_TO_RAS, check_header, usable_orientations

STEP_TOLERANCE = 0.05
"""Largest deviation of a distance between slices that counts as even, as a share of the mean distance."""
CLOSE_TOLERANCE = 1e-4
"""Tolerance for the rounding of positions, directions and spacings within one series."""
TELLING_APART = (
    *("TemporalPositionIdentifier", "AcquisitionNumber", "EchoNumbers", "EchoTime", "DiffusionBValue", "TriggerTime"),
    *("ImageType", "ContentTime", "AcquisitionTime"),
)
"""Tags that tell apart what was taken several times at one place, as phases, echoes and directions are."""
UNSIZED = (1.0, 1.0)
"""Distances of rows and of columns that are taken where a header states none."""
NO_SIZE = "the headers state no size of pixels: they are taken for 1 mm wide and high"
"""Remark for the user."""
MOST_NAMES = 3
"""Number of files that a note names."""


@dataclass(frozen=True, eq=False)
class PlacedPlane:
    """One slice of a series: a file, or a frame of a file that holds many."""

    file: Path
    header: Any
    frame: int
    position: Float[np.ndarray, " 3"]
    """Position of the centre of the first pixel, in millimetres towards the patient's left, back and head."""
    across: Float[np.ndarray, " 3"]
    """The direction from column to column."""
    down: Float[np.ndarray, " 3"]
    """The direction from row to row."""
    spacing_mm: tuple[float, float]
    """Distances of rows and of columns."""
    is_sized: bool = True
    """Whether the header states these distances."""

    @property
    def uid(self) -> tuple[str, int]:
        """The instance and the number of the frame in it."""
        return str(self.header.get("SOPInstanceUID") or self.file), self.frame

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return int(self.header.Rows), int(self.header.Columns)

    @property
    def normal(self) -> Float[np.ndarray, " 3"]:
        """The direction at a right angle to the plane."""
        return np.cross(self.across, self.down)

    def indices_of(self, points: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, "points 2"]:
        """Rows and columns of points that are given as `position` is."""
        beyond = points - self.position
        return np.stack([beyond @ self.down, beyond @ self.across], axis=1) / self.spacing_mm

    def lies_like(self, other: "PlacedPlane") -> str:
        """Return the name of the tag by which two planes cannot be of one volume, empty if there is none."""
        ours, theirs = (np.concatenate([plane.across, plane.down]) for plane in (self, other))
        if self.shape != other.shape:
            return "Rows and Columns"
        if has_colours(self.header) != has_colours(other.header):
            return "PhotometricInterpretation"
        if not np.allclose(self.spacing_mm, other.spacing_mm, rtol=CLOSE_TOLERANCE, atol=CLOSE_TOLERANCE):
            return "PixelSpacing"
        return "" if np.allclose(ours, theirs, atol=CLOSE_TOLERANCE) else "ImageOrientationPatient"


@dataclass(frozen=True, eq=False)
class SeriesGrid:
    """Grid of a series: its slices in order and the affine that places their voxels in the patient."""

    planes: tuple[PlacedPlane, ...]
    """Slices in the order of their positions."""
    affine: Float[np.ndarray, "4 4"]
    """Affine from indices of slice, row and column to millimetres towards the patient's right, front and head."""
    notes: tuple[str, ...] = ()
    """Remarks for the user on images left out and on assumptions about the slices."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of slices, rows and columns."""
        return len(self.planes), *self.planes[0].shape

    @property
    def headers(self) -> dict[Path, Any]:
        """The data set of each file, in the order of the positions."""
        return {plane.file: plane.header for plane in self.planes}

    @property
    def uids(self) -> frozenset[str]:
        """The instance UIDs of the files."""
        return frozenset(uid for uid, _ in (plane.uid for plane in self.planes))

    @property
    def geometry(self) -> Geometry:
        """Geometry by which a mask is written on the grid of the series."""
        headers = tuple(self.headers.values())
        return Geometry(self.affine, header=headers, files=tuple(self.headers), modality=headers[0].get("Modality"))

    def level_of(self, point: Float[np.ndarray, " 3"]) -> tuple[int, float]:
        """Return the slice nearest to a point, and how far off it is as a share of the distance between slices.

        The point is in millimetres towards the patient's left, back and head.
        """
        off = [self.off(level, point) for level in range(len(self.planes))]
        level = int(np.argmin(off))
        return level, off[level]

    def off(self, level: int, point: Float[np.ndarray, " 3"]) -> float:
        """Distance of a point from a slice, as a share of the mean distance between slices."""
        normal = self.planes[0].normal
        gap = (LPS_TO_RAS[:3, :3] @ self.affine[:3, 0]) @ normal
        return float(abs((point - self.planes[level].position) @ normal / gap))


def read_grid(files: Sequence[Path]) -> SeriesGrid:
    """Find where the voxels of a series lie, from its headers alone.

    Localisers, files without a place, planes of a minority that lie otherwise, and what is stored twice are left out,
    as the notes say.

    Raises:
        ValueError: If a header cannot be read, the planes are of several series or volumes, or lie on no line.
        ImportError: If pydicom is not installed.
    """
    headers = {file: header_of(file) for file in files}
    with readable(files[0]):
        if len({str(header.get("SeriesInstanceUID", "")) for header in headers.values()}) > 1:
            msg = "expected slices of one series, got several values of SeriesInstanceUID"
            raise ValueError(msg)
        planes, notes = _belonging(headers)
        planes = sorted(planes, key=lambda plane: float(plane.position @ planes[0].normal))
        planes, repeated = _without_copies(planes)
        step, uneven = _step(planes)
        first = planes[0]
        affine = np.eye(4)
        affine[:3, 0] = step
        affine[:3, 1], affine[:3, 2] = first.down * first.spacing_mm[0], first.across * first.spacing_mm[1]
        affine[:3, 3] = first.position
        check_header((first.shape[1], first.shape[0], len(planes)), np.dtype(np.uint16))
        usable_orientations(affine)
        sizes = () if first.is_sized else (NO_SIZE,)
        return SeriesGrid(tuple(planes), LPS_TO_RAS @ affine, (*notes, *repeated, *uneven, *sizes))


def planes_of(file: Path, header: Any) -> list[PlacedPlane]:
    """Return the planes of a file that have a place in the patient."""
    frames = int(number(header, "NumberOfFrames", 1))
    if frames > 1 and "PerFrameFunctionalGroupsSequence" not in header:
        return []
    planes = []
    for frame in range(frames):
        position, orientation, measures = (
            frame_group(header, frame, name) for name in ("PlanePosition", "PlaneOrientation", "PixelMeasures")
        )
        place, turned = position.get("ImagePositionPatient"), orientation.get("ImageOrientationPatient")
        if place and turned:
            across, down = np.reshape(np.array(turned, float), (2, 3))
            lengths = np.linalg.norm(across), np.linalg.norm(down)
            if not all(lengths):
                continue
            across, down, spacing = across / lengths[0], down / lengths[1], pixel_spacing_mm(measures)
            is_sized = spacing is not None or (spacing := pixel_spacing_mm(header)) is not None
            place = np.array(place, float)
            planes.append(PlacedPlane(file, header, frame, place, across, down, spacing or UNSIZED, is_sized))
    return planes


def is_localiser(header: Any) -> bool:
    """Whether an image only shows where others were taken."""
    return "LOCALIZER" in (header.get("ImageType") or ())


def left_out(what: str, files: Iterable[Path]) -> tuple[str, ...]:
    """Phrase the note that files were left out; there is none if no file was."""
    names = sorted({file.name for file in files})
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return (f"left out {what}: {', '.join(names[:MOST_NAMES])}{more}",) if names else ()


def _belonging(headers: dict[Path, Any]) -> tuple[list[PlacedPlane], tuple[str, ...]]:
    """Return the planes that lie alike, each once, and say what else there was."""
    notes: list[str] = []
    planes = [plane for file, header in headers.items() for plane in planes_of(file, header)]
    if not planes:
        msg = "expected images with a position and an orientation, got none"
        raise ValueError(msg)
    notes += left_out("images without a place in the patient", headers.keys() - {plane.file for plane in planes})
    first_of: dict[tuple[object, ...], PlacedPlane] = {}
    for plane in planes:  # some programs that take away names give all files of a series one UID
        first_of.setdefault((*plane.uid, *plane.position.tolist()), plane)
    unique = list(first_of.values())
    notes += left_out("copies of other files", {plane.file for plane in planes} - {plane.file for plane in unique})
    kept, scouts = _parted(unique, lambda plane: not is_localiser(plane.header))
    if kept:
        notes += left_out("localisers", (plane.file for plane in scouts))
    else:
        kept = scouts
    alike: list[list[PlacedPlane]] = []
    for plane in kept:
        group = next((group for group in alike if not plane.lies_like(group[0])), None)
        if group is None:
            alike.append([plane])
        else:
            group.append(plane)
    alike.sort(key=len, reverse=True)
    if 2 * len(alike[0]) <= len(kept):
        tags = sorted({group[0].lies_like(alike[0][0]) for group in alike[1:]})
        msg = (
            f"expected slices of one volume, got {len(alike)} groups of {[len(group) for group in alike][:5]} images "
            f"that differ by {', '.join(tags)}; keep each in its own folder"
        )
        raise ValueError(msg)
    notes += left_out("images that lie otherwise", (plane.file for group in alike[1:] for plane in group))
    return alike[0], tuple(notes)


def _without_copies(planes: list[PlacedPlane]) -> tuple[list[PlacedPlane], tuple[str, ...]]:
    """Leave out planes whose position and pixels are those of the one before; refuse equal positions otherwise."""
    kept: list[PlacedPlane] = planes[:1]
    copies = []
    for plane in planes[1:]:
        before = kept[-1]
        if not np.allclose(plane.position, before.position, atol=CLOSE_TOLERANCE):
            kept.append(plane)
        elif plane.file != before.file and _same_pixels(before, plane):
            copies.append(plane.file)
        else:
            tag = next(
                (tag for tag in TELLING_APART if plane.header.get(tag) != before.header.get(tag)), "their pixels"
            )
            msg = (
                f"slices are repeated: expected one at each position, got several at {plane.position.tolist()} mm that "
                f"differ by {tag}; keep each volume in its own folder"
            )
            raise ValueError(msg)
    return kept, left_out("copies of other slices", copies)


def _same_pixels(one: PlacedPlane, other: PlacedPlane) -> bool:
    first, second = values_of([one.header, other.header])
    return np.array_equal(first, second)


def _step(planes: Sequence[PlacedPlane]) -> tuple[Float[np.ndarray, " 3"], tuple[str, ...]]:
    """Find the mean way from one slice to the next, and say if they lie unevenly."""
    positions = np.stack([plane.position for plane in planes])
    if len(planes) == 1:
        measures = frame_group(planes[0].header, planes[0].frame, "PixelMeasures")
        return planes[0].normal * (number(measures, "SliceThickness", 1) or 1), ()
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    direction = step / np.linalg.norm(step)
    along = (positions - positions[0]) @ direction
    tolerance = STEP_TOLERANCE * np.linalg.norm(step)
    aside = np.linalg.norm(positions - positions[0] - along[:, None] * direction, axis=1)
    if aside.max() > max(tolerance, min(planes[0].spacing_mm)):
        msg = f"expected slices on one line, got some {aside.max():.3g} mm aside; keep each volume in its own folder"
        raise ValueError(msg)
    steps_mm = np.diff(along)
    if np.abs(steps_mm - np.linalg.norm(step)).max() <= tolerance:
        return step, ()
    return step, (
        f"slices lie unevenly, {steps_mm.min():.3g} to {steps_mm.max():.3g} mm apart: "
        f"each counts for {np.linalg.norm(step):.3g} mm",
    )


def _parted(
    planes: Sequence[PlacedPlane], is_wanted: Callable[[PlacedPlane], bool]
) -> tuple[list[PlacedPlane], list[PlacedPlane]]:
    return [plane for plane in planes if is_wanted(plane)], [plane for plane in planes if not is_wanted(plane)]
