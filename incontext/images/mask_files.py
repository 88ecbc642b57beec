"""Masks as the bytes of a file: pictures, NIfTI, NRRD and MetaImage on an image's own grid, DICOM-SEG of its series."""

import gzip
import io
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from incontext import __version__
from incontext.images.orientation import Geometry

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

SERIES_NUMBER = 1000
"""Of a DICOM-SEG; scanners count from 1."""

EMPTIED_TAGS = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)

NRRD_DATA_KEYS = frozenset(
    {"type", "endian", "encoding", "byte skip", "byteskip", "line skip", "lineskip", "data file", "datafile"}
    | {"min", "max", "old min", "oldmin", "old max", "oldmax", "sample units", "sampleunits", "block size"}
)
"""What a NRRD header says of an image's values and where they are stored, not of where they lie."""


def picture(mask: UInt8[np.ndarray, "N H W"], suffix: str) -> bytes:
    """One plane as PNG, BMP or TIFF, several as the pages of a TIFF."""
    first, *others = [Image.fromarray(np.ascontiguousarray(plane)) for plane in mask]
    content = io.BytesIO()
    if suffix in (".tif", ".tiff"):
        first.save(content, "TIFF", save_all=True, append_images=others, compression="tiff_deflate")
    else:
        first.save(content, suffix.removeprefix(".").upper())
    return content.getvalue()


def nifti(mask: UInt8[np.ndarray, "..."], geometry: Geometry, compress: bool) -> bytes:
    """A NIfTI file with the header of its image, or else with its affine.

    A DICOM series is stored as its converters do it: columns, rows, slices.
    """
    with _needs("nibabel", "NIfTI"):
        import nibabel
    if isinstance(geometry.header, nibabel.Nifti1Header):
        header = geometry.header.copy()
        header["cal_min"], header["cal_max"] = 0, 0
        image = nibabel.Nifti1Image(mask.reshape(header.get_data_shape()), None, header)
    elif geometry.files:
        image = nibabel.Nifti1Image(mask.transpose(), placed(geometry)[:, [2, 1, 0, 3]])
    else:
        image = nibabel.Nifti1Image(mask, placed(geometry))
    image.set_data_dtype(np.uint8)
    image.header.set_slope_inter(1, 0)
    content = image.to_bytes()
    return gzip.compress(content, mtime=0) if compress else content


def nrrd(mask: UInt8[np.ndarray, "I J K"], geometry: Geometry) -> bytes:
    """A NRRD file with what the header of its image says of space, or else with its affine."""
    with _needs("pynrrd", "NRRD"):
        import nrrd
    if isinstance(geometry.header, Mapping):
        header = {key: value for key, value in geometry.header.items() if key not in NRRD_DATA_KEYS}
    else:
        affine = RAS_TO_LPS @ placed(geometry)
        header = {
            "space": "left-posterior-superior",
            "space directions": affine[:3, :3].T,
            "space origin": affine[:3, 3],
            "kinds": ["domain"] * 3,
        }
    content = io.BytesIO()
    nrrd.write(content, mask, header)
    return content.getvalue()


def metaimage(mask: UInt8[np.ndarray, "I J K"], geometry: Geometry) -> bytes:
    """A MetaImage file, its data after the header."""
    affine = RAS_TO_LPS @ placed(geometry)
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    data = zlib.compress(mask.tobytes(order="F"))
    header = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True",
        "CompressedDataSize": str(len(data)),
        "TransformMatrix": _spaced((affine[:3, :3] / spacing_mm).T),
        "Offset": _spaced(affine[:3, 3]),
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": _spaced(spacing_mm),
        "DimSize": " ".join(map(str, mask.shape)),
        "ElementType": "MET_UCHAR",
        "ElementDataFile": "LOCAL",
    }
    return "".join(f"{key} = {value}\n" for key, value in header.items()).encode() + data


def segmentation(mask: UInt8[np.ndarray, "slices rows columns"], geometry: Geometry, names: Mapping[int, str]) -> bytes:
    """A DICOM-SEG of a series, with a segment for each name, numbered from 1 in the order of the values.

    Args:
        mask: On the slices of the series, in the order of its files.
        geometry: Of the series.
        names: Of the label values; those that the mask holds besides are called `class 7` and so on.

    Raises:
        ValueError: If a header of the series lacks what a DICOM-SEG must repeat.
    """
    with _needs("highdicom", "DICOM-SEG"):
        import highdicom
        import pydicom
        from pydicom.sr.codedict import codes
    named = {value: names.get(value, f"class {value}") for value in sorted({*names, *np.unique(mask).tolist()} - {0})}
    named = named or {1: "class 1"}
    anatomy = highdicom.sr.CodedConcept("123037004", "SCT", "Anatomical Structure")
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name="incontext", family=codes.DCM.ArtificialIntelligence, version=__version__
    )
    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=anatomy,
            segmented_property_type=anatomy,
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
        )
        for number, name in enumerate(named.values(), start=1)
    ]
    try:
        dataset = highdicom.seg.Segmentation(
            source_images=[
                _complete(pydicom.dcmread(file, stop_before_pixels=True), geometry) for file in geometry.files
            ],
            pixel_array=np.stack([mask == value for value in named], axis=-1).astype(np.uint8),
            segmentation_type="BINARY",
            segment_descriptions=segments,
            series_instance_uid=highdicom.UID(),
            series_number=SERIES_NUMBER,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="incontext",
            manufacturer_model_name="incontext",
            software_versions=__version__,
            device_serial_number="0",
            omit_empty_frames=bool(mask.any()),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        msg = f"The series cannot have a DICOM-SEG: expected its usual headers, got '{error}'. Write a .nii.gz instead."
        raise ValueError(msg) from error
    content = io.BytesIO()
    dataset.save_as(content)
    return content.getvalue()


def _complete(header: Any, geometry: Geometry) -> Any:
    """Fill in what a header must have but anonymisers take away: empty where that is allowed."""
    for tag in EMPTIED_TAGS:
        header.setdefault(tag, "")
    header.setdefault("SliceThickness", float(np.linalg.norm(placed(geometry)[:3, 0])))
    return header


@contextmanager
def _needs(library: str, format_name: str) -> Iterator[None]:
    """Say how to install a library whose import fails."""
    try:
        yield
    except ImportError as error:
        msg = f'Writing {format_name} needs {library}: `pip install "incontext-seg[medical]"`.'
        raise ImportError(msg) from error


def placed(geometry: Geometry) -> Float[np.ndarray, "4 4"]:
    """The affine of what has a place in the patient, as all do that become volumes."""
    assert geometry.affine is not None
    return geometry.affine


def _spaced(values: Float[np.ndarray, "..."]) -> str:
    return " ".join(f"{value:.17g}" for value in values.ravel())
