"""Source images, read as grey planes, and masks of the planes, written back on the grid of their source.

A volume with a place in the patient is cut into planes that lie as radiologists show them and as a megamed collection
holds them, wherever its file's axes run: files of any orientation look alike to a network.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Shaped, UInt8
from PIL import Image

from incontext import __version__
from incontext.images import channels
from incontext.images.arrays import Picture, array_of, class_values, grey, to_array
from incontext.images.channels import Channel
from incontext.images.drawn_formats import drawn_format
from incontext.images.drawn_label import flatten
from incontext.images.label_pixels import LabelPixels
from incontext.images.label_place import in_its_order, on_image, place_notes
from incontext.images.orientation import (
    CUTS,
    PlaneLayout,
    orientation_of,
    radiological,
    spacings_mm,
)
from megamed import formats, slice_pictures
from megamed.files import replacing
from megamed.label_values import LabelRules
from megamed.readers import picture
from megamed.readers.memory import free_bytes
from megamed.readers.orientation_tag import TURNED
from megamed.readers.stored import AS_THEY_LIE, REVERSED, UNPLACED, Canvas, Geometry, MaskImage, StoredImage
from megamed.readers.volume import ASIDE, MAX_VOXELS
from megamed.standardise import slicing_axes

Kind = Literal["image", "stack", "volume"]
Axis = int | str | None
"""An axis of the source's array; for volumes also one of `CUTS`; None is the usual one."""
ByValue = Mapping[int, str]
"""Names or colours of label values."""

NONE: ByValue = {}
OF_PLACE = (UNPLACED, REVERSED, AS_THEY_LIE, ASIDE)
"""Beginnings of remarks on how a label was brought to its image."""
AS_CLASSES = LabelRules(instances=False)
PLAIN = PlaneLayout()
AXIAL = 2
WORKING_BYTES = 20
"""Memory that a pixel takes at most while its image is segmented."""
EQUAL_SPACING = 0.99
"""Spacings are the same if their ratio is above this."""


@dataclass(frozen=True, eq=False)
class SourceImage:
    """One thing to segment.

    Attributes:
        planes: Grey values as stored, colours as luminance; one plane if `kind` is `image`.
        kind: A `volume` has a place in the patient, a `stack` only an order of its planes.
        shape: Shape of the source's own grid, without colour channels: (H, W) for an image.
        dtype: Type of the pixels on disk.
        view: How `planes` lie in the source's array.
        spacing_mm: Distances between planes, rows and columns in millimetres, if known.
        cut: The anatomical plane, `sagittal`, `coronal` or `axial`, if known.
        source: The file or folder that was read.
        geometry: Where a medical file's pixels lie in the patient, and the header to write a mask back.
        notes: What was done to the pixels or assumed of them when they were read.
    """

    planes: Float32[np.ndarray, "N H W"] = field(repr=False)
    kind: Kind
    shape: tuple[int, ...]
    dtype: np.dtype
    view: PlaneLayout = PLAIN
    spacing_mm: tuple[float, float, float] | None = None
    cut: str | None = None
    source: Path | None = None
    geometry: Geometry | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def grid(self) -> tuple[int, int, int]:
        """Shape of the source's own grid as three axes: (1, H, W) for an image, without a NIfTI file's fourth axis."""
        sides = (1, *self.shape) if len(self.shape) == 2 else self.shape
        return sides[0], sides[1], sides[2]

    @property
    def full_size(self) -> tuple[int, int] | None:
        """Rows and columns at full resolution, if this is a reduced level of a slide or another pyramid."""
        return self.geometry.full_size if self.geometry else None

    @property
    def axis(self) -> int:
        """The axis of the source's array from plane to plane."""
        return self.view.axes[0]

    @property
    def voxel_mm3(self) -> float | None:
        """The volume of a voxel, if known: less than the product of the spacings where planes are sheared.

        With a tilted gantry, the way from plane to plane is not at a right angle to the planes.
        """
        if self.geometry is not None and self.geometry.affine is not None:
            return float(abs(np.linalg.det(self.geometry.affine[:3, :3])))
        return None if self.spacing_mm is None else math.prod(self.spacing_mm)


