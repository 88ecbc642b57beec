"""What a person passes as one thing to segment, as grey planes; and masks of the planes, back on its own grid and disk.

A volume with a place in the patient is cut into planes that lie as radiologists show them and as a megamed collection
holds them, wherever its file's axes run: files of any orientation look alike to a network.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, Shaped, UInt8
from PIL import Image
from torch import Tensor

from incontext.images import mask_files, medical
from incontext.images.arrays import Picture, class_values, fit_label, grey, read_frames, to_array
from incontext.images.orientation import CUTS, Geometry, PlaneLayout, radiological, spacings_mm
from megamed.files import replacing

Kind = Literal["image", "stack", "volume"]
Axis = int | str | None
"""An axis of the source's array; for volumes also one of `CUTS`; None is the usual one."""

PLAIN = PlaneLayout()
FLAT = (".png", ".bmp")
PAGED = (".tif", ".tiff")
VOLUMES = (".nii.gz", ".nii", ".nrrd", ".mha")
DICOM_SEG = (".dcm",)
WHOLE = {".mhd": ".mha", ".nhdr": ".nrrd"}
"""Formats in two files, and their like in one."""


@dataclass(frozen=True, eq=False)
class SourceImage:
    """One thing to segment.

    Attributes:
        planes: Grey values as they were, colours as luminance; one plane if `kind` is `image`.
        kind: A volume lies somewhere in a patient, a stack has only an order.
        shape: Of the source's own grid, without colour channels: (H, W) for an image.
        dtype: Of the source's pixels.
        view: How `planes` lie in the source's array.
        spacing_mm: Between planes, rows and columns, if known.
        cut: `sagittal`, `coronal` or `axial`, if known.
        source: The file or folder that it was read from.
        geometry: What a medical file says beyond its pixels.
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

    @property
    def grid(self) -> tuple[int, int, int]:
        """The source's own grid as that of a volume: (1, H, W) for an image, no fourth axis for a NIfTI file."""
        sides = (1, *self.shape) if len(self.shape) == 2 else self.shape
        return sides[0], sides[1], sides[2]

    @property
    def axis(self) -> int:
        """The axis of the source's array from plane to plane."""
        return self.view.axes[0]


@dataclass(frozen=True, eq=False)
class LabelCase:
    """The annotation of a case.

    Attributes:
        planes: On the planes of the case; 0 is background, every other value a class.
        names: Of the values, where the file tells them (DICOM).
    """

    planes: UInt8[np.ndarray, "N H W"] = field(repr=False)
    names: Mapping[int, str] = field(default_factory=dict)


def read_source_image(source: Picture, name: str, axis: Axis = None) -> SourceImage:
    """Read what a user passes as one thing to segment.

    Args:
        source: An array or tensor (H, W), (H, W, 3 or 4), (N, H, W) or (N, H, W, 3 or 4), which `pictures.grey` tells
            apart; a Pillow image; or a path: a picture, pages of a TIFF, `.npy`, NIfTI, NRRD, MetaImage, a DICOM file
            or the folder of a DICOM series.
        name: How errors call this argument.
        axis: From plane to plane. Usual is the first axis of arrays, and of volumes the one across thick slices, or
            across axial ones where spacings are the same.

    Raises:
        ValueError: If the pixels are not finite numbers, or the axes have no or several meanings.
        OSError: If the file cannot be read.
        ImportError: If the library for its format is not installed; the message has the command.
    """
    if isinstance(source, str | Path):
        path = _existing(Path(source), name)
        if medical.is_medical(path):
            return _scan_case(path, name, axis)
        if path.suffix.lower() == ".npy":
            return _array_case(_read_npy(path, name), name, axis, path)
        return _frames_case(read_frames(path, name), name, axis, path)
    if isinstance(source, Image.Image):
        return _frames_case(read_frames(source, name), name, axis, None)
    return _array_case(_array(source, name), name, axis, None)


def read_label_image(source: Picture, name: str, image: SourceImage) -> LabelCase:
    """Read the annotation of a case, onto its planes.

    Args:
        source: As for `read_source_image`, on the image's own grid: an array has the order of the axes of its volume's
            file.
            It holds whole numbers in 0–255 of any dtype; palette indices are the classes. A DICOM series may also have
            the DICOM-SEG or RTSTRUCT that was drawn on it.
        name: How errors call this argument.
        image: What was annotated.

    Raises:
        ValueError: If the label does not fit the image, is no map of classes, or was stored with loss.
        OSError: If the file cannot be read.
        ImportError: If the library for its format is not installed; the message has the command.
    """
    names: Mapping[int, str] = {}
    if isinstance(source, str | Path):
        values, names = _read_label_file(_existing(Path(source), name), name, image)
    elif isinstance(source, Image.Image):
        values = read_frames(source, name, as_label=True)
    else:
        values = _array(source, name)
    label = class_values(fit_label(values, name, image.shape), name)
    return LabelCase(np.ascontiguousarray(image.view.planes(label.reshape(image.grid))), names)


