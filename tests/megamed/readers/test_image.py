"""Pictures and label maps: values are kept, damage is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from megamed.readers import image as reader
from megamed.readers.image import read_image, read_label


def save(path: Path, array: np.ndarray, mode: str | None = None) -> Path:
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(path)
    return path


def test_colour_becomes_luminance(tmp_path: Path) -> None:
    red_green_blue = np.eye(3, dtype=np.uint8)[None] * 255
    assert read_image(save(tmp_path / "a.png", red_green_blue)).tolist() == [[76, 150, 29]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_values_are_kept(tmp_path: Path, dtype: type) -> None:
    array = np.array([[0, 7], [200, np.iinfo(dtype).max]], dtype)
    assert np.array_equal(read_image(save(tmp_path / "a.png", array)), array)


def test_float_tiff_is_kept(tmp_path: Path) -> None:
    array = np.array([[0.5, -1.0]], np.float32)
    assert np.array_equal(read_image(save(tmp_path / "a.tif", array)), array)


def test_palette_label_gives_indices(tmp_path: Path) -> None:
    label = Image.fromarray(np.array([[0, 1], [2, 2]], np.uint8), "L").copy()
    label.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    label.save(tmp_path / "a.png")
    assert read_label(tmp_path / "a.png").tolist() == [[0, 1], [2, 2]]


def test_one_bit_label_is_zero_and_one(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[0, 255]], np.uint8), "1")
    assert read_label(path).tolist() == [[0, 1]]


def test_colour_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a label map"):
        read_label(save(tmp_path / "a.png", np.zeros((2, 2, 3), np.uint8)))


def test_size_is_checked_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    monkeypatch.setattr(reader, "MAX_PIXELS", 15)
    with pytest.raises(ValueError, match=r"a\.png cannot be read: expected at most 15 pixels, got 4×4"):
        read_image(path)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of damaged metadata before it fails
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp"])
def test_truncated_file_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = save(tmp_path / f"a.{suffix}", np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=f"a.{suffix} cannot be read"):
        read_image(path)