@dataclass(frozen=True, eq=False)
class LabelCase:
    """The annotation of a case.

    Attributes:
        planes: Label values on the planes of the case; 0 is background, every other value a class.
        names: Names of the values, where the file states them.
        notes: Decisions between several senses of the values, a sentence each.
        masks: The whole of every class by value, if classes overlap and `planes` has only one of them there.
        colours: Colours of the values as `#rrggbb`, where the file states them.
        colour: The one colour that was taken for a class, as `#rrggbb`, where nobody said what colours mean.
        unknown: Pixels that nobody judged, which are 0 in `planes`; None if there are none.
    """

    planes: UInt8[np.ndarray, "N H W"] = field(repr=False)
    names: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    masks: Mapping[int, Bool[np.ndarray, "N H W"]] = field(default_factory=dict, repr=False)
    colours: Mapping[int, str] = field(default_factory=dict)
    colour: str = ""
    unknown: Bool[np.ndarray, "N H W"] | None = field(default=None, repr=False)


def read_source_image(
    source: Picture, name: str, axis: Axis = None, channel: Channel = None, level: int = 0
) -> SourceImage:
    """Read what a user passes as one thing to segment.

    Args:
        source: An array or tensor (H, W), (H, W, 1, 3 or 4), (N, H, W) or (N, H, W, 3 or 4), which `arrays.grey`
            tells apart; a Pillow image; or a path: a picture, pages of a TIFF, a whole slide, `.npy`, NIfTI, NRRD,
            MetaImage, a DICOM file or the folder of a DICOM series. NaN and infinity are filled in files, and said in a
            note.
        name: How errors call this argument.
        axis: Axis from plane to plane. Usual is the first axis of arrays, and of volumes the one across thick slices,
            or across axial ones where spacings are the same.
        channel: The channel to look at, where there are several.
        level: Level of the resolution of the file of a slide or another pyramid: 0 is the full one, as everywhere else.

    Raises:
        ValueError: If the pixels of an array are not finite numbers, or the axes have no or several meanings.
        OSError: If the file cannot be read.
        ImportError: If the library for its format is not installed; the message has the command.
    """
    if isinstance(source, str | Path):
        path = _existing(Path(source), name)
        with _readable(path, name):
            most_pixels = min(MAX_VOXELS, int(free_bytes() / WORKING_BYTES))
            stored = formats.read(channels.asked(formats.source_at(path), channel, level), most_pixels).filled()
        return _stored_case(channels.of_stored(stored, name, channel), name, axis, path)
    if isinstance(source, Image.Image):
        return _stored_case(channels.of_stored(picture.upright(source), name, channel), name, axis, None)
    return _array_case(channels.of_array(array_of(source, name), name, channel), name, axis, None)


