"""Medical files as arrays in their own order of axes, with what is needed to write a mask back; read by megamed."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped, UInt16

from incontext.images.orientation import Geometry, PlaneLayout, displacement_mm, parallel, spacings_mm, viewed

NIFTI = (".nii", ".nii.gz")
NRRD = (".nrrd", ".nhdr")
METAIMAGE = (".mha", ".mhd")
DICOM = (".dcm", ".dicom", ".ima")
SUFFIXES = (*NIFTI, *NRRD, *METAIMAGE, *DICOM)

LABEL_MODALITIES = ("SEG", "RTSTRUCT")

DICOM_START, DICOM_MARK = 128, b"DICM"
"""Where what tells a DICOM file lies."""

MISPLACED = 0.1
"""How far from its image a label may lie, as a share of the smallest spacing."""

AXIAL = 2
EQUAL_SPACING = 0.99
"""Spacings are the same if their ratio is above this."""


@dataclass(frozen=True)
class Scan:
    """A medical image.

    Attributes:
        array: In the file's own order of axes; DICOM as slices, rows and columns, and colours where it has them.
        orientation: The view that makes the array out of one whose axes run to the patient's right, front and head.
        dtype: Of the stored pixels.
        geometry: Where the array lies.
    """

    array: Shaped[np.ndarray, "..."]
    orientation: PlaneLayout
    dtype: np.dtype
    geometry: Geometry

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a mask on the file's own grid; a NIfTI file may have a fourth axis of length 1."""
        header = self.geometry.header
        return tuple(header.get_data_shape()) if hasattr(header, "get_data_shape") else self.array.shape

    @property
    def usual_axis(self) -> int:
        """The axis of the array across thick slices; across axial ones, where no spacing is the largest."""
        from megamed.standardise import slicing_axes

        if (affine := self.geometry.affine) is None:
            return 0
        turned = np.argsort(self.orientation.axes).tolist()
        sides, steps_mm = (tuple(values[axis] for axis in turned) for values in (self.array.shape, spacings_mm(affine)))
        thick = slicing_axes(sides, steps_mm)
        if len(thick) > 1:
            thick = [axis for axis in range(3) if steps_mm[axis] >= EQUAL_SPACING * max(steps_mm)]
        return turned[thick[0] if len(thick) == 1 else AXIAL]


def is_medical(path: Path) -> bool:
    """Whether a path is a folder or a file of a medical format."""
    return path.is_dir() or path.name.lower().endswith(SUFFIXES) or (not path.suffix and is_dicom_file(path))


def read_scan(path: Path) -> Scan:
    """Read a NIfTI, NRRD, MetaImage or DICOM file, or the one series in a folder.

    Raises:
        ValueError: If it cannot be decoded, is too large, has other than three axes, or is not one series.
        ImportError: If the library for the format is not installed; the message has the command.
    """
    name = path.name.lower()
    if name.endswith(NIFTI):
        return _read_nifti(path)
    if name.endswith(NRRD):
        return _read_nrrd(path)
    if name.endswith(METAIMAGE):
        return _read_metaimage(path)
    return _read_dicom(series_in(path) if path.is_dir() else (path,))


def on_image(scan: Scan, image: Geometry, name: str) -> Shaped[np.ndarray, "..."]:
    """The array of a label in the order of its image's axes, or as it is where one of them tells no place.

    Args:
        scan: The label.
        image: Where its image lies.
        name: How errors call the label.

    Raises:
        ValueError: If the label lies elsewhere than its image.
    """
    affine = scan.geometry.affine
    if affine is None or image.affine is None:
        return scan.array
    try:
        view = parallel(affine, image.affine[:3, :3])
        array, placed = view.planes(scan.array), viewed(affine, scan.array.shape, view)
        if (apart := displacement_mm(placed, image.affine, array.shape)) <= MISPLACED * min(spacings_mm(image.affine)):
            return array
        reason = f"expected voxels at the same place, got them up to {apart:.3g} mm apart"
    except ValueError as error:
        reason = str(error)
    msg = f"{name} lies elsewhere than its image: {reason}. Save it with its image's affine, on its grid."
    raise ValueError(msg)


def read_drawn(path: Path, image: Geometry) -> tuple[UInt16[np.ndarray, "I J K"], Mapping[int, str]]:
    """Read the segments of a DICOM-SEG, or the regions of an RTSTRUCT, that were drawn on a series.

    Args:
        path: Of the label.
        image: Where the series lies.

    Returns:
        A label with the numbers of the file, where of overlapping segments the later one stays; and their names.

    Raises:
        ValueError: If a file cannot be decoded, or the label is empty or was drawn on other slices.
        ImportError: If pydicom or highdicom is not installed; the message has the command.
    """
    from megamed.readers.dicom import readable
    from megamed.readers.dicom_labels import read_masks
    from megamed.schema import slugify

    with readable(path) as pydicom:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        if header.Modality == "SEG":
            names = {int(each.SegmentNumber): str(each.SegmentLabel) for each in header.SegmentSequence}
        else:
            names = {int(each.ROINumber): str(each.ROIName) for each in header.StructureSetROISequence}
    label = None
    for value, mask in read_masks(path, image.files, {slugify(name): value for value, name in names.items()}):
        label = np.zeros(mask.array.shape, dtype=np.uint16) if label is None else label
        label[mask.array > 0] = value
    if label is None or image.affine is None:
        msg = f"{path.name} is empty: expected segments or regions drawn on the series, got none. Draw them."
        raise ValueError(msg)
    return parallel(mask.affine, image.affine[:3, :3]).planes(label), names


