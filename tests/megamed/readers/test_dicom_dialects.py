"""DICOM-SEG and RTSTRUCT of other writers: other types and tags, planes that lie otherwise, contours with faults."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from incontext.images.source_image import read_label_image, read_source_image
from megamed.readers.dicom_labels import names_in, read_drawn
from megamed.readers.dicom_segments import RESAMPLED
from megamed.readers.source import Source
from megamed.readers.stored import DrawnLabel
from tests.dicom_files import series_affine, write_series

pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")

AXIAL = np.array([[0, 0, 1.0], [0, 1.0, 0], [1.0, 0, 0]])
AFFINE = series_affine(AXIAL, (3.0, 1.0, 1.0), (0.0, 0.0, 0.0))
STEP_MM = np.array([AFFINE[:3, 0], AFFINE[:3, 1], AFFINE[:3, 2]])
UNUSUAL = pytest.mark.filterwarnings("ignore:Invalid value for VR")
LIVER, TUMOUR = np.zeros((2, 5, 16, 20), bool)
LIVER[1:4, 5:12, 6:15] = True
TUMOUR[2:4, 10:14, 10:18] = True


@pytest.fixture
def series(tmp_path: Path) -> list[Path]:
    return write_series(tmp_path / "scan", 500 * LIVER.astype(int), AFFINE)


def segmentation(series: Sequence[Path], pixels: np.ndarray, kind: str = "BINARY", **options: Any) -> Any:
    """Describe segments called liver and tumour."""
    code = highdicom.sr.CodedConcept("10200004", "SCT", "Liver structure")
    numbers = (
        {"liver": 1} if pixels.ndim == 3 and pixels.max() < 2 else {"liver": 1, "tumour": int(pixels.max(initial=2))}
    )
    numbers = {"liver": 1, "tumour": 2} if pixels.ndim == 4 else numbers
    return highdicom.seg.Segmentation(
        [pydicom.dcmread(file) for file in series],
        pixels,
        kind,
        [highdicom.seg.SegmentDescription(number, name, code, code, "MANUAL") for name, number in numbers.items()],
        *(highdicom.UID(), 2, highdicom.UID(), 1, "drawn", "drawn", "1", "1"),
        **options,
    )


def drawn_by_name(drawn: DrawnLabel) -> dict[str, np.ndarray]:
    return {segment.name: segment.draw() > 0 for segment in drawn.segments}


# ---------------------------------------------------------------------------------------------------------- segments


@pytest.mark.parametrize("stored", [1, 100, 255])
@pytest.mark.parametrize("stated", [True, False])
def test_half_of_the_full_value_is_inside(tmp_path: Path, series: list[Path], stored: int, stated: bool) -> None:
    dataset = segmentation(series, 1.0 * LIVER, "FRACTIONAL", max_fractional_value=stored)
    if not stated:
        del dataset.MaximumFractionalValue
    dataset.save_as(tmp_path / "seg.dcm")
    masks = drawn_by_name(read_drawn(Source((tmp_path / "seg.dcm", *series))))
    assert np.array_equal(masks["liver"], LIVER)


@pytest.mark.parametrize("value", [2, 300])
def test_a_label_map_is_as_its_values_say(tmp_path: Path, series: list[Path], value: int) -> None:
    pixels = np.where(TUMOUR, value, LIVER).astype(np.uint16)
    segmentation(series, pixels, "LABELMAP").save_as(tmp_path / "seg.dcm")
    assert names_in(tmp_path / "seg.dcm") == {1: "liver", value: "tumour"}, "the background is no segment"
    image = read_source_image(tmp_path / "scan", "image")
    label = read_label_image(tmp_path / "seg.dcm", "label", image)
    by_name = {name: image.view.array(label.planes == number) for number, name in label.names.items()}
    assert by_name.keys() == {"liver", "tumour"}
    assert np.array_equal(by_name["liver"], LIVER & ~TUMOUR)
    assert np.array_equal(by_name["tumour"], TUMOUR)


def test_segments_of_one_name_are_united(tmp_path: Path, series: list[Path]) -> None:
    dataset = segmentation(series, np.stack([LIVER, TUMOUR], axis=-1).astype(np.uint8))
    dataset.SegmentSequence[1].SegmentLabel = "liver"
    dataset.save_as(tmp_path / "seg.dcm")
    image = read_source_image(tmp_path / "scan", "image")
    label = read_label_image(tmp_path / "seg.dcm", "label", image)
    assert label.names == {1: "liver"}
    assert np.array_equal(image.view.array(label.planes == 1), LIVER | TUMOUR)


def test_a_segment_without_a_label_is_called_as_what_it_shows(tmp_path: Path, series: list[Path]) -> None:
    dataset = segmentation(series, LIVER.astype(np.uint8))
    del dataset.SegmentSequence[0].SegmentLabel
    dataset.save_as(tmp_path / "seg.dcm")
    assert names_in(tmp_path / "seg.dcm") == {1: "Liver structure"}
    masks = drawn_by_name(read_drawn(Source((tmp_path / "seg.dcm", *series))))
    assert np.array_equal(masks["Liver structure"], LIVER)


def across() -> tuple[np.ndarray, list[np.ndarray], tuple[int, ...], tuple[float, float], float]:
    """Planes along columns and slices, one for each row."""
    finer = LIVER.repeat(3, axis=0).transpose(1, 0, 2)
    start = -STEP_MM[0] / 3
    return finer, [start + row * STEP_MM[1] for row in range(16)], (1, 0, 0, 0, 0, 1), (1.0, 1.0), 1.0


def between() -> tuple[np.ndarray, list[np.ndarray], tuple[int, ...], tuple[float, float], float]:
    """Planes like the slices, three for each."""
    return (
        LIVER.repeat(3, axis=0),
        [(each - 1) * STEP_MM[0] / 3 for each in range(15)],
        (1, 0, 0, 0, 1, 0),
        (1.0, 1.0),
        1.0,
    )


@pytest.mark.parametrize("lie", [across, between])
@pytest.mark.parametrize("omit", [True, False])
def test_frames_that_lie_across_or_closer_are_looked_up(
    tmp_path: Path, series: list[Path], lie: Callable[[], tuple], omit: bool
) -> None:
    pixels, places, directions, spacing_mm, step_mm = lie()
    segmentation(
        series,
        np.ascontiguousarray(pixels).astype(np.uint8),
        plane_positions=[highdicom.PlanePositionSequence("PATIENT", place.tolist()) for place in places],
        plane_orientation=highdicom.PlaneOrientationSequence("PATIENT", directions),
        pixel_measures=highdicom.PixelMeasuresSequence(spacing_mm, step_mm, step_mm),
        omit_empty_frames=omit,
    ).save_as(tmp_path / "seg.dcm")
    drawn = read_drawn(Source((tmp_path / "seg.dcm", *series)))
    assert np.array_equal(drawn_by_name(drawn)["liver"], LIVER)
    assert drawn.notes == [RESAMPLED]


# ----------------------------------------------------------------------------------------------------------- regions


def box(level: float, top: float = 5, bottom: float = 11, left: float = 6, right: float = 14) -> np.ndarray:
    """A contour around the centres of pixels from the first to the last row and column."""
    corners = [(top, left), (top, right), (bottom, right), (bottom, left)]
    margin = np.array([(-0.4, -0.4), (-0.4, 0.4), (0.4, 0.4), (0.4, -0.4)])
    return np.array([(level, *(np.array(corner) + more)) for corner, more in zip(corners, margin, strict=True)])


def regions(series: Sequence[Path], contours: dict[str, list[np.ndarray]]) -> Any:
    """Describe contours, in indices of slice, row and column, each with the image that it was drawn on."""
    headers = [pydicom.dcmread(file) for file in series]
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = pydicom.uid.RTStructureSetStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    dataset.Modality, dataset.FrameOfReferenceUID = "RTSTRUCT", headers[0].FrameOfReferenceUID
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, polygons) in enumerate(contours.items(), start=1):
        region, drawn = pydicom.Dataset(), pydicom.Dataset()
        region.ROINumber, region.ROIName, drawn.ReferencedROINumber, drawn.ContourSequence = number, name, number, []
        for polygon in polygons:
            contour, image = pydicom.Dataset(), pydicom.Dataset()
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.ContourData = [f"{mm:.4f}" for mm in (polygon @ STEP_MM).ravel()]
            image.ReferencedSOPInstanceUID = headers[round(polygon[0, 0])].SOPInstanceUID
            contour.ContourImageSequence = [image]
            drawn.ContourSequence.append(contour)
        dataset.StructureSetROISequence.append(region)
        dataset.ROIContourSequence.append(drawn)
    return dataset


def contours_of(dataset: Any) -> list[Any]:
    return [contour for region in dataset.ROIContourSequence for contour in region.ContourSequence]


def retyped(kind: str | None) -> Callable[[Any], None]:
    def change(dataset: Any) -> None:
        for contour in contours_of(dataset):
            contour.ContourGeometricType = kind
            if kind is None:
                del contour.ContourGeometricType

    return change


def closing(dataset: Any) -> None:
    for contour in contours_of(dataset):
        contour.ContourGeometricType = "OPEN_PLANAR"
        contour.ContourData = [*contour.ContourData, *contour.ContourData[:3]]


def elsewhere(dataset: Any) -> None:
    for contour in contours_of(dataset):
        contour.ContourImageSequence[0].ReferencedSOPInstanceUID = pydicom.uid.generate_uid()


def nameless(dataset: Any) -> None:
    del dataset.StructureSetROISequence[0].ROIName


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (retyped(None), "liver"),
        (retyped("CLOSEDPLANAR"), "liver"),
        pytest.param(retyped("Closed_Planar"), "liver", marks=UNUSUAL),
        (closing, "liver"),
        (elsewhere, "liver"),
        (nameless, "ROI 1"),
    ],
    ids=["no type", "other sign", "other case", "closed line", "drawn on images of the same space", "no name"],
)
def test_contours_of_other_writers_are_filled(
    tmp_path: Path, series: list[Path], change: Callable[[Any], None], name: str
) -> None:
    dataset = regions(series, {"liver": [box(level) for level in (1, 2, 3)]})
    change(dataset)
    dataset.save_as(tmp_path / "rt.dcm", enforce_file_format=True)
    drawn = read_drawn(Source((tmp_path / "rt.dcm", *series)))
    masks = drawn_by_name(drawn)
    assert list(masks) == [name]
    assert np.array_equal(masks[name], LIVER)
    assert drawn.notes == []


@UNUSUAL
@pytest.mark.parametrize(
    ("data", "note"),
    [
        (["nan"] * 12, "left out 1 of 4 contours of 'liver': one lies nowhere: its points are not three numbers each"),
        (["1"] * 11, "left out 1 of 4 contours of 'liver': one lies nowhere: its points are not three numbers each"),
    ],
)
def test_a_contour_that_is_damaged_costs_no_more_than_itself(
    tmp_path: Path, series: list[Path], data: list[str], note: str
) -> None:
    dataset = regions(series, {"liver": [box(level) for level in (1, 2, 3, 3)]})
    contours_of(dataset)[-1].ContourData = data
    dataset.save_as(tmp_path / "rt.dcm", enforce_file_format=True)
    drawn = read_drawn(Source((tmp_path / "rt.dcm", *series)))
    assert np.array_equal(drawn_by_name(drawn)["liver"], LIVER)
    assert drawn.notes == [note]


def test_open_lines_are_left_out_and_said(tmp_path: Path, series: list[Path]) -> None:
    dataset = regions(series, {"liver": [box(level) for level in (1, 2, 3, 0)]})
    contours_of(dataset)[-1].ContourGeometricType = "OPEN_PLANAR"
    dataset.save_as(tmp_path / "rt.dcm", enforce_file_format=True)
    drawn = read_drawn(Source((tmp_path / "rt.dcm", *series)))
    assert np.array_equal(drawn_by_name(drawn)["liver"], LIVER)
    assert drawn.notes == ["left out 1 of 4 contours of 'liver', which are open lines"]


def test_a_contour_a_little_beside_the_slice_that_it_names_counts_for_it(tmp_path: Path, series: list[Path]) -> None:
    regions(series, {"liver": [box(level + 0.3) for level in (1, 2, 3)]}).save_as(
        tmp_path / "rt.dcm", enforce_file_format=True
    )
    drawn = read_drawn(Source((tmp_path / "rt.dcm", *series)))
    assert np.array_equal(drawn_by_name(drawn)["liver"], LIVER)
    assert drawn.notes == ["contours lie a little beside the slices that they name: they count for these"]


@pytest.mark.parametrize(
    ("axis", "planes", "step"), [(2, range(6, 15), 1), (2, (7, 10, 13), 3), (1, range(5, 12), 1)], ids=str
)
def test_contours_across_the_slices_are_filled(
    tmp_path: Path, series: list[Path], axis: int, planes: Sequence[int], step: int
) -> None:
    low, high = np.array([0.6, 4.6, 5.6]), np.array([3.4, 11.4, 14.4])
    contours = []
    for plane in planes:
        first, second = (each for each in range(3) if each != axis)
        corners = np.tile(low, (4, 1))
        corners[1:3, first], corners[2:, second] = high[first], high[second]
        corners[:, axis] = plane
        contours.append(corners)
    regions(series, {"liver": contours}).save_as(tmp_path / "rt.dcm", enforce_file_format=True)
    drawn = read_drawn(Source((tmp_path / "rt.dcm", *series)))
    assert np.array_equal(drawn_by_name(drawn)["liver"], LIVER)
    across = "columns" if axis == 2 else "rows"
    assert drawn.notes == [f"contours of 'liver' were drawn across the slices: each counts for about {step} {across}"]


def test_regions_that_are_not_listed_are_left_out(tmp_path: Path, series: list[Path]) -> None:
    dataset = regions(series, {"liver": [box(level) for level in (1, 2, 3)], "other": [box(1)]})
    dataset.StructureSetROISequence.pop()
    dataset.save_as(tmp_path / "rt.dcm", enforce_file_format=True)
    drawn = read_drawn(Source((tmp_path / "rt.dcm", *series)))
    assert list(drawn_by_name(drawn)) == ["liver"]
    assert drawn.notes == ["left out the contours of 1 regions that the file does not list"]