def read_label_image(
    source: Picture,
    name: str,
    image: SourceImage,
    rules: LabelRules = AS_CLASSES,
    values: Mapping[str, int] | None = None,
) -> LabelCase:
    """Read the annotation of a case, onto its planes.

    Args:
        source: Label on the image's own grid, of the types that `read_source_image` takes: an array has the order of
            the axes of its volume's file.
            It holds whole numbers in 0–255 of any dtype; palette indices are the classes. Colours need a table in
            `rules`, unless there is one on black, white or a transparent layer. Or a file of what was drawn
            on the image: a DICOM-SEG or RTSTRUCT, segments of Slicer's, or what another of `formats.DRAWN_FORMATS`
            saves; of a file for many images the part for the one that is called as this.
        name: How errors call this argument.
        image: Source image that was annotated.
        rules: Meaning of the values; by default numbers are classes, even if they look like those of objects.
        values: Values of what was drawn by name, instead of those of its file.

    Raises:
        ValueError: If the label does not fit the image, is no map of classes, or was stored with loss.
        OSError: If the file cannot be read.
        ImportError: If the library for its format is not installed; the message has the command.
    """
    names, colours = NONE, NONE
    if isinstance(source, str | Path):
        path = _existing(Path(source), name)
        if drawn := _read_drawn(path, name, image, values, rules.unknown or ()):
            return drawn
        pixels, names, colours = _read_label_file(path, name, image)
    elif isinstance(source, Image.Image):
        stored = picture.upright(source)
        pixels, colours = LabelPixels.of(stored), stored.colours
    else:
        pixels = LabelPixels(array_of(source, name, finite=False))
    try:
        reading = pixels.read(image.shape, name, rules)
        label = class_values(reading.values, name)
    except ValueError as error:
        turned = [f"Its image was {note}." for note in image.notes if note.startswith(TURNED)]
        turned += [f"It was {note}." for note in pixels.notes if note.startswith(TURNED)]
        if turned and pixels.values.shape[: len(image.shape)] != image.shape:
            msg = f"{error} {' '.join(turned)} Save both upright, or draw on the image as viewers show it."
            raise ValueError(msg) from error
        raise
    unknown = None if reading.unknown is None else _planes_of(image, reading.unknown)
    notes = (*(f"{name}: {note}" for note in pixels.notes if note.startswith(OF_PLACE)), *reading.notes)
    return LabelCase(_planes_of(image, label), names, notes, {}, colours, reading.colour, unknown)


def path_of(picture: Picture | SourceImage) -> Path | None:
    """Return the file or folder of a picture; None if it is in memory."""
    if isinstance(picture, SourceImage):
        return picture.source
    return Path(picture) if isinstance(picture, str | Path) else None


def stored_values(source: Picture, name: str) -> Shaped[np.ndarray, "..."]:
    """Return the numbers of a label as they are stored, on no image's grid; one zero for drawings and colours."""
    if isinstance(source, str | Path):
        path = _existing(Path(source), name)
        is_drawn = path.is_dir() or formats.is_slice(path) or drawn_format(path) is not None
        stored = None if is_drawn else _read(path, name)
    elif isinstance(source, Image.Image):
        stored = picture.upright(source)
    else:
        return array_of(source, name, finite=False)
    return np.zeros((1, 1), np.uint8) if stored is None or stored.axes.endswith("C") else stored.array


def write_mask(
    mask: UInt8[np.ndarray, "..."], case: SourceImage, path: Path, names: ByValue | None = None, colours: ByValue = NONE
) -> Path:
    """Write a mask on the grid of its case; the file appears at once or not at all.

    Args:
        mask: Label values on the source's own grid, `case.shape`.
        case: Source image that was segmented.
        path: File to write, whose suffix chooses the format: `.png` or `.bmp` for an image, `.tif` for an image or a
            stack, `.nii`, `.nii.gz`, `.nrrd` or `.mha` for a volume, `.dcm` for a DICOM series.
        names: Class names by label value; only a DICOM-SEG holds them.
        colours: Colours by label value as `#rrggbb`; only a PNG holds them, whose other values have fixed colours.

    Returns:
        The path.

    Raises:
        ValueError: If the format cannot hold the mask.
        ImportError: If the library for its format is not installed; the message has the command.
    """
    suffixes = _mask_suffixes(case)
    suffix = next((suffix for suffix in suffixes if path.name.lower().endswith(suffix)), None)
    if suffix is None:
        msg = (
            f"{path.name} cannot hold the mask of this {case.kind}: expected {', '.join(suffixes)}, got "
            f"{path.suffix or 'no suffix'}. Choose one of these."
        )
        raise ValueError(msg)
    if mask.shape != case.shape:
        msg = f"mask does not fit its case: expected {case.shape}, got {mask.shape}. Pass a mask of this case."
        raise ValueError(msg)
    array, place = mask.reshape(case.grid), case.geometry or Geometry()
    image = MaskImage(array, place, names or NONE, colours, ("incontext", __version__))
    content = formats.encode(image, suffix)
    with replacing(path) as partial:
        partial.write_bytes(content)
    return path