def series_in(folder: Path) -> tuple[Path, ...]:
    """The files of the one DICOM series in a folder and its subfolders; labels drawn on it are left out.

    Raises:
        ValueError: If there is none or several.
        ImportError: If pydicom is not installed; the message has the command.
    """
    from megamed.readers.dicom import readable

    series: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if not is_dicom_file(path):
            continue
        with readable(path) as pydicom:
            header = pydicom.dcmread(path, specific_tags=["Modality", "SeriesInstanceUID"], stop_before_pixels=True)
            if header.get("Modality") not in LABEL_MODALITIES:
                series[str(header.get("SeriesInstanceUID", ""))].append(path)
    series.pop("", None)
    if len(series) != 1:
        counts = sorted(map(len, series.values()))
        msg = (
            f"{folder.name} is not one series: expected a folder of one DICOM series, got {len(series)}"
            f"{f' of {counts} files' if counts else ''}. Keep each series in its own folder; pass pictures as a list."
        )
        raise ValueError(msg)
    return tuple(*series.values())


def is_dicom_file(path: Path) -> bool:
    """Whether a file begins as DICOM does; a DICOMDIR, which holds no pixels, is none."""
    if path.name == "DICOMDIR" or path.name.startswith(".") or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(DICOM_START + len(DICOM_MARK))[DICOM_START:] == DICOM_MARK


def _read_nifti(path: Path) -> Scan:
    from megamed.readers.nifti import read_volume

    volume = read_volume(path, channel="0")
    import nibabel

    image = nibabel.Nifti1Image.from_filename(path)
    if image.shape[3:] not in ((), (1,)):
        msg = (
            f"{path.name} holds {image.shape[3]} volumes: expected one, got shape {image.shape}. "
            "Save one of them: nibabel.load(path).slicer[..., 0]."
        )
        raise ValueError(msg)
    return _scan(volume, image.affine[:3, :3], volume.array.dtype, header=image.header)


def _read_nrrd(path: Path) -> Scan:
    from megamed.readers.nrrd import SHORT_SPACES, TOWARDS_RAS, read_volume

    volume = read_volume(path)
    import nrrd

    header = nrrd.read_header(str(path))
    space = header.get("space", "right-anterior-superior").lower()
    signs = [TOWARDS_RAS[towards] for towards in SHORT_SPACES.get(space, space).split("-")]
    directions = np.asarray(header.get("space directions", np.eye(3)), dtype=float).T
    return _scan(volume, np.diag(signs) @ directions, volume.array.dtype, header=header)


def _read_metaimage(path: Path) -> Scan:
    from megamed.readers.metaimage import DATA_KEY, HEADER_BYTES, IDENTITY, read_volume
    from megamed.readers.volume import LPS_TO_RAS

    volume = read_volume(path)
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES).partition(DATA_KEY)[0].decode("latin-1")
    found = re.search(r"^\s*(?:TransformMatrix|Rotation|Orientation)\s*=(.*)$", header, re.MULTILINE)
    matrix = [float(value) for value in (found[1] if found else IDENTITY).split()]
    return _scan(volume, LPS_TO_RAS[:3, :3] @ np.reshape(matrix, (3, 3)).T, volume.array.dtype)


def _read_dicom(files: tuple[Path, ...]) -> Scan:
    from megamed.readers.dicom import read_grid, read_series, readable
    from megamed.readers.volume import LPS_TO_RAS

    with readable(files[0]) as pydicom:
        header = pydicom.dcmread(files[0], stop_before_pixels=True)
    dtype = np.dtype(np.uint8 if header.get("BitsStored", 16) <= 8 else np.int16)
    modality = header.get("Modality")
    image = _read_film(files[0], header) if len(files) == 1 and _is_film(header) else read_series(files)
    if isinstance(image, np.ndarray):
        frames = image[None] if image.ndim == 2 else image
        return Scan(frames, PlaneLayout(), dtype, Geometry(files=files, modality=modality))
    grid = read_grid(files)
    slices_rows_columns = (LPS_TO_RAS @ grid.affine)[:3, 2::-1]
    return _scan(image, slices_rows_columns, dtype, files=grid.files, modality=modality)


def _is_film(header: Any) -> bool:
    """Whether a DICOM file holds colours or several frames, as ultrasound does."""
    return header.get("SamplesPerPixel", 1) > 1 or int(header.get("NumberOfFrames") or 1) > 1


def _read_film(path: Path, header: Any) -> Shaped[np.ndarray, "frames rows columns *colours"]:
    from megamed.readers.dicom import readable
    from megamed.readers.volume import check_header

    frames, colours = int(header.get("NumberOfFrames") or 1), header.get("SamplesPerPixel", 1)
    if "SharedFunctionalGroupsSequence" in header:
        msg = (
            f"{path.name} is an enhanced DICOM file: expected a file per slice, got {frames} frames. "
            "Convert it to NIfTI, for instance with dcm2niix."
        )
        raise ValueError(msg)
    with readable(path) as pydicom:
        check_header((frames, header.Rows, header.Columns * colours), np.dtype(np.uint16))
        pixels = pydicom.dcmread(path).pixel_array
        return pixels.reshape(frames, header.Rows, header.Columns, *((colours,) if colours > 1 else ()))


def _scan(volume: Any, directions: Float[np.ndarray, "3 3"], dtype: np.dtype, **known: Any) -> Scan:
    """Undo how megamed's readers turn a volume, given the directions of the file's own axes."""
    orientation = parallel(volume.affine, directions)
    affine = viewed(volume.affine, volume.array.shape, orientation)
    return Scan(orientation.planes(volume.array), orientation, dtype, Geometry(affine, **known))
