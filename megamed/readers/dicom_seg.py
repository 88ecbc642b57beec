"""Write a mask as a DICOM-SEG of the series that it lies on."""

import copy
import io
import warnings
from typing import Any

import numpy as np

from megamed.readers.faults import needs
from megamed.readers.stored import MaskImage

SERIES_NUMBER = 1000
"""Number of the new series; scanners count from 1."""
UNICODE = "ISO_IR 192"
"""DICOM's term for UTF-8, which holds names in all scripts."""
EMPTIED_TAGS = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)


def write(mask: MaskImage, suffix: str) -> bytes:
    """Return a DICOM-SEG with a segment for each name, numbered from 1 in the order of the label values.

    Raises:
        ValueError: If a header of the series lacks what a DICOM-SEG must repeat.
        ImportError: If highdicom is not installed.
    """
    with needs("highdicom", "DICOM-SEG", "Writing"):
        import highdicom
    values = sorted({*mask.names, *np.unique(mask.array).tolist()} - {0}) or [1]
    try:
        # highdicom warns of unusual names of patients, and quotes them
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            dataset = _segmentation(highdicom, mask, values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        msg = f"The series cannot have a DICOM-SEG: expected its usual headers, got '{error}'. Write a .nii.gz instead."
        raise ValueError(msg) from error
    if not all(name.isascii() for name in mask.names.values()):
        dataset.SpecificCharacterSet = UNICODE
    content = io.BytesIO()
    dataset.save_as(content)
    return content.getvalue()


def _segmentation(highdicom: Any, mask: MaskImage, values: list[int]) -> Any:
    """Describe the mask as a data set with one segment for each value."""
    return highdicom.seg.Segmentation(
        source_images=[_complete(header, mask) for header in mask.geometry.header],
        pixel_array=np.stack([mask.array == value for value in values], axis=-1).astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=_descriptions([mask.names.get(value, f"class {value}") for value in values], mask),
        series_instance_uid=highdicom.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer=mask.software[0],
        manufacturer_model_name=mask.software[0],
        software_versions=mask.software[1],
        device_serial_number="0",
        omit_empty_frames=bool(mask.array.any()),
    )


def _descriptions(names: list[str], mask: MaskImage) -> list[Any]:
    import highdicom
    from pydicom.sr.codedict import codes

    anatomy = highdicom.sr.CodedConcept("123037004", "SCT", "Anatomical Structure")
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=mask.software[0], family=codes.DCM.ArtificialIntelligence, version=mask.software[1]
    )
    return [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=anatomy,
            segmented_property_type=anatomy,
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
        )
        for number, name in enumerate(names, start=1)
    ]


def _complete(header: Any, mask: MaskImage) -> Any:
    """Fill in, in a copy, what a header must have but anonymisers take away: empty where that is allowed."""
    header = copy.deepcopy(header)
    for tag in EMPTIED_TAGS:
        header.setdefault(tag, "")
    header.setdefault("SliceThickness", float(np.linalg.norm(mask.affine[:3, 0])))
    return header