def mask_suffix(case: SourceImage) -> str:
    """The suffix for `write_mask` that suits a case: its own, where masks can have it."""
    return formats.like(case.source or Path(), _mask_suffixes(case))


def _mask_suffixes(case: SourceImage) -> tuple[str, ...]:
    """Suffixes of the files that can hold masks of a case, the most suitable first."""
    kinds: set[formats.Kind] = set() if case.kind == "volume" else {case.kind}
    if case.geometry is not None and case.geometry.affine is not None:
        # what says where each slice of a DICOM-SEG lies are the files of the slices: one file of many frames is none
        kinds |= {"placed", "series"} if len(case.geometry.files) == case.grid[0] else {"placed"}
    return formats.mask_suffixes(kinds)


def _array_case(array: Shaped[np.ndarray, "..."], name: str, axis: Axis, source: Path | None) -> SourceImage:
    planes = grey(array, name, stack=axis is not None)
    if planes.ndim == 2:
        return SourceImage(planes[None], "image", planes.shape, array.dtype, source=source)
    first = _numbered(axis, name)
    rows, columns = sorted({0, 1, 2} - {first})
    view = PlaneLayout((first, rows, columns))
    return SourceImage(view.planes(planes), "stack", planes.shape, array.dtype, view, source=source)


def _stored_case(stored: StoredImage, name: str, axis: Axis, source: Path | None) -> SourceImage:
    """The content of a file: a volume if it has a place in the patient, else an image or a stack."""
    if stored.geometry.affine is not None:
        return _volume_case(stored, name, axis, source)
    array = to_array(stored.array, name)
    if stored.axes.startswith("T") and len(array) == 1:
        array, axis = array[0], None
    elif stored.axes.startswith(("T", "Z")):
        axis = 0 if axis is None else axis
    elif stored.axes:
        axis = None
    case = _array_case(array, name, axis, source)
    spacing = stored.geometry.spacing
    geometry = stored.geometry if stored.geometry.files or stored.geometry.full_size or spacing else None
    spacing_mm = None
    if spacing and case.kind == "image":
        spacing_mm = (1.0, spacing[-2], spacing[-1])
    elif spacing and len(spacing) == 3 and case.view == PLAIN:
        spacing_mm = (spacing[0], spacing[1], spacing[2])
    return replace(case, dtype=stored.dtype, geometry=geometry, spacing_mm=spacing_mm, notes=stored.notes)


def _volume_case(stored: StoredImage, name: str, axis: Axis, source: Path | None) -> SourceImage:
    """Planes of what has a place in the patient, as radiologists show them; a file of one DICOM slice is an image."""
    affine = stored.geometry.affine
    assert affine is not None
    array, orientation = to_array(stored.space, name), orientation_of(affine)
    is_slice = bool(stored.geometry.files) and source is not None and source.is_file() and len(array) == 1
    sides = (array.shape[0], array.shape[1], array.shape[2])
    chosen = 0 if is_slice else _chosen(axis, name, sides, affine)
    view = radiological(orientation, chosen)
    i, j, k = (spacings_mm(affine)[each] for each in view.axes)
    return SourceImage(
        planes=grey(view.planes(array), name, stack=True),
        kind="image" if is_slice else "volume",
        shape=sides[1:] if is_slice else stored.shape,
        dtype=stored.dtype,
        view=view,
        spacing_mm=(i, j, k),
        cut=CUTS[orientation.axes[chosen]],
        source=source,
        geometry=stored.geometry,
        notes=stored.notes,
    )


def _chosen(axis: Axis, name: str, shape: tuple[int, ...], affine: Float[np.ndarray, "4 4"]) -> int:
    """The axis of a volume that a user means."""
    if axis is None:
        return usual_axis(shape, affine)
    return orientation_of(affine).axes.index(CUTS.index(axis)) if axis in CUTS else _numbered(axis, name)


