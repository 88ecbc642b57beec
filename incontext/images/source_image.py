"""Source images, read as grey planes, and masks of the planes, written back on the grid of their source.

A volume with a place in the patient is cut into planes that lie as radiologists show them and as a megamed collection
holds them, wherever its file's axes run: files of any orientation look alike to a network.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Shaped, UInt8, UInt16
from PIL import Image
from torch import Tensor

from incontext import __version__
from incontext.images.arrays import Picture, class_values, fit_label, grey, to_array
from incontext.images.orientation import (
    CUTS,
    PlaneLayout,
    orientation_of,
    parallel,
    radiological,
    spacings_mm,
    viewed,
)
from megamed import formats
from megamed.annotation_tools import slicer
from megamed.files import replacing
from megamed.label_values import LabelRules, read_values
from megamed.readers import picture
from megamed.readers.source import Source
from megamed.readers.stored import Geometry, MaskImage, StoredImage
from megamed.readers.volume import MISPLACED, displacement_mm
from megamed.standardise import slicing_axes

Kind = Literal["image", "stack", "volume"]
Axis = int | str | None
"""An axis of the source's array; for volumes also one of `CUTS`; None is the usual one."""

AS_CLASSES = LabelRules(instances=False)
PLAIN = PlaneLayout()
AXIAL = 2
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
        unknown: Pixels that nobody judged, which are 0 in `planes`; None if there are none.
    """

    planes: UInt8[np.ndarray, "N H W"] = field(repr=False)
    names: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unknown: Bool[np.ndarray, "N H W"] | None = field(default=None, repr=False)


def read_source_image(source: Picture, name: str, axis: Axis = None) -> SourceImage:
    """Read what a user passes as one thing to segment.

    Args:
        source: An array or tensor (H, W), (H, W, 3 or 4), (N, H, W) or (N, H, W, 3 or 4), which `arrays.grey` tells
            apart; a Pillow image; or a path: a picture, pages of a TIFF, `.npy`, NIfTI, NRRD, MetaImage, a DICOM file
            or the folder of a DICOM series.
        name: How errors call this argument.
        axis: Axis from plane to plane. Usual is the first axis of arrays, and of volumes the one across thick slices,
            or across axial ones where spacings are the same.

    Raises:
        ValueError: If the pixels are not finite numbers, or the axes have no or several meanings.
        OSError: If the file cannot be read.
        ImportError: If the library for its format is not installed; the message has the command.
    """
    if isinstance(source, str | Path):
        path = _existing(Path(source), name)
        return _stored_case(_read(path, name), name, axis, path)
    if isinstance(source, Image.Image):
        return _stored_case(picture.decode(source), name, axis, None)
    return _array_case(_array(source, name), name, axis, None)


def read_label_image(source: Picture, name: str, image: SourceImage, rules: LabelRules = AS_CLASSES) -> LabelCase:
    """Read the annotation of a case, onto its planes.

    Args:
        source: Label on the image's own grid, of the types that `read_source_image` takes: an array has the order of
            the axes of its volume's file.
            It holds whole numbers in 0–255 of any dtype; palette indices are the classes. A DICOM series may also have
            the DICOM-SEG or RTSTRUCT that was drawn on it.
        name: How errors call this argument.
        image: Source image that was annotated.
        rules: Meaning of the values; by default numbers are classes, even if they look like those of objects.

    Raises:
        ValueError: If the label does not fit the image, is no map of classes, or was stored with loss.
        OSError: If the file cannot be read.
        ImportError: If the library for its format is not installed; the message has the command.
    """
    names: Mapping[int, str] = {}
    if isinstance(source, str | Path):
        values, names = _read_label_file(_existing(Path(source), name), name, image)
    elif isinstance(source, Image.Image):
        values = picture.decode(source).array
    else:
        values = _array(source, name, finite=False)
    try:
        reading = read_values(fit_label(values, name, image.shape), name, rules)
        label = class_values(reading.values, name)
    except ValueError as error:
        if image.notes and values.shape != image.shape:
            msg = f"{error} Its image was {', '.join(image.notes)}: draw on it as viewers show it."
            raise ValueError(msg) from error
        raise
    planes, unknown = (
        None if each is None else np.ascontiguousarray(image.view.planes(each.reshape(image.grid)))
        for each in (label, reading.unknown)
    )
    assert planes is not None
    return LabelCase(planes, names, reading.notes, unknown)


def stored_values(source: Picture, name: str) -> Shaped[np.ndarray, "..."]:
    """Return the values of a label as they are stored, on no image's grid; one zero for what is drawn on its image."""
    if isinstance(source, str | Path):
        path = _existing(Path(source), name)
        is_series = path.is_dir() or formats.is_slice(path)
        return np.zeros((1, 1), np.uint8) if is_series else _read(path, name).array
    return picture.decode(source).array if isinstance(source, Image.Image) else _array(source, name, finite=False)


