"""Compressed pixels that pydicom cannot decode by itself are read."""

from pathlib import Path

import numpy as np
import pytest

from megamed import formats
from megamed.readers.source import Source
from tests.dicom_files import series_affine, write_series

imagecodecs = pytest.importorskip("imagecodecs")
pydicom = pytest.importorskip("pydicom")

AFFINE = series_affine(np.eye(3), (2, 1, 1), (0, 0, 0))
RAMP = (np.indices((24, 40)).sum(0) * 60).astype(np.int16)


def write(folder: Path, syntax: str, encoded: bytes, **tags: object) -> Path:
    """Write a slice of encoded pixels, whose values are as stored."""
    (path,) = write_series(folder, RAMP[None], AFFINE, RescaleIntercept=0, **tags)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = pydicom.encaps.encapsulate([encoded])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    return path


def read(path: Path) -> np.ndarray:
    return formats.read(Source((path,))).array


def test_jpeg_of_twelve_bits_is_read(tmp_path: Path) -> None:
    encoded = imagecodecs.jpeg8_encode(RAMP.astype(np.uint16), level=100, bitspersample=12)
    path = write(tmp_path / "scan", pydicom.uid.JPEGExtended12Bit, encoded, BitsStored=12, HighBit=11)
    np.testing.assert_allclose(read(path)[0], RAMP, atol=2)


@pytest.mark.parametrize("syntax", [201, 202, 203])
@pytest.mark.parametrize("lowest", [0, -1000])
def test_high_throughput_jpeg_2000_is_read(tmp_path: Path, syntax: int, lowest: int) -> None:
    values = RAMP + lowest if lowest else RAMP.astype(np.uint16)
    encoded = imagecodecs.htj2k_encode(values)
    path = write(
        tmp_path / "scan", f"1.2.840.10008.1.2.4.{syntax}", encoded, PixelRepresentation=int(values.dtype.kind == "i")
    )
    np.testing.assert_array_equal(read(path)[0], values)


def test_high_throughput_jpeg_2000_in_colours_is_read(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (24, 40, 3), np.uint8)
    tags = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "SamplesPerPixel": 3, "PlanarConfiguration": 0}
    encoded = imagecodecs.htj2k_encode(colours)
    path = write(tmp_path / "scan", pydicom.uid.HTJ2KLossless, encoded, PhotometricInterpretation="YBR_RCT", **tags)
    np.testing.assert_array_equal(read(path).reshape(colours.shape), colours)


def test_damaged_pixels_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "scan", pydicom.uid.HTJ2KLossless, imagecodecs.htj2k_encode(RAMP)[:60])
    with pytest.raises(ValueError, match=rf"{path.name} cannot be read"):
        read(path)
