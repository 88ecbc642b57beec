"""Pictures and label maps: values are kept, damage is refused."""

import struct
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from megamed import formats, pixels
from megamed.label_colours import colour_of
from megamed.label_values import read_palette
from megamed.readers import memory
from megamed.readers.picture import decode, write
from megamed.readers.source import Source
from megamed.readers.stored import Geometry, MaskImage, StoredImage

RAMP = np.array([[0, 51, 102], [153, 204, 255]], dtype=np.uint8)


def read_image(path: Path) -> np.ndarray:
    return pixels.read_image(Source((path,)))


def read_label(path: Path) -> np.ndarray:
    return pixels.read_label(Source((path,)))


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
        read_label(save(tmp_path / "a.png", np.full((2, 2, 3), (9, 0, 0), np.uint8)))


def test_size_is_checked_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    monkeypatch.setattr(pixels, "MOST_PIXELS", 15)
    with pytest.raises(ValueError, match=r"a\.png cannot be read: expected at most 15 pixels, got 1 × 4 × 4"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif", "jpg"])
def test_a_large_picture_is_no_attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", RAMP.repeat(4, axis=0))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)  # Pillow warns above it and refuses twice as much
    assert read_image(path).shape == read_label(path).shape == (8, 3)
    assert Image.MAX_IMAGE_PIXELS == 4


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_picture_must_fit_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", np.zeros((400, 300), np.uint8))
    (tmp_path / "facts").write_text("MemAvailable: 900 kB")
    monkeypatch.setattr(memory, "FACTS", tmp_path / "facts")
    reason = r"into the 0\.0 GB of memory that are free, got 1 × 400 × 300 pixels"
    with pytest.raises(ValueError, match=rf"a\.{suffix} cannot be read: expected an image that fits {reason}"):
        read_image(path)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of damaged metadata before it fails
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp"])
def test_truncated_file_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = save(tmp_path / f"a.{suffix}", np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=f"a.{suffix} cannot be read"):
        read_image(path)


def save_frames(path: Path, *frames: np.ndarray) -> Path:
    first, *others = [Image.fromarray(frame) for frame in frames]
    first.save(path, save_all=True, append_images=others) if others else first.save(path)
    return path


def stored(path: Path, most_pixels: int = 2**30) -> StoredImage:
    return formats.read(Source((path,)), most_pixels)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
@pytest.mark.parametrize("array", [RAMP, np.stack([RAMP] * 3, -1)], ids=["grey", "colour"])
def test_files_keep_their_values(tmp_path: Path, suffix: str, array: np.ndarray) -> None:
    read = stored(save_frames(tmp_path / f"image.{suffix}", array))
    assert np.array_equal(read.array, array)
    assert read.axes == "YXC"[: array.ndim]
    assert read.shape == RAMP.shape


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_pages_of_a_tiff_are_planes(tmp_path: Path, dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = np.random.default_rng(0).integers(0, 200, (3, 4, 5)).astype(dtype)
    path = save_frames(tmp_path / "stack.tif", *pages)
    for missing in (False, True):
        if missing:
            monkeypatch.setitem(sys.modules, "tifffile", None)
        read = stored(path)
        assert read.axes == "ZYX"
        assert np.array_equal(read.array, pages)


def test_a_telephone_s_photograph_is_one_image(tmp_path: Path) -> None:
    photograph, preview = Image.fromarray(RAMP), Image.fromarray(RAMP[:1])
    photograph.save(tmp_path / "photo.jpg", format="MPO", save_all=True, append_images=[preview])
    with Image.open(tmp_path / "photo.jpg") as picture:
        assert picture.n_frames == 2
    read = stored(tmp_path / "photo.jpg")
    assert (read.array.shape, read.is_lossy) == ((2, 3), True)


def test_frames_of_a_film_are_in_order(tmp_path: Path) -> None:
    frames = [np.full((4, 5), value, np.uint8) for value in (0, 100, 200)]
    first, *others = map(Image.fromarray, frames)
    first.save(tmp_path / "a.gif", save_all=True, append_images=others)
    read = stored(tmp_path / "a.gif").displayed()
    assert read.axes == "TYXC"
    assert read.array[:, 0, 0, 0].tolist() == [0, 100, 200]
    assert np.array_equal(read_image(tmp_path / "a.gif"), frames[0])


def test_pages_of_several_sizes_are_no_stack(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no stack: expected frames of one size"):
        stored(save_frames(tmp_path / "stack.tif", RAMP, RAMP.T))


def test_modes_of_pillow() -> None:
    picture = Image.fromarray(RAMP)
    for mode in ("L", "LA", "I", "F", "I;16"):
        assert np.array_equal(decode(picture.convert(mode)).array, RAMP)
    for mode in ("RGB", "RGBA", "P", "CMYK", "YCbCr"):
        assert decode(picture.convert(mode)).displayed().array.shape == (2, 3, 3)
    assert decode(picture.convert("1")).array.dtype == bool


def test_palette_is_that_of_pillow() -> None:
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8))
    for picture in (colours.quantize(7), colours.convert("P"), colours.convert("P").convert("PA")):
        read = decode(picture)
        assert np.array_equal(read.displayed().array, np.asarray(picture.convert("RGB")))
        assert np.array_equal(read.array, np.asarray(picture.getchannel(0)))


def test_size_of_all_pages_is_checked_before_decoding(tmp_path: Path) -> None:
    path = save_frames(tmp_path / "a.gif", RAMP, RAMP + 1)
    with pytest.raises(ValueError, match="expected at most 11 pixels, got 2 × 2 × 3"):
        stored(path, 11)


def masked(array: np.ndarray, **words: dict[int, str]) -> MaskImage:
    return MaskImage(array[None], Geometry(), **words)


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0, 7, 8), (3,), (0,), range(256)], ids=str)
def test_a_mask_has_its_values_as_indices_and_no_value_but_0_is_black(tmp_path: Path, values: Sequence[int]) -> None:
    mask = np.random.default_rng(0).choice(np.array(values, np.uint8), (20, 30))
    path = tmp_path / "mask.png"
    path.write_bytes(write(masked(mask), ".png"))
    with Image.open(path) as theirs:
        assert theirs.mode == "P"
        assert np.array_equal(np.asarray(theirs), mask)
        shown = np.asarray(theirs.convert("RGB"))
    assert np.array_equal(shown.any(axis=-1), mask > 0)
    assert np.unique(shown.reshape(-1, 3), axis=0).shape[0] == np.unique(mask).size
    read = stored(path)
    assert np.array_equal(read_label(path), mask)
    assert read.palette is not None
    assert np.array_equal(read_palette(read.array, read.palette, "mask").values, mask)
    assert np.array_equal(read_image(path) > 0, mask > 0)