def write_mask(
    mask: UInt8[np.ndarray, "..."], case: SourceImage, path: Path, names: Mapping[int, str] | None = None
) -> Path:
    """Write a mask on the grid of its case; the file appears at once or not at all.

    Args:
        mask: Label values on the source's own grid, `case.shape`, as a `Segmentation` holds them.
        case: Source image that was segmented.
        path: File to write, whose suffix chooses the format: `.png` or `.bmp` for an image, `.tif` for an image or a
            stack, `.nii`, `.nii.gz`, `.nrrd` or `.mha` for a volume, `.dcm` for a DICOM series.
        names: Class names by label value; only a DICOM-SEG holds them.

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
    image = MaskImage(
        mask.reshape(case.grid), case.geometry or Geometry(), names or {}, software=("incontext", __version__)
    )
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
        kinds |= {"placed", "series"} if case.geometry.files else {"placed"}
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
    shown = stored.displayed()
    array = to_array(shown.array, name)
    if shown.axes.startswith("T") and len(array) == 1:
        array, axis = array[0], None
    elif shown.axes.startswith(("T", "Z")):
        axis = 0 if axis is None else axis
    elif shown.axes:
        axis = None
    case = _array_case(array, name, axis, source)
    geometry = stored.geometry if stored.geometry.files else None
    spacing = stored.geometry.spacing if case.kind == "image" else None
    spacing_mm = (1.0, spacing[0], spacing[1]) if spacing else None
    return replace(case, dtype=shown.dtype, geometry=geometry, spacing_mm=spacing_mm, notes=stored.notes)


def _volume_case(stored: StoredImage, name: str, axis: Axis, source: Path | None) -> SourceImage:
    """Planes of what has a place in the patient, as radiologists show them; a file of one DICOM slice is an image."""
    affine = stored.geometry.affine
    assert affine is not None
    array, orientation = to_array(stored.space, name), orientation_of(affine)
    is_slice = bool(stored.geometry.files) and source is not None and source.is_file() and len(array) == 1
    chosen = 0 if is_slice else _chosen(axis, name, array.shape, affine)
    view = radiological(orientation, chosen)
    i, j, k = (spacings_mm(affine)[each] for each in view.axes)
    return SourceImage(
        planes=grey(view.planes(array), name, stack=True),
        kind="image" if is_slice else "volume",
        shape=array.shape[1:] if is_slice else stored.shape,
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


def _read(path: Path, name: str) -> StoredImage:
    with _readable(path, name):
        return formats.read(formats.source_at(path))


def _read_label_file(path: Path, name: str, image: SourceImage) -> tuple[Shaped[np.ndarray, "..."], Mapping[int, str]]:
    """Read label values in the order of their image's axes, with the names that the file gives them."""
    place = image.geometry or Geometry()
    if slicer.recognises(path) and place.affine is not None and len(image.shape) == 3:
        with _readable(path, name):
            return _read_segments(path, place.affine, image.shape)
    if formats.is_drawn(path, place):
        with _readable(path, name):
            return _read_drawn(path, place)
    stored = _read(path, name)
    if stored.is_lossy:
        msg = (
            f"{name} was stored with loss: expected a PNG or TIFF label, got the JPEG {path}. "
            "Export the label map anew as PNG: JPEG changes class values at edges."
        )
        raise ValueError(msg)
    return to_array(on_image(stored, place, name), name, finite=False), stored.names


