"""Small DICOM series and segmentations for tests."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

OBLIQUE = np.array([[0, 0.8, -0.6], [0, 0.6, 0.8], [1.0, 0, 0]])
"""Directions of three axes, one a column."""

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def series_affine(directions: np.ndarray, spacing_mm: Sequence[float], origin_mm: Sequence[float]) -> np.ndarray:
    """The affine of a series from the directions of its rows and columns, the second and the third; slices lie across.

    From indices of slice, row and column to millimetres towards left, back and head.
    """
    affine = np.eye(4)
    across = np.cross(directions[:, 2], directions[:, 1])
    affine[:3, :3] = np.stack([across, directions[:, 1], directions[:, 2]], axis=1) * spacing_mm
    affine[:3, 3] = origin_mm
    return affine


def write_series(
    folder: Path, pixels: np.ndarray, affine: np.ndarray, modality: str = "CT", slope: int = 1, **tags: object
) -> list[Path]:
    """Write slices (slices, rows, columns) as DICOM, under names in no order.

    Args:
        folder: A new one.
        pixels: Whole numbers from -1024 on.
        affine: From indices of slice, row and column to millimetres towards left, back and head.
        modality: As DICOM calls it.
        slope: What the stored values are multiplied by; it divides the pixels.
        tags: To add, or to leave out where None.
    """
    folder.mkdir(parents=True)
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    across_rows, across_columns = affine[:3, 1] / spacing_mm[1], affine[:3, 2] / spacing_mm[2]
    study, series, frame = (pydicom.uid.generate_uid() for _ in range(3))
    paths = []
    for number, page in enumerate(pixels):
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = pydicom.uid.CTImageStorage
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = study, series, frame
        dataset.PatientID, dataset.PatientName, dataset.Modality = "P1", "Doe^J", modality
        dataset.PatientBirthDate = dataset.PatientSex = dataset.AccessionNumber = dataset.StudyID = ""
        dataset.StudyDate, dataset.StudyTime, dataset.ReferringPhysicianName = "20200101", "000000", ""
        dataset.SeriesNumber, dataset.InstanceNumber = 1, number + 1
        dataset.ImageOrientationPatient = [*across_columns.tolist(), *across_rows.tolist()]
        dataset.ImagePositionPatient = (affine[:3, 3] + number * affine[:3, 0]).tolist()
        dataset.PixelSpacing, dataset.SliceThickness = spacing_mm[1:].tolist(), float(spacing_mm[0])
        dataset.Rows, dataset.Columns = page.shape
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, -1024
        dataset.PixelData = ((page + 1024) // slope).astype(np.uint16).tobytes()
        for tag, value in tags.items():
            if value is None:
                del dataset[tag]
            else:
                setattr(dataset, tag, value)
        path = folder / f"{(number * 5) % 7}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def write_enhanced(folder: Path, slices: Sequence[Path]) -> Path:
    """Write the slices of a series as the frames of one enhanced file, the last one first.

    Frame of slice n has the slope 1 + n and the intercept 10 n.
    """
    frames, pixels = [], []
    for number, file in reversed(list(enumerate(slices))):
        slice_ = pydicom.dcmread(file)
        frames.append(group := pydicom.Dataset())
        group.PlanePositionSequence = [place := pydicom.Dataset()]
        place.ImagePositionPatient = slice_.ImagePositionPatient
        group.PixelValueTransformationSequence = [scale := pydicom.Dataset()]
        scale.RescaleSlope, scale.RescaleIntercept = 1 + number, 10 * number
        pixels.append(slice_.pixel_array)
    shared, orientation, measures = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    orientation.ImageOrientationPatient = slice_.ImageOrientationPatient
    measures.PixelSpacing = slice_.PixelSpacing
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    slice_.NumberOfFrames, slice_.PixelData = len(slices), np.stack(pixels).tobytes()
    slice_.SharedFunctionalGroupsSequence, slice_.PerFrameFunctionalGroupsSequence = [shared], frames
    del slice_.ImagePositionPatient, slice_.ImageOrientationPatient
    folder.mkdir(parents=True)
    slice_.save_as(folder / "many.dcm")
    return folder / "many.dcm"


def write_segmentation(path: Path, series: Sequence[Path], masks: Mapping[str, np.ndarray]) -> None:
    """Write masks (slices, rows, columns) with highdicom; empty frames are omitted."""
    highdicom = pytest.importorskip("highdicom")
    code = highdicom.sr.CodedConcept("123037004", "SCT", "Anatomical Structure")
    segments = [
        highdicom.seg.SegmentDescription(number, name, code, code, "MANUAL") for number, name in enumerate(masks, 1)
    ]
    highdicom.seg.Segmentation(
        source_images=[pydicom.dcmread(file) for file in series],
        pixel_array=np.stack(list(masks.values()), axis=-1).astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=segments,
        series_instance_uid=highdicom.UID(),
        series_number=2,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="drawn",
        manufacturer_model_name="drawn",
        software_versions="1",
        device_serial_number="1",
    ).save_as(path)
