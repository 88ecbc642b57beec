"""Content of a file as stored: pixels in the file's own order, where they lie, and what the file says of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Shaped, UInt8, UInt16

from megamed.label_colours import stated_colours
from megamed.readers.orientation_tag import UPRIGHT
from megamed.readers.volume import Volume, canonical, stack

REVERSED = "its axes are those of its image in the other direction: columns, rows, planes against planes, rows, columns"
"""Remark on a label."""
UNPLACED = "its header states no place in the patient: its voxels are taken in the order of those of its image"
"""Remark on a label."""

AS_THEY_LIE = (
    "its planes are taken in the order in which the slices lie, which is not that of their numbers: "
    "if it has the latter, save it as NIfTI or NRRD, which state the place"
)
"""Remark on a label."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """Place of a file's pixels in the patient, and what is needed to write a mask that lies on them."""

    affine: Float[np.ndarray, "4 4"] | None = None
    """Affine from indices of the file's three axes of space to millimetres towards the patient's right, front and head;
    None where the file states no place, as pictures and radiographs."""
    spacing: tuple[float, ...] | None = None
    """Distance of neighbouring pixels along each axis of space, if the header states it apart from the affine."""
    units: str = "mm"
    """The unit of `spacing`."""
    header: Any = None
    """The header as the library of the format reads it: an object for NIfTI, a mapping for NRRD, and for DICOM the data
    sets of the files, in their order."""
    files: tuple[Path, ...] = ()
    """The files of a DICOM series, in the order of their positions."""
    modality: str | None = None
    """The modality in DICOM's words: `CT`, `MR`, …."""
    other_affines: tuple[Float[np.ndarray, "4 4"], ...] = ()
    """Places that the header states beside `affine`, which other programs may take instead."""
    is_placed: bool = True
    """Whether the header states the place; if not, `affine` is a guess by which nothing is compared."""
    full_size: tuple[int, int] | None = None
    """Rows and columns at full resolution, of which the pixels are a reduced level; None if they are all of it."""


@dataclass(frozen=True, eq=False)
class StoredImage:
    """The content of a file, in its own order of axes."""

    array: Shaped[np.ndarray, "..."]
    """Pixel values, after the linear scale that the header prescribes; of a palette image the indices."""
    axes: str = ""
    """The meaning of each axis, a letter each: `X`, `Y`, `Z` of space, `T` time or frame, `C` channel or colour. Empty
    where the file tells nothing, as `.npy`."""
    geometry: Geometry = field(default_factory=Geometry)
    stored_dtype: np.dtype | None = None
    """The type of the pixels on disk, where it is not that of `array`."""
    palette: UInt8[np.ndarray, "256 3"] | None = None
    """Red, green and blue of each index, if the file has a palette."""
    opacity: Shaped[np.ndarray, "..."] | None = None
    """The opacity of each pixel, of the shape of `array` without colours; None if all are equally visible. It matters
    to labels, which may be drawn on a transparent layer."""
    names: Mapping[int, str] = field(default_factory=dict)
    """The names that the file itself gives to its label values."""
    has_part: bool = False
    """Whether these are the pixels of the channel that the source asked for, so that nothing is left to choose."""
    is_lossy: bool = False
    """Whether the compression changed values, as JPEG does."""
    orientation: int = UPRIGHT
    """Value of the orientation tag by which the pixels were turned upright."""
    notes: tuple[str, ...] = ()
    """Remarks for the user on changes and assumptions made when the file was read."""

    @property
    def dtype(self) -> np.dtype:
        """The type of the pixels on disk."""
        return self.array.dtype if self.stored_dtype is None else self.stored_dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a mask on the file's own grid: that of the array without channels."""
        return tuple(side for side, axis in zip(self.array.shape, self.axes, strict=True) if axis != "C")

    @property
    def colours(self) -> dict[int, str]:
        """The colours that the palette gives to the values that occur, as `#rrggbb`."""
        return {} if self.palette is None else stated_colours(self.palette, np.unique(self.array).tolist())

    @property
    def space(self) -> Shaped[np.ndarray, "I J K *channels"]:
        """The array of a file with a place in the patient, without axes of length 1 between those of space and C."""
        channels = self.array.shape[-1:] if self.axes.endswith("C") else ()
        return self.array.reshape(*self.array.shape[:3], *channels)

    def displayed(self) -> Self:
        """Return the image with the colours that its palette stands for."""
        if self.palette is None:
            return self
        return replace(self, array=self.palette[self.array], axes=self.axes + "C", palette=None)

    def filled(self) -> Self:
        """Return an image with its smallest number in place of NaN and infinity, which mark what was not measured.

        Raises:
            ValueError: If it holds no number.
        """
        is_number = np.isfinite(self.array) if self.array.dtype.kind == "f" else np.ones((), bool)
        if is_number.all():
            return self
        if not is_number.any():
            msg = "expected numbers, got NaN or infinity in all pixels."
            raise ValueError(msg)
        smallest = self.array[is_number].min()
        note = f"{1 - is_number.mean():.2%} of its pixels are NaN or infinite: read as its smallest value, {smallest:g}"
        return replace(self, array=np.where(is_number, self.array, smallest), notes=(*self.notes, note))

    def to_ras(self) -> Volume:
        """Turn the image so that its axes run to the patient's right, front and head, by flips and swaps only.

        Planes without a place become axial ones; where the file states no distances, pixels are cubes of 1 mm.

        Raises:
            ValueError: If the image is no volume.
        """
        if self.geometry.affine is not None:
            place = self.geometry
            volume = canonical(self.space, self.geometry.affine, place.spacing, place.other_affines)
            return replace(volume, is_placed=place.is_placed, planes_first=self.axes.startswith("Z"))
        if self.array.ndim != 3 or "C" in self.axes:
            msg = f"expected three axes of space, got {self.array.shape}"
            raise ValueError(msg)
        pages = self.array.astype(np.uint8) if self.array.dtype == bool else self.array
        spacing = self.geometry.spacing
        return stack(pages, (spacing[0], spacing[1], spacing[2])) if spacing and len(spacing) == 3 else stack(pages)