def _read_segments(
    path: Path, affine: Float[np.ndarray, "4 4"], shape: tuple[int, int, int]
) -> tuple[UInt16[np.ndarray, "I J K"], Mapping[int, str]]:
    """Read a segmentation of Slicer's as one label map on the grid of its image, the later of overlapping ones on top.

    Segments keep the values of their file, unless several layers use a value twice.
    """
    segmentation = slicer.read(path)
    values = slicer.numbers(segmentation)
    if len(set(values.values())) < len(values):
        values = {name: number for number, name in enumerate(values, start=1)}
    label = np.zeros(shape, dtype=np.uint16)
    for name, mask in slicer.on_grid(segmentation, shape, affine).items():
        label[mask] = values[name]
    return label, {value: name for name, value in values.items()}


def _read_drawn(path: Path, place: Geometry) -> tuple[UInt16[np.ndarray, "I J K"], Mapping[int, str]]:
    """Read structures that were drawn on an image as one label map, where of overlapping ones the later one stays."""
    drawn = formats.read_drawn(Source((path, *place.files)))
    label = None
    for segment in drawn.segments:
        mask = segment.draw()
        label = np.zeros(mask.shape, dtype=np.uint16) if label is None else label
        label[mask > 0] = segment.number
    if label is None:
        msg = f"{path.name} is empty: expected segments or regions drawn on the series, got none. Draw them."
        raise ValueError(msg)
    return label, drawn.names


def on_image(label: StoredImage, image: Geometry, name: str) -> Shaped[np.ndarray, "..."]:
    """Return the array of a label in the order of its image's axes, or as it is where one of them tells no place.

    Args:
        label: What was read.
        image: Where its image lies.
        name: How errors call the label.

    Raises:
        ValueError: If the label lies elsewhere than its image.
    """
    affine = label.geometry.affine
    if affine is None:
        return label.array
    if image.affine is None:
        return label.space
    errors: list[ValueError] = []
    stated = (affine, *label.geometry.other_affines), (image.affine, *image.other_affines)
    for its_own, expected in itertools.product(*stated):
        try:
            return _placed(label.space, its_own, expected)
        except ValueError as error:
            errors.append(error)
    msg = f"{name} lies elsewhere than its image: {errors[0]}. Save it with its image's affine, on its grid."
    raise ValueError(msg) from errors[0]


def _placed(
    label: Shaped[np.ndarray, "I J K"], affine: Float[np.ndarray, "4 4"], image: Float[np.ndarray, "4 4"]
) -> Shaped[np.ndarray, "..."]:
    """Return a label in the order of its image's axes, by the affines of both.

    Raises:
        ValueError: If its voxels lie elsewhere.
    """
    view = parallel(affine, image[:3, :3])
    array, placed = view.planes(label), viewed(affine, label.shape, view)
    if (apart := displacement_mm(placed, image, array.shape)) > MISPLACED * min(spacings_mm(image)):
        msg = f"expected voxels at the same place, got them up to {apart:.3g} mm apart"
        raise ValueError(msg)
    return array


def _array(source: Picture, name: str, finite: bool = True) -> Shaped[np.ndarray, "..."]:
    if isinstance(source, np.ndarray | Tensor):
        return to_array(source, name, finite)
    msg = (
        f"{name} is no image: expected an array, a tensor, a PIL image or a path, got "
        f"{type(source).__name__}. Pass one of these, or a list of them."
    )
    raise ValueError(msg)


def _existing(path: Path, name: str) -> Path:
    if not path.exists():
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
