"""What stored DICOM pixels stand for, whichever way a header says it, the same for slices, radiographs and films."""

from pathlib import Path

import numpy as np
import pytest

from megamed import formats
from megamed.readers.source import Source
from tests.dicom_files import series_affine, write_series

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("nibabel")

AFFINE = series_affine(np.eye(3), (2.0, 0.5, 0.75), (0.0, 0.0, 0.0))
PIXELS = np.random.default_rng(0).integers(-1000, 1000, (3, 4, 6))
STORED = PIXELS + 1024
NOWHERE = {"ImagePositionPatient": None}


def read(path: Path) -> np.ndarray:
    return formats.read(formats.source_at(path)).array


def film(folder: Path, frames: np.ndarray, **tags: object) -> Path:
    """Write frames of grey in one file; `frames` are stored values."""
    pixel_data = {"PixelData": frames.astype(np.uint16).tobytes(), "NumberOfFrames": len(frames)}
    (path,) = write_series(folder, np.zeros((1, *frames.shape[1:]), int), AFFINE, **NOWHERE, **pixel_data, **tags)
    return path


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"RescaleSlope": 2, "RescaleIntercept": -10}, STORED * 2 - 10),
        ({"RescaleSlope": 0.5, "RescaleIntercept": None}, STORED * 0.5),
        ({"RescaleSlope": "", "RescaleIntercept": ""}, STORED),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, STORED),
        ({"RescaleSlope": None, "RescaleIntercept": None}, STORED),
        ({"PhotometricInterpretation": "MONOCHROME1"}, PIXELS.max() - PIXELS),
        ({"PhotometricInterpretation": None, "SamplesPerPixel": None}, PIXELS),
        ({"PhotometricInterpretation": "", "PixelRepresentation": None, "BitsStored": None}, PIXELS),
    ],
    ids=["slope", "half", "empty", "zero", "none", "inverted", "not said", "empty storage"],
)
def test_slices_and_films_have_the_same_values(tmp_path: Path, tags: dict[str, object], expected: np.ndarray) -> None:
    write_series(tmp_path / "scan", PIXELS, AFFINE, **tags)
    assert np.array_equal(read(tmp_path / "scan"), expected)
    assert np.array_equal(read(film(tmp_path / "film", STORED, **tags)), expected)


def test_modality_table_is_looked_up(tmp_path: Path) -> None:
    table = pydicom.Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [2048, 0, 16], "HU"
    values = (np.arange(2048)[::-1] * 3).astype(np.uint16)
    table.add_new("LUTData", "OW", values.tobytes())
    tags = {"RescaleSlope": None, "RescaleIntercept": None, "ModalityLUTSequence": [table]}
    write_series(tmp_path / "scan", PIXELS, AFFINE, **tags)
    assert np.array_equal(read(tmp_path / "scan"), values[STORED])


def test_palette_gives_colours(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (256, 3)).astype(np.uint16)
    indices = np.random.default_rng(1).integers(0, 256, (1, 4, 6)).astype(np.uint8)
    tags: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR", **NOWHERE}
    tags |= {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelData": indices.tobytes()}
    for channel, name in enumerate(("Red", "Green", "Blue")):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tags[f"{name}PaletteColorLookupTableData"] = (colours[:, channel] << 8).astype(np.uint16).tobytes()
    (path,) = write_series(tmp_path / "scan", np.zeros((1, 4, 6), int), AFFINE, **tags)
    stored = formats.read(Source((path,)))
    assert stored.axes == "TYXC"
    assert np.array_equal(stored.array, colours[indices])


def test_file_without_preamble_is_read(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path / "scan", PIXELS[:1], AFFINE, **NOWHERE)
    dataset = pydicom.dcmread(path)
    buffer = pydicom.filebase.DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    del dataset.file_meta
    pydicom.filewriter.write_dataset(buffer, dataset)
    path.write_bytes(buffer.getvalue())
    assert np.array_equal(read(path), PIXELS[0])


def test_text_is_no_dicom_file(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_text("of the study")
    with pytest.raises(ValueError, match=r"a\.dcm cannot be read"):
        read(tmp_path / "a.dcm")


def test_lossless_jpeg_is_read(tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    pytest.importorskip("gdcm")
    (path,) = write_series(tmp_path / "scan", PIXELS[:1], AFFINE)
    dataset = pydicom.dcmread(path)
    encoded = imagecodecs.ljpeg_encode(STORED[0].astype(np.uint16), bitspersample=16)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLosslessSV1
    dataset.PixelData = pydicom.encaps.encapsulate([encoded])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    assert np.array_equal(read(path)[0], PIXELS[0])


def test_images_without_positions_are_no_volume(tmp_path: Path) -> None:
    files = write_series(tmp_path / "scan", PIXELS, AFFINE, **NOWHERE)
    with pytest.raises(ValueError, match="scan is no volume: expected slices with positions, got 3 images without"):
        read(tmp_path / "scan")
    assert np.array_equal(read(files[1]), PIXELS[1])


@pytest.mark.parametrize("tag", ["PixelSpacing", "ImagerPixelSpacing"])
def test_pixels_of_a_radiograph_have_a_size(tmp_path: Path, tag: str) -> None:
    tags: dict[str, object] = {"PixelSpacing": None, tag: [0.2, 0.3]} if tag != "PixelSpacing" else {tag: [0.2, 0.3]}
    (path,) = write_series(tmp_path / "scan", PIXELS[:1], AFFINE, **NOWHERE, **tags)
    assert formats.read(Source((path,))).geometry.spacing == (0.2, 0.3)


def test_decimal_commas_are_points(tmp_path: Path) -> None:
    stated = {"PixelSpacing": [0.5, 0.25], "RescaleSlope": 1.5, "RescaleIntercept": -1.5, **NOWHERE}
    (path,) = write_series(tmp_path / "scan", PIXELS[:1], AFFINE, **stated)
    expected = read(path)
    content = path.read_bytes()
    for text in (b"0.5\\0.25", b"-1.5"):
        assert text in content
        content = content.replace(text, text.replace(b".", b","))
    path.write_bytes(content)
    assert np.array_equal(read(path), expected)
    assert formats.read(Source((path,))).geometry.spacing == (0.5, 0.25)


def test_the_size_at_the_detector_is_told_or_reduced_to_that_in_the_patient(tmp_path: Path) -> None:
    tags = {"PixelSpacing": None, "ImagerPixelSpacing": [0.2, 0.3], **NOWHERE}
    (path,) = write_series(tmp_path / "a", PIXELS[:1], AFFINE, **tags)
    assert "at the detector" in formats.read(Source((path,))).notes[0]
    (path,) = write_series(tmp_path / "b", PIXELS[:1], AFFINE, EstimatedRadiographicMagnificationFactor=1.25, **tags)
    stored = formats.read(Source((path,)))
    assert stored.geometry.spacing == pytest.approx((0.16, 0.24))
    assert not stored.notes


def test_pixels_of_ultrasound_have_the_size_of_their_one_region(tmp_path: Path) -> None:
    region = pydicom.Dataset()
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.02, 0.01
    path = film(tmp_path / "film", STORED, PixelSpacing=None, SequenceOfUltrasoundRegions=[region])
    assert formats.read(Source((path,))).geometry.spacing == pytest.approx((0.1, 0.2))
