"""DICOM series, DICOM-SEG and RTSTRUCT, written with pydicom and highdicom."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from megamed.layouts import Subject, find_subjects
from megamed.pixels import read_image
from megamed.prepare import prepare_subject
from megamed.readers.dicom_labels import read_drawn
from megamed.readers.dicom_segments import RESAMPLED
from megamed.readers.source import SERIES, Source
from megamed.readers.volume import Volume
from megamed.schema import DatasetCard, slugify
from megamed.standardise import Standard
from tests import dicom_files
from tests.dicom_files import write_segmentation

pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

ROWS, COLUMNS, SLICES = 10, 12, 6
SPACING_MM = (0.5, 0.75, 2.0)
"""Between columns, rows and slices."""
ORIGIN_MM = np.array([-30.0, 40.0, -100.0])
CARD = DatasetCard(id="drawn", modality="CT", labels={1: "liver", 2: "tumour"}, license="CC0", layout="dicom")


def write_series(folder: Path, pixels: np.ndarray, patient: str = "P1") -> list[Path]:
    """Write slices (slices, rows, columns) in Hounsfield units, their thickness unlike the step between them."""
    affine = np.eye(4)
    affine[:3, :3] = np.diag(SPACING_MM)[:, ::-1]
    affine[:3, 3] = ORIGIN_MM
    tags = {"PatientID": patient, "SliceThickness": 1.0, "BitsStored": 12, "HighBit": 11}
    return dicom_files.write_series(folder, pixels, affine, slope=2, **tags)


def write_regions(path: Path, series: Sequence[Path], contours: dict[str, list[np.ndarray]]) -> None:
    """Write contours, in indices of column, row and slice, as an RTSTRUCT."""
    headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in series]
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = pydicom.uid.RTStructureSetStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    dataset.SeriesInstanceUID, dataset.PatientID, dataset.Modality = pydicom.uid.generate_uid(), "P1", "RTSTRUCT"
    dataset.ReferencedFrameOfReferenceSequence = [frame := pydicom.Dataset()]
    frame.RTReferencedStudySequence = [study := pydicom.Dataset()]
    study.RTReferencedSeriesSequence = [reference := pydicom.Dataset()]
    reference.SeriesInstanceUID = headers[0].SeriesInstanceUID
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, polygons) in enumerate(contours.items(), 1):
        region, drawn = pydicom.Dataset(), pydicom.Dataset()
        region.ROINumber, region.ROIName, drawn.ReferencedROINumber = number, name, number
        drawn.ContourSequence = []
        for polygon in polygons:
            contour, image = pydicom.Dataset(), pydicom.Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(polygon)
            contour.ContourData = [f"{mm:.4f}" for mm in (polygon * SPACING_MM + ORIGIN_MM).ravel()]
            image.ReferencedSOPInstanceUID = headers[int(polygon[0, 2])].SOPInstanceUID
            contour.ContourImageSequence = [image]
            drawn.ContourSequence.append(contour)
        dataset.StructureSetROISequence.append(region)
        dataset.ROIContourSequence.append(drawn)
    dataset.save_as(path, enforce_file_format=True)


def read_masks(path: Path, series: Sequence[Path], values: dict[str, int]) -> Iterator[tuple[int, Volume]]:
    """Draw the structures whose slugs have a value."""
    drawn = read_drawn(Source((path, *series)))
    for segment in drawn.segments:
        if (name := slugify(segment.name)) in values:
            yield values[name], drawn.to_ras(segment)


def square(low: float, high: float, level: int) -> np.ndarray:
    """A contour around the pixel centres between two indices, along both axes of a slice."""
    corners = [(low, low), (high, low), (high, high), (low, high)]
    return np.array([(*corner, level) for corner in corners], float)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(-500, 1000, (SLICES, ROWS, COLUMNS)) // 2 * 2


@pytest.fixture
def series(tmp_path: Path, pixels: np.ndarray) -> list[Path]:
    return write_series(tmp_path / "scan", pixels)


def test_slices_are_sorted_by_position_in_hounsfield_units(series: list[Path], pixels: np.ndarray) -> None:
    volume = read_image(Source(tuple(sorted(series)), SERIES))
    assert volume.spacing_mm == SPACING_MM
    expected = pixels.transpose(2, 1, 0)[::-1, ::-1]  # columns run left and rows back; RAS is the opposite
    assert np.array_equal(volume.array, expected)
    last_corner = ORIGIN_MM + np.multiply((COLUMNS - 1, ROWS - 1, 0), SPACING_MM)
    assert volume.affine[:3, 3] == pytest.approx(last_corner * (-1, -1, 1))


def test_geometry_agrees_with_simpleitk(series: list[Path]) -> None:
    sitk = pytest.importorskip("SimpleITK")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(series[0].parent)))
    theirs = sitk.DICOMOrient(reader.Execute(), "LPS")
    ours = read_image(Source(tuple(series), SERIES))
    assert np.array_equal(ours.array[::-1, ::-1], sitk.GetArrayFromImage(theirs).transpose(2, 1, 0))
    corner = np.array([COLUMNS - 1, ROWS - 1, 0, 1])
    assert (ours.affine @ corner)[:3] * (-1, -1, 1) == pytest.approx(theirs.GetOrigin())


@pytest.mark.parametrize("spoil", ["phase", "empty", "foreign"])
def test_faulty_series_is_refused(series: list[Path], spoil: str, tmp_path: Path, pixels: np.ndarray) -> None:
    if spoil == "phase":
        dataset = pydicom.dcmread(series[1])
        dataset.SOPInstanceUID, dataset.AcquisitionNumber = pydicom.uid.generate_uid(), 2
        dataset.PixelData = bytes(len(dataset.PixelData))
        dataset.save_as(tmp_path / "again.dcm")
        series.append(tmp_path / "again.dcm")
    if spoil == "empty":
        series[3].write_bytes(series[3].read_bytes()[:200])
    if spoil == "foreign":
        series += write_series(tmp_path / "other", pixels)[:1]
    with pytest.raises(ValueError, match="cannot be read"):
        read_image(Source(tuple(series), SERIES))


def test_segments_may_overlap_and_omit_frames(tmp_path: Path, series: list[Path]) -> None:
    liver, tumour = np.zeros((2, SLICES, ROWS, COLUMNS), bool)
    liver[1:4, 2:8, 3:9] = True
    tumour[2, 4:6, 8:11] = True  # partly outside the liver
    write_segmentation(tmp_path / "seg.dcm", series, {"Liver": liver, "Tumour": tumour, "Couch": ~liver})
    masks = dict(read_masks(tmp_path / "seg.dcm", series, {"liver": 1, "tumour": 2}))
    assert masks.keys() == {1, 2}
    for value, mask in ((1, liver), (2, tumour)):
        assert np.array_equal(masks[value].array, mask.transpose(2, 1, 0)[::-1, ::-1])
        assert np.array_equal(masks[value].affine, read_image(Source(tuple(series), SERIES)).affine)


def test_names_are_known_before_anything_is_drawn(tmp_path: Path, series: list[Path], pixels: np.ndarray) -> None:
    write_segmentation(tmp_path / "seg.dcm", series, {"Liver": pixels > 0, "Tumour": pixels > 500})
    drawn = read_drawn(Source((tmp_path / "seg.dcm", *series)))
    assert drawn.names == {1: "Liver", 2: "Tumour"}
    assert np.array_equal(drawn.segments[1].draw(), pixels > 500)


def test_labels_of_another_series_are_refused(tmp_path: Path, series: list[Path], pixels: np.ndarray) -> None:
    write_segmentation(tmp_path / "seg.dcm", series, {"liver": np.ones(pixels.shape, bool)})
    write_regions(tmp_path / "rt.dcm", series, {"liver": [square(1, 4, 2)]})
    other = write_series(tmp_path / "other", pixels)
    for name in ("seg.dcm", "rt.dcm"):
        with pytest.raises(ValueError, match="on others"):
            dict(read_masks(tmp_path / name, other, {"liver": 1}))


def test_regions_have_holes_and_islands(tmp_path: Path, series: list[Path]) -> None:
    contours = [square(1.5, 7.5, 2), square(3.5, 5.5, 2), square(8.5, 9.5, 2), square(0, 9, 5)]
    write_regions(tmp_path / "rt.dcm", series, {"LIVER": contours, "Couch": [square(0, 9, 1)]})
    masks = dict(read_masks(tmp_path / "rt.dcm", series, {"liver": 1, "tumour": 2}))
    expected = np.zeros((SLICES, ROWS, COLUMNS), bool)
    expected[2, 2:8, 2:8] = True
    expected[2, 4:6, 4:6] = False
    expected[2, 9, 9] = True
    expected[5, :9, :9] = True
    assert masks.keys() == {1}
    assert np.array_equal(masks[1].array, expected.transpose(2, 1, 0)[::-1, ::-1])


def test_contour_between_slices_is_refused(tmp_path: Path, series: list[Path]) -> None:
    shifted = square(1, 4, 2)
    shifted[:, 2] += 0.4
    write_regions(tmp_path / "rt.dcm", series, {"liver": [shifted]})
    with pytest.raises(ValueError, match=r"expected contours on the 6 slices .* 0\.40 of the distance"):
        dict(read_masks(tmp_path / "rt.dcm", series, {"liver": 1}))


def test_a_stray_contour_costs_no_more_than_itself(tmp_path: Path, series: list[Path]) -> None:
    stray = square(1, 4, 3)
    stray[:, 2] += 0.4
    write_regions(tmp_path / "rt.dcm", series, {"liver": [square(1, 4, 2), stray]})
    drawn = read_drawn(Source((tmp_path / "rt.dcm", *series)))
    (mask,) = (segment.draw() for segment in drawn.segments)
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == [2]
    assert drawn.notes == [
        "left out 1 of 2 contours of 'liver': one lies 0.40 of the distance between slices off the nearest"
    ]


def test_what_was_left_out_of_a_subject_is_said(tmp_path: Path, series: list[Path]) -> None:
    stray = square(1, 4, 3)
    stray[:, 2] += 0.4
    write_regions(tmp_path / "rt.dcm", series, {"liver": [square(1, 4, 2), stray]})
    (tmp_path / "scan" / "again.dcm").write_bytes(series[0].read_bytes())
    (subject,) = find_subjects(tmp_path, CARD)
    notes: list[str] = []
    rows, problems = prepare_subject(CARD, Standard(16), subject, "train", notes)
    assert rows
    assert not problems
    assert any("left out copies of other files" in note for note in notes)
    assert any(note.startswith("rt.dcm: left out 1 of 2 contours of 'liver'") for note in notes)


def test_contours_that_repeat_or_cross_are_united(tmp_path: Path, series: list[Path]) -> None:
    contours = [square(0.5, 4.5, 1), square(0.5, 4.5, 1), square(0.5, 4.5, 2), square(2.5, 6.5, 2)]
    write_regions(tmp_path / "rt.dcm", series, {"liver": contours})
    (segment,) = read_drawn(Source((tmp_path / "rt.dcm", *series))).segments
    expected = np.zeros((SLICES, ROWS, COLUMNS), bool)
    expected[1:3, 1:5, 1:5] = expected[2, 3:7, 3:7] = True
    assert np.array_equal(segment.draw(), expected)


@pytest.mark.parametrize("how", ["cropped", "turned", "finer"])
def test_segments_lie_where_their_positions_say(
    tmp_path: Path, series: list[Path], pixels: np.ndarray, how: str
) -> None:
    import highdicom

    label = np.zeros(pixels.shape, bool)
    label[1:4, 3:7, 2:5] = True
    corner, step, stored = {
        "cropped": ((2, 1), 1.0, label[:, 2:8, 1:9]),
        "turned": ((ROWS - 1, COLUMNS - 1), 1.0, label[:, ::-1, ::-1]),
        "finer": ((-0.25, -0.25), 0.5, label.repeat(2, axis=1).repeat(2, axis=2)),
    }[how]
    headers = [pydicom.dcmread(file) for file in series]
    places = [
        np.array(header.ImagePositionPatient, float) + np.array([corner[1], corner[0], 0]) * SPACING_MM
        for header in headers
    ]
    code = highdicom.sr.CodedConcept("123037004", "SCT", "Anatomical Structure")
    highdicom.seg.Segmentation(
        headers,
        np.ascontiguousarray(stored).astype(np.uint8),
        "BINARY",
        [highdicom.seg.SegmentDescription(1, "liver", code, code, "MANUAL")],
        highdicom.UID(), 2, highdicom.UID(), 1, "drawn", "drawn", "1", "1",
        plane_orientation=highdicom.PlaneOrientationSequence(
            "PATIENT", (-1, 0, 0, 0, -1, 0) if how == "turned" else (1, 0, 0, 0, 1, 0)
        ),
        plane_positions=[highdicom.PlanePositionSequence("PATIENT", place) for place in places],
        pixel_measures=highdicom.PixelMeasuresSequence(
            [step * mm for mm in SPACING_MM[1::-1]], 1.0, SPACING_MM[2]
        ),
    ).save_as(tmp_path / "seg.dcm")  # fmt: skip
    drawn = read_drawn(Source((tmp_path / "seg.dcm", *series)))
    (segment,) = drawn.segments
    assert np.array_equal(segment.draw(), label)
    assert drawn.notes == ([RESAMPLED] if how == "finer" else [])


def test_segments_of_a_radiograph_belong_to_it_by_uid(tmp_path: Path, pixels: np.ndarray) -> None:
    (path,) = write_series(tmp_path / "scan", pixels[:1])
    write_segmentation(tmp_path / "seg.dcm", [path], {"liver": pixels[:1] > 0})
    for file in (path, tmp_path / "seg.dcm"):
        dataset = pydicom.dcmread(file)
        for tag in ("ImagePositionPatient", "PixelSpacing", "FrameOfReferenceUID"):
            dataset.pop(tag, None)
        for group in dataset.get("PerFrameFunctionalGroupsSequence", ()):
            del group.PlanePositionSequence
        dataset.save_as(file)
    drawn = read_drawn(Source((tmp_path / "seg.dcm", path)))
    assert np.array_equal(drawn.to_ras(drawn.segments[0]), pixels[0] > 0)


def prepared(folder: Path, card: DatasetCard = CARD) -> tuple[dict[str, Subject], list, dict[str, list[str]]]:
    subjects = {subject.id: subject for subject in find_subjects(folder, card)}
    found = {name: prepare_subject(card, Standard(16), subject, "train") for name, subject in subjects.items()}
    return (
        subjects,
        [row for rows, _ in found.values() for row in rows],
        {name: bad for name, (_, bad) in found.items()},
    )


def test_labels_find_their_series_wherever_they_lie(tmp_path: Path, pixels: np.ndarray) -> None:
    liver, tumour = np.zeros((2, SLICES, ROWS, COLUMNS), bool)
    liver[2, 2:8, 3:9], tumour[2, 4:6, 8:11] = True, True
    first = write_series(tmp_path / "b" / "scan", pixels, "P1")
    write_series(tmp_path / "b" / "without label", pixels, "P1")
    second = write_series(tmp_path / "a", pixels, "P2")
    (tmp_path / "segs").mkdir()
    write_segmentation(tmp_path / "segs" / "1.dcm", first, {"Liver": liver, "Tumour": tumour})
    write_regions(tmp_path / "segs" / "2", second, {"liver": [square(2, 6, 3)]})
    (tmp_path / "LICENSE").write_text("CC0")
    (tmp_path / "damaged.dcm").write_bytes(b"DICM")
    subjects, rows, problems = prepared(tmp_path)
    assert {row.case for row in rows if row.subject == "P1"} == {"P1_1:2"}
    known = {row.subject: row.known for row in rows}
    assert known == {"P1": {"liver", "tumour"}, "P2": {"liver"}}, "what has no region is unknown"
    (row,) = (row for row in rows if row.subject == "P1")
    assert row.masks["liver"].any()
    assert (row.masks["liver"] & row.masks["tumour"]).any()
    assert "cannot be read" in problems["damaged.dcm"][0]
    assert len(subjects["P1"].files) >= SLICES + 1


@pytest.mark.parametrize("series_uid", ["", "1.2.3"])
def test_emptied_headers_are_told_apart_by_folders(tmp_path: Path, pixels: np.ndarray, series_uid: str) -> None:
    for patient in ("Anna", "Bo"):
        files = write_series(tmp_path / patient / "scan", pixels, "")
        write_regions(tmp_path / patient / "drawn", files, {"liver": [square(2, 6, 3)]})
        for file in files:
            dataset = pydicom.dcmread(file)
            dataset.SeriesInstanceUID = f"{series_uid}.{len(patient)}" if series_uid else ""
            dataset.save_as(file)
    subjects, rows, problems = prepared(tmp_path)
    assert not any(problems.values())
    assert subjects.keys() == {"Anna", "Bo"}
    assert {row.case for row in rows} == {"Anna_1:3", "Bo_1:3"}


def test_label_without_its_series_is_reported(tmp_path: Path, series: list[Path], pixels: np.ndarray) -> None:
    write_segmentation(tmp_path / "seg.dcm", series, {"liver": np.ones(pixels.shape, bool)})
    for path in series:
        path.unlink()
    _, rows, problems = prepared(tmp_path)
    assert not rows
    assert "has no image" in problems["seg.dcm"][0]