@dataclass(frozen=True, eq=False)
class Canvas:
    """An image that a label was drawn on, as far as reading the label needs it."""

    path: Path | None
    """The image's file, or the folder of a series; None if it is not on disk."""
    shape: tuple[int, ...]
    """Size of a mask of it: rows and columns, planes before them, or the three axes of a volume in its file's order."""
    geometry: Geometry = field(default_factory=Geometry)


@dataclass(frozen=True, eq=False)
class Segment:
    """One structure that was drawn on an image."""

    number: int
    name: str
    draw: Callable[[], UInt8[np.ndarray, "I J K"]]
    """Makes the mask on the image's grid, in the order of its file."""


@dataclass(frozen=True, eq=False)
class DrawnLabel:
    """Structures drawn on an image, each of which may overlap others."""

    geometry: Geometry
    """Geometry of the image that the structures are drawn on."""
    segments: tuple[Segment, ...]
    names: Mapping[int, str]
    """The name of every number, also of structures that are listed but not drawn."""
    notes: list[str] = field(default_factory=list)
    """Remarks on contours that were left out; the list grows as segments are drawn."""
    is_complete: bool = False
    """Whether whoever drew it looked for all classes, so that those which are not drawn are absent."""
    colours: Mapping[str, str] = field(default_factory=dict)
    """The colours, as `#rrggbb`, of the names that the file gives one."""
    unknown: Segment | None = None
    """The region in which nobody judged the pixels, unless a structure covers them; None if there is none."""

    def to_ras(self, segment: Segment) -> Volume | UInt8[np.ndarray, "H W"]:
        """Draw a segment, turned as `StoredImage.to_ras` turns its image; on a single picture as it is."""
        if self.geometry.affine is None:
            drawn = segment.draw()
            return drawn[0] if len(drawn) == 1 else stack(drawn)
        return canonical(segment.draw(), self.geometry.affine, self.geometry.spacing)


@dataclass(frozen=True, eq=False)
class MaskImage:
    """A mask to be written on the grid of its image."""

    array: UInt8[np.ndarray, "I J K"] | UInt16[np.ndarray, "I J K"]
    """Label values in the axis order of the image's file; a single picture has a first axis of length 1."""
    geometry: Geometry
    names: Mapping[int, str] = field(default_factory=dict)
    """Names of label values; those that the mask holds besides are called `class 7` and so on."""
    colours: Mapping[int, str] = field(default_factory=dict)
    """Colours of label values as `#rrggbb`; others have fixed ones."""
    software: tuple[str, str] = ("megamed", "")
    """Name and version of what made the mask."""

    @property
    def affine(self) -> Float[np.ndarray, "4 4"]:
        """The affine of an image with a place; no other is written in formats that state one."""
        assert self.geometry.affine is not None
        return self.geometry.affine