def write_mask(
    mask: UInt8[np.ndarray, "..."], case: SourceImage, path: Path, names: Mapping[int, str] | None = None
) -> Path:
    """Write a mask on the grid of its case; the file appears at once or not at all.

    Args:
        mask: On the source's own grid, `case.shape`, as a `Segmentation` holds it.
        case: What was segmented.
        path: Its suffix chooses the format: `.png` or `.bmp` for an image, `.tif` for an image or a stack, `.nii`,
            `.nii.gz`, `.nrrd` or `.mha` for a volume, `.dcm` for a DICOM series.
        names: Of the classes; only a DICOM-SEG holds them.

    Returns:
        The path.

    Raises:
        ValueError: If the format cannot hold the mask.
        ImportError: If the library for its format is not installed; the message has the command.
    """
    suffix = next((suffix for suffix in _formats(case) if path.name.lower().endswith(suffix)), None)
    if suffix is None:
        msg = (
            f"{path.name} cannot hold the mask of this {case.kind}: expected {', '.join(_formats(case))}, got "
            f"{path.suffix or 'no suffix'}. Choose one of these."
        )
        raise ValueError(msg)
    if mask.shape != case.shape:
        msg = f"mask does not fit its case: expected {case.shape}, got {mask.shape}. Pass a mask of this case."
        raise ValueError(msg)
    content = _encode(mask.reshape(case.grid), suffix, case.geometry or Geometry(), names or {})
    with replacing(path) as partial:
        partial.write_bytes(content)
    return path


def mask_suffix(case: SourceImage) -> str:
    """The suffix for `write_mask` that suits a case: its own, where masks can have it."""
    formats = _formats(case)
    name = case.source.name.lower() if case.source else ""
    own = next((suffix for suffix in (*formats, *WHOLE) if name.endswith(suffix)), formats[0])
    return WHOLE.get(own, own)


def _formats(case: SourceImage) -> tuple[str, ...]:
    """Suffixes of the files that can hold masks of a case, the most suitable first."""
    pictures = {"image": (*FLAT, *PAGED), "stack": PAGED, "volume": ()}[case.kind]
    if case.geometry is None or case.geometry.affine is None:
        return pictures
    return (*(DICOM_SEG if case.geometry.files else ()), *VOLUMES, *pictures)


def _encode(mask: UInt8[np.ndarray, "I J K"], suffix: str, geometry: Geometry, names: Mapping[int, str]) -> bytes:
    if suffix in (*FLAT, *PAGED):
        return mask_files.picture(mask, suffix)
    if suffix in DICOM_SEG:
        return mask_files.segmentation(mask, geometry, names)
    if suffix == ".nrrd":
        return mask_files.nrrd(mask, geometry)
    if suffix == ".mha":
        return mask_files.metaimage(mask, geometry)
    return mask_files.nifti(mask, geometry, compress=suffix == ".nii.gz")


def _array_case(array: Shaped[np.ndarray, "..."], name: str, axis: Axis, source: Path | None) -> SourceImage:
    planes = grey(array, name, stack=axis is not None)
    if planes.ndim == 2:
        return SourceImage(planes[None], "image", planes.shape, array.dtype, source=source)
    first = _numbered(axis, name)
    rows, columns = sorted({0, 1, 2} - {first})
    view = PlaneLayout((first, rows, columns))
    return SourceImage(view.planes(planes), "stack", planes.shape, array.dtype, view, source=source)


def _frames_case(
    frames: Shaped[np.ndarray, "N H W *channels"], name: str, axis: Axis, source: Path | None
) -> SourceImage:
    """The frames of a picture, of which a single one is an image."""
    frames = to_array(frames, name)
    if len(frames) == 1:
        return _array_case(frames[0], name, None, source)
    return _array_case(frames, name, 0 if axis is None else axis, source)


def _scan_case(path: Path, name: str, axis: Axis) -> SourceImage:
    with _readable(path, name):
        scan = medical.read_scan(path)
    array = to_array(scan.array, name)
    if scan.geometry.affine is None:
        case = _frames_case(array, name, axis, path)
        return replace(case, dtype=scan.dtype, geometry=scan.geometry)
    is_slice = path.is_file() and bool(scan.geometry.files)
    chosen = 0 if is_slice else _chosen(axis, name, scan)
    view = radiological(scan.orientation, chosen)
    i, j, k = (spacings_mm(scan.geometry.affine)[each] for each in view.axes)
    return SourceImage(
        planes=grey(view.planes(array), name, stack=True),
        kind="image" if is_slice else "volume",
        shape=array.shape[1:] if is_slice else scan.shape,
        dtype=scan.dtype,
        view=view,
        spacing_mm=(i, j, k),
        cut=CUTS[scan.orientation.axes[chosen]],
        source=path,
        geometry=scan.geometry,
    )


def _chosen(axis: Axis, name: str, scan: medical.Scan) -> int:
    """The axis of a scan that a user means."""
    if axis is None:
        return scan.usual_axis
    return scan.orientation.axes.index(CUTS.index(axis)) if axis in CUTS else _numbered(axis, name)


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


def _read_label_file(path: Path, name: str, image: SourceImage) -> tuple[Shaped[np.ndarray, "..."], Mapping[int, str]]:
    if medical.is_medical(path):
        place = image.geometry or Geometry()
        with _readable(path, name):
            if place.files and medical.is_dicom_file(path):
                return medical.read_drawn(path, place)
            scan = medical.read_scan(path)
        return to_array(medical.on_image(scan, place, name), name), {}
    if path.suffix.lower() == ".npy":
        return _read_npy(path, name), {}
    return read_frames(path, name, as_label=True), {}


def _read_npy(path: Path, name: str) -> Shaped[np.ndarray, "..."]:
    from megamed.readers.arrays import read_array

    with _readable(path, name):
        return to_array(read_array(path), name)


def _array(source: Picture, name: str) -> Shaped[np.ndarray, "..."]:
    if isinstance(source, np.ndarray | Tensor):
        return to_array(source, name)
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
    """Name the argument whose file megamed's readers refuse."""
    try:
        yield
    except ValueError as error:
        msg = f"{name} is unreadable: expected a medical image, got {path} ({error}) Convert or replace it."
        raise OSError(msg) from error