def usual_axis(shape: tuple[int, ...], affine: Float[np.ndarray, "4 4"]) -> int:
    """Return the axis of an array across thick slices; across axial ones, where no spacing is the largest."""
    turned = np.argsort(orientation_of(affine).axes).tolist()
    x, y, z = turned
    step_mm = spacings_mm(affine)
    steps_mm = (step_mm[x], step_mm[y], step_mm[z])
    thick = slicing_axes((shape[x], shape[y], shape[z]), steps_mm)
    if len(thick) > 1:
        thick = [axis for axis in range(3) if steps_mm[axis] >= EQUAL_SPACING * max(steps_mm)]
    return turned[thick[0] if len(thick) == 1 else AXIAL]


def _numbered(axis: Axis, name: str) -> int:
    """The number of an axis; of the first one, if none is said."""
    if axis is None:
        return 0
    if not isinstance(axis, int) or not -3 <= axis < 3:
        msg = (
            f"{name} has no axis {axis!r}: expected 0, 1 or 2, or for a file of a volume {', '.join(CUTS)}. Choose one."
        )
        raise ValueError(msg)
    return axis % 3


def _read(path: Path, name: str, level: int = 0) -> StoredImage:
    with _readable(path, name):
        if pictures := slice_pictures.pictures_in(path):
            return slice_pictures.read(pictures, MAX_VOXELS)
        return formats.read(replace(formats.source_at(path), level=level))


def _read_label_file(path: Path, name: str, image: SourceImage) -> tuple[LabelPixels, ByValue, ByValue]:
    """Read a label's pixels in the order of its image's axes, with names of it or of a list beside, and colours.

    Of a label that is a pyramid, as its image, the level is read that has the size of the image's.
    """
    geometry = image.geometry or Geometry()
    sizes = formats.sizes_in(path) if geometry.full_size else []
    stored = _read(path, name, next((level for level, size in enumerate(sizes) if size == image.shape[-2:]), 0))
    stored = in_its_order(stored, geometry, image.grid, name)
    values = to_array(on_image(stored, geometry, image.grid, name), name, finite=False)
    names = stored.names or formats.names_beside(path)[0]
    pixels = LabelPixels.of(stored)
    pixels = replace(pixels, values=values, notes=(*pixels.notes, *place_notes(stored, geometry)))
    return pixels, names, stored.colours


def _read_drawn(
    path: Path, name: str, image: SourceImage, values: Mapping[str, int] | None, unknown: Sequence[int]
) -> LabelCase | None:
    """Read structures that were drawn on an image; None if the file is a label map."""
    canvas = Canvas(image.source, image.shape if image.kind == "image" else image.grid, image.geometry or Geometry())
    found = drawn_format(path, canvas)
    if found is None:
        return None
    try:
        drawn = found.read(path, canvas)
        flat = flatten(drawn, image.grid, values, unknown)
    except ValueError as error:
        msg = f"{name} cannot be used: {error}"
        raise ValueError(msg) from error
    masks = {value: _planes_of(image, mask) for value, mask in flat.masks.items()}
    label = _planes_of(image, class_values(flat.label, name))
    colours = {value: drawn.colours[each] for value, each in flat.names.items() if each in drawn.colours}
    unjudged = None if flat.unknown is None else _planes_of(image, flat.unknown)
    return LabelCase(label, flat.names, tuple(drawn.notes), masks, colours, unknown=unjudged)


def _planes_of(image: SourceImage, values: Shaped[np.ndarray, "*grid"]) -> Shaped[np.ndarray, "N H W"]:
    """Values on the grid of an image's file, on its planes."""
    return np.ascontiguousarray(image.view.planes(values.reshape(image.grid)))


def _existing(path: Path, name: str) -> Path:
    if not path.exists() and not formats.is_part(path):
        msg = f"{name} is unreadable: expected an image file, got {path}, which does not exist. Check the path."
        raise FileNotFoundError(msg)
    return path


@contextmanager
def _readable(path: Path, name: str) -> Iterator[None]:
    """Name the argument whose file the readers refuse."""
    try:
        yield
    except ValueError as error:
        msg = f"{name} is unreadable: expected an image file, got {path} ({error}) Convert or replace it."
        raise OSError(msg) from error