def test_a_mask_has_the_colours_of_its_classes(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(write(masked(np.array([[0, 1, 2]], np.uint8), colours={2: "#ff0102"}), ".png"))
    assert stored(tmp_path / "a.png").colours == {1: colour_of(1), 2: "#ff0102"}


def test_a_mask_of_zero_and_full_is_the_same_in_grey(tmp_path: Path) -> None:
    mask = np.array([[0, 255, 255]], np.uint8)
    (tmp_path / "a.png").write_bytes(write(masked(mask), ".png"))
    with Image.open(tmp_path / "a.png") as theirs:
        assert np.array_equal(np.asarray(theirs.convert("L")), mask)


def test_a_mask_of_more_values_than_colours_has_16_bits(tmp_path: Path) -> None:
    mask = np.array([[0, 1, 256, 65535]], np.uint16)
    (tmp_path / "a.png").write_bytes(write(masked(mask), ".png"))
    with Image.open(tmp_path / "a.png") as theirs:
        assert np.array_equal(np.asarray(theirs), mask)
    assert np.array_equal(read_label(tmp_path / "a.png"), mask)
    with pytest.raises(ValueError, match="mask does not fit into BMP: expected label values up to 255, got 65535"):
        write(masked(mask), ".bmp")


def png_of_bits(path: Path, values: np.ndarray, bits: int) -> None:
    """Write grey values in few bits each, as the specification of PNG lays them out."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = np.unpackbits(values[..., None], axis=-1)[..., -bits:].reshape(len(values), -1)
    header = struct.pack(">IIBBBBB", *values.shape[::-1], bits, 0, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + np.packbits(row).tobytes() for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b""))


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_values_of_few_bits_are_not_stretched(tmp_path: Path, bits: int) -> None:
    values = np.arange(12, dtype=np.uint8).reshape(3, 4) % 2**bits
    png_of_bits(tmp_path / "label.png", values, bits)
    assert np.array_equal(read_label(tmp_path / "label.png"), values)


@pytest.mark.parametrize(("largest", "kind"), [(2, "P5"), (3, "P2"), (254, "P5"), (255, "P2"), (255, "P5")])
def test_grey_values_below_a_largest_of_their_own_are_not_stretched(tmp_path: Path, largest: int, kind: str) -> None:
    values = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
    content = values.tobytes() if kind == "P5" else " ".join(map(str, values.ravel())).encode()
    (tmp_path / "label.pgm").write_bytes(f"{kind} 4 3 {largest}\n".encode() + content)
    assert np.array_equal(read_label(tmp_path / "label.pgm"), values)


@pytest.mark.parametrize("largest", [1000, 65535])
def test_grey_values_of_16_bits_are_those_stored(tmp_path: Path, largest: int) -> None:
    values = np.array([[0, 7, 1000], [513, 256, 3]], np.uint16)
    (tmp_path / "image.pgm").write_bytes(f"P5 3 2 {largest}\n".encode() + values.astype(">u2").tobytes())
    assert np.array_equal(formats.read(Source((tmp_path / "image.pgm",))).array, values)
