"""Headers tell what they can; pixels are read where they are asked for."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from incontext.folders.file_facts import format_name, look_at
from megamed.label_values import LabelRules

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)


def save(path: Path, array: np.ndarray, **options: object) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_header_tells_size_format_and_orientation(tmp_path: Path, suffix: str) -> None:
    facts = look_at(save(tmp_path / f"a{suffix}", GREY, exif=turned(6)))
    assert (facts.size_px, facts.orientation, facts.pixels, facts.fault) == ((8, 6), 6, None, "")
    plain = look_at(save(tmp_path / f"b{suffix}", GREY))
    assert (plain.size_px, plain.orientation) == ((6, 8), 1)


def test_tags_behind_the_pixels_of_a_png_are_known(tmp_path: Path) -> None:
    data = turned(6).tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(data)) + b"eXIf" + data + struct.pack(">I", zlib.crc32(b"eXIf" + data))
    content = save(tmp_path / "a.png", GREY).read_bytes()
    (tmp_path / "a.png").write_bytes(content[:-12] + chunk + content[-12:])
    assert look_at(tmp_path / "a.png").size_px == (8, 6)


def test_pixels_are_those_of_the_file(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", GREY)
    np.testing.assert_array_equal(look_at(path, pixels=True).pixels, GREY)
    palette = Image.fromarray(GREY % 3, "P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    palette.save(tmp_path / "p.png")
    np.testing.assert_array_equal(look_at(tmp_path / "p.png", True, label=LabelRules()).pixels, GREY % 3)
    repeated = save(tmp_path / "r.png", np.stack([GREY] * 3, axis=-1))
    np.testing.assert_array_equal(look_at(repeated, True, label=LabelRules()).pixels, GREY)
    deep = save(tmp_path / "d.png", GREY.astype(np.uint16) * 500)
    assert (look_at(deep, pixels=True).pixels.max(), look_at(deep).bits) == (47 * 500, 16)


def test_a_photograph_keeps_its_size_though_it_is_decoded_smaller(tmp_path: Path) -> None:
    facts = look_at(save(tmp_path / "a.jpg", np.full((2000, 3000), 90, np.uint8)), pixels=True, draft=True)
    assert facts.size_px == (2000, 3000)
    assert facts.pixels.size <= 2000 * 3000 / 4


def test_an_unreadable_file_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    (tmp_path / "b.nii").write_text("no volume")
    assert look_at(tmp_path / "a.png").fault == "it is no picture of a known format"
    assert look_at(tmp_path / "b.nii", pixels=True).fault


def test_a_volume_is_read_only_for_its_pixels(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    path = tmp_path / "a.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones((3, 4, 5), np.int16), np.eye(4)), path)
    assert look_at(path).size_px == ()
    assert look_at(path, pixels=True).size_px == (3, 4, 5)
    assert format_name(path) == "NIfTI"


def test_a_tiff_that_pillow_does_not_know_has_its_facts(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", GREY.astype(np.float16))
    with pytest.raises(OSError, match="cannot identify"):
        Image.open(tmp_path / "a.tif")
    facts = look_at(tmp_path / "a.tif", pixels=True)
    assert (facts.size_px, facts.bits, facts.fault) == ((6, 8), 16, "")
    np.testing.assert_array_equal(facts.pixels, GREY)
