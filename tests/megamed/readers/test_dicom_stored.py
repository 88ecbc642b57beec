"""Bits and padding of stored DICOM pixels, also where the header misstates them."""

from pathlib import Path

import numpy as np
import pytest

from megamed import formats
from megamed.readers.source import Source
from megamed.readers.stored import StoredImage
from tests.dicom_files import series_affine, write_series

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("nibabel")

AFFINE = series_affine(np.eye(3), (2.0, 0.5, 0.75), (0.0, 0.0, 0.0))
VALUES = (np.arange(60).reshape(1, 6, 10) * 70).astype(np.uint16)
WIDER, CUT = "its values need more bits", "bits above those"


def stored(folder: Path, words: np.ndarray, **tags: object) -> StoredImage:
    """Read the one slice of a series that holds these words."""
    plain = {"RescaleIntercept": 0, "PixelRepresentation": int(words.dtype.kind == "i"), "PixelData": words.tobytes()}
    (path,) = write_series(folder, np.zeros(words.shape, int), AFFINE, **(plain | tags))
    return formats.read(Source((path,)))


@pytest.mark.parametrize("bits", [10, 11, 12])
def test_values_that_need_more_bits_than_are_stated_keep_all(tmp_path: Path, bits: int) -> None:
    image = stored(tmp_path / "scan", VALUES, BitsStored=bits, HighBit=bits - 1)
    assert np.array_equal(image.array, VALUES)
    assert [note.startswith(WIDER) for note in image.notes] == [True] * int(VALUES.max() >= 1 << bits)


def test_signed_values_beyond_their_bits_do_not_change_sign(tmp_path: Path) -> None:
    values = VALUES.astype(np.int16) - 1024
    image = stored(tmp_path / "scan", values, BitsStored=12, HighBit=11)
    assert np.array_equal(image.array, values)
    assert image.notes[0].startswith(WIDER)


def test_sign_of_fewer_bits_is_continued(tmp_path: Path) -> None:
    values = VALUES.astype(np.int16) // 4 - 1024
    image = stored(
        tmp_path / "scan", (values & 0xFFF).astype(np.uint16), BitsStored=12, HighBit=11, **{"PixelRepresentation": 1}
    )
    assert np.array_equal(image.array, values)
    assert not image.notes


@pytest.mark.parametrize("is_declared", [False, True])
def test_marks_above_the_values_are_no_part_of_them(tmp_path: Path, is_declared: bool) -> None:
    marked = VALUES // 2
    marked[0, 2:4, 2:4] |= 1 << 15
    pixels = {"BitsStored": 12, "HighBit": 11, "PixelData": marked.tobytes()}
    (path,) = write_series(tmp_path / "scan", np.zeros((1, 6, 10), int), AFFINE, RescaleIntercept=0, **pixels)
    if is_declared:
        dataset = pydicom.dcmread(path)
        dataset.add_new((0x6000, 0x0102), "US", 15)
        dataset.save_as(path)
    image = formats.read(Source((path,)))
    assert np.array_equal(image.array, VALUES // 2)
    assert [note.startswith(CUT) for note in image.notes] == [True] * int(not is_declared)


def test_values_in_the_upper_bits_are_moved_down(tmp_path: Path) -> None:
    image = stored(tmp_path / "scan", VALUES // 2 << 4, BitsStored=12, HighBit=15)
    assert np.array_equal(image.array, VALUES // 2)


def test_more_bits_stored_than_there_are_mean_all(tmp_path: Path) -> None:
    assert np.array_equal(stored(tmp_path / "scan", VALUES, BitsStored=32, HighBit=31).array, VALUES)


@pytest.mark.parametrize(
    ("tags", "padding"),
    [({"PhotometricInterpretation": "MONOCHROME1"}, 0), ({}, 65535), ({"PixelRepresentation": 1}, -32768)],
    ids=["inverted", "above", "far below"],
)
def test_padding_is_as_dark_as_the_darkest(tmp_path: Path, tags: dict[str, object], padding: int) -> None:
    words = VALUES.astype(np.int32) // 2 + 100
    words[0, :, :4] = padding
    words = words.astype(np.int16 if padding < 0 else np.uint16)
    image = stored(tmp_path / "scan", words, PixelPaddingValue=padding, **tags)
    assert np.ptp(image.array[0, :, :4]) == 0
    assert image.array[0, 0, 0] == image.array[0, :, 4:].min()
    assert np.ptp(image.array) == np.ptp(words[0, :, 4:].astype(int))
    assert "padding is read as the darkest" in image.notes[0]


def test_padding_that_is_about_as_dark_as_air_stays(tmp_path: Path) -> None:
    values = VALUES.astype(np.int16) - 1024
    values[0, 0] = -2000
    assert np.array_equal(stored(tmp_path / "scan", values, PixelPaddingValue=-2000).array, values)


def test_palette_of_bytes_in_words_is_not_black(tmp_path: Path) -> None:
    indices = np.arange(24, dtype=np.uint8).reshape(1, 4, 6) % 4
    shades = np.array([0, 255, 128, 7], np.uint16)
    tags: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR", "ImagePositionPatient": None}
    tags |= {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelData": indices.tobytes()}
    for name in ("Red", "Green", "Blue"):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [4, 0, 16]
        tags[f"{name}PaletteColorLookupTableData"] = shades.tobytes()
    (path,) = write_series(tmp_path / "scan", np.zeros((1, 4, 6), int), AFFINE, **tags)
    image = formats.read(Source((path,)))
    assert np.array_equal(image.array[..., 0], shades[indices])
    assert "16 bits and uses 8" in image.notes[0]


def test_slices_of_floats_are_a_series(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(3, 4, 6)).astype(np.float32)
    for plane, path in zip(values, write_series(tmp_path / "scan", np.zeros((3, 4, 6), int), AFFINE), strict=True):
        dataset = pydicom.dcmread(path)
        for tag in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation", "RescaleIntercept", "RescaleSlope"):
            del dataset[tag]
        dataset.BitsAllocated, dataset.FloatPixelData = 32, plane.tobytes()
        dataset.save_as(path)
    assert np.array_equal(formats.read(formats.source_at(tmp_path / "scan")).array, values)


@pytest.mark.parametrize(
    ("tags", "spacing_mm"),
    [
        ({"PixelSpacing": None}, (1.0, 1.0)),
        ({"PixelSpacing": [0, 0]}, (1.0, 1.0)),
        ({"PixelSpacing": None, "ImagerPixelSpacing": [0.3, 0.4]}, (0.3, 0.4)),
        ({"ImageOrientationPatient": [0, 0, 3, 0, 3, 0]}, (0.5, 0.75)),
    ],
    ids=["none", "zero", "detector", "long directions"],
)
def test_slices_with_odd_headers_are_a_volume(
    tmp_path: Path, tags: dict[str, object], spacing_mm: tuple[float, float]
) -> None:
    write_series(tmp_path / "scan", np.zeros((3, 4, 6), int), AFFINE, **tags)
    image = formats.read(formats.source_at(tmp_path / "scan"))
    assert image.geometry.affine is not None
    assert np.allclose(np.linalg.norm(image.geometry.affine[:3, :3], axis=0), (2.0, *spacing_mm))
    assert any("no size of pixels" in note for note in image.notes) == (spacing_mm == (1.0, 1.0))
