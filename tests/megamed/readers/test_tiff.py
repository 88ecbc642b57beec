"""TIFF files as other programs write them: values as stored, planes told from channels and from reduced copies."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from megamed import formats
from megamed.pixels import read_image, read_label
from megamed.readers import tiff
from megamed.readers.orientation_tag import TAG
from megamed.readers.source import Source
from megamed.readers.stored import StoredImage
from tests.slide_files import write_slide

tifffile = pytest.importorskip("tifffile")

TYPES = ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"]
TYPES += ["float16", "float32", "float64"]
RAMP = np.arange(12, dtype=np.uint8).reshape(3, 4)


def stored(path: Path, part: str = "") -> StoredImage:
    return formats.read(Source((path,), part))


@pytest.mark.parametrize("dtype", TYPES)
def test_values_and_types_are_those_on_disk(tmp_path: Path, dtype: str) -> None:
    array = (RAMP > 5) if dtype == "bool" else RAMP.astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", array)
    read = stored(tmp_path / "a.tif")
    assert read.array.dtype == array.dtype
    assert np.array_equal(read.array, array)
    assert np.array_equal(read_image(Source((tmp_path / "a.tif",))), array * 255 if dtype == "bool" else array)


@pytest.mark.parametrize("photometric", ["miniswhite", "minisblack"])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16])
def test_where_white_is_zero_values_are_kept(tmp_path: Path, photometric: str, dtype: type) -> None:
    label = (RAMP > 5).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", label, photometric=photometric)
    assert np.array_equal(read_label(Source((tmp_path / "a.tif",))), label)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_colours_are_read_fully_and_come_last(tmp_path: Path, dtype: type, planar: str) -> None:
    colours = np.random.default_rng(0).integers(0, 200, (5, 6, 3)).astype(dtype) * dtype(
        1.25 if dtype != np.uint8 else 1
    )
    shape = colours if planar == "contig" else np.moveaxis(colours, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", shape, photometric="rgb", planarconfig=planar)
    read = stored(tmp_path / "a.tif")
    assert read.axes == "YXC"
    assert np.array_equal(read.array, colours)
    assert read_image(Source((tmp_path / "a.tif",))).dtype == dtype


def test_alpha_is_no_colour(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (5, 6, 4), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", colours, photometric="rgb", extrasamples=["unassalpha"])
    assert np.array_equal(stored(tmp_path / "a.tif").array, colours[..., :3])


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize(("photometric", "samples"), [("rgb", 4), ("minisblack", 2)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_alpha_is_opacity(tmp_path: Path, planar: str, photometric: str, samples: int, orientation: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (5, 6, samples), np.uint8)
    stored_pixels = pixels if planar == "contig" else pixels.transpose(2, 0, 1)
    tags = {"extrasamples": ["unassalpha"], "extratags": [(TAG, "H", 1, orientation, True)], "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", stored_pixels, photometric=photometric, planarconfig=planar, **tags)
    read, upright = stored(tmp_path / "a.tif"), pixels if orientation == 1 else np.rot90(pixels, -1)
    assert np.array_equal(read.opacity, upright[..., -1])
    assert np.array_equal(read.array, upright[..., :3] if samples == 4 else upright[..., 0])


def test_samples_that_are_no_alpha_are_channels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (5, 6, 2), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig", extrasamples=[0])
    with pytest.raises(ValueError, match="it holds 2 channels"):
        stored(tmp_path / "a.tif")
    assert np.array_equal(stored(tmp_path / "a.tif", "1").array, pixels[..., 1])


def test_palette_has_its_colours(tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (6, 7, 3), np.uint8)).quantize(9)
    picture.save(tmp_path / "a.tif")
    read = stored(tmp_path / "a.tif")
    assert np.array_equal(read.array, np.asarray(picture))
    assert np.array_equal(read.displayed().array, np.asarray(picture.convert("RGB")))


def test_channels_are_no_slices(tmp_path: Path) -> None:
    channels = np.random.default_rng(0).integers(0, 255, (3, 2, 5, 6), np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, channels, imagej=True, metadata={"axes": "ZCYX"})
    with pytest.raises(ValueError, match=r"a\.tif cannot be read: it holds 2 channels: expected one, or"):
        stored(path)
    read = stored(path, "1")
    assert read.axes == "ZYX"
    assert np.array_equal(read.array, channels[:, 1])


def test_time_points_of_volumes_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 3, 5, 6), np.uint8), imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(ValueError, match="expected one axis of planes, got TZYX"):
        stored(tmp_path / "a.tif")


@pytest.mark.parametrize("sub", [False, True], ids=["pages", "below the page"])
def test_reduced_copies_are_left_out(tmp_path: Path, sub: bool) -> None:
    array = np.random.default_rng(0).integers(0, 255, (64, 96), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(array, tile=(32, 32), subifds=1 if sub else 0)
        file.write(array[::2, ::2], tile=(32, 32), subfiletype=1)
    assert np.array_equal(stored(tmp_path / "a.tif").array, array)
    with pytest.raises(ValueError, match=r"got 1 × 64 × 96.*, or choose a smaller level: 1 \(32 × 48\)"):
        formats.read(Source((tmp_path / "a.tif",)), 2000)
    half = formats.read(Source((tmp_path / "a.tif",), level=1), 2000)
    assert np.array_equal(half.array, array[::2, ::2])
    assert half.geometry.full_size == (64, 96)


@pytest.mark.parametrize("orientation", [1, 6])
def test_pixels_of_a_level_are_larger(tmp_path: Path, orientation: int) -> None:
    array = np.random.default_rng(0).integers(0, 255, (64, 96), np.uint8)
    tags = [(TAG, 3, 1, orientation, True)]
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}
        file.write(array, subifds=1, metadata={"axes": "YX", **sizes}, extratags=tags)
        file.write(array[::2, ::4], subfiletype=1, extratags=tags)
    read = formats.read(Source((tmp_path / "a.ome.tif",), level=1))
    rows_mm, columns_mm = 2 * 0.25e-3, 4 * 0.5e-3
    assert read.geometry.spacing == pytest.approx((rows_mm, columns_mm) if orientation == 1 else (columns_mm, rows_mm))
    assert read.geometry.full_size == ((64, 96) if orientation == 1 else (96, 64))


def test_a_level_of_one_resolution_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RAMP)
    with pytest.raises(ValueError, match=r"a\.tif cannot be read: expected level 0 \(3 × 4\), got 1"):
        formats.read(Source((tmp_path / "a.tif",), level=1))
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png has no level 1: expected a slide or a pyramid, got one resolution"):
        formats.read(Source((tmp_path / "a.png",), level=1))


def test_of_a_slide_what_was_scanned_is_read(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    path = write_slide(tmp_path / "a.svs", colours).rename(tmp_path / "a.tif")
    assert np.array_equal(stored(path).array, colours)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "group4"])
def test_compressed_values_are_kept(tmp_path: Path, compression: str) -> None:
    pytest.importorskip("imagecodecs")
    mask = np.random.default_rng(0).integers(0, 2, (20, 30)).astype(bool)
    Image.fromarray(mask).save(tmp_path / "a.tif", compression=compression)
    read = stored(tmp_path / "a.tif")
    assert np.array_equal(read.array > 0, mask)
    assert not read.is_lossy


def test_jpeg_within_is_lossy(tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    Image.fromarray(RAMP.repeat(8, 0).repeat(8, 1)).save(tmp_path / "a.tif", compression="jpeg")
    assert stored(tmp_path / "a.tif").is_lossy


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_format_is_turned_alike(tmp_path: Path, orientation: int) -> None:
    array = np.random.default_rng(0).integers(0, 255, (16, 24), np.uint8)
    exif = Image.Exif()
    exif[TAG] = orientation
    for suffix in ("png", "webp"):
        Image.fromarray(array).convert("RGB").save(tmp_path / f"a.{suffix}", exif=exif, lossless=True)
    tifffile.imwrite(tmp_path / "a.tif", array, extratags=[(TAG, 3, 1, orientation, True)])
    seen = [array, array[:, ::-1], array[::-1, ::-1], array[::-1]]
    seen += [array.T, np.rot90(array, -1), array[::-1, ::-1].T, np.rot90(array)]
    for suffix in ("png", "webp", "tif"):
        assert np.array_equal(read_image(Source((tmp_path / f"a.{suffix}",))), seen[orientation - 1])
        assert bool(stored(tmp_path / f"a.{suffix}").notes) == (orientation > 1)


def test_colours_of_16_bits_in_a_png_are_read_fully(tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    colours = np.random.default_rng(0).integers(0, 2**16, (5, 6, 3)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(colours))
    assert np.array_equal(stored(tmp_path / "a.png").array, colours)


def test_grey_of_16_bits_with_opacity_in_a_png_is_grey(tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    pixels = np.random.default_rng(0).integers(0, 2**16, (5, 6, 2), np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    read = stored(tmp_path / "a.png")
    assert (read.axes, read.array.dtype) == ("YX", np.uint16)
    assert np.array_equal(read.array, pixels[..., 0])
    assert np.array_equal(read.opacity, pixels[..., 1] >> 8)


def test_a_page_that_is_a_mask_of_transparency_is_no_plane(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(RAMP, photometric="minisblack")
        file.write(RAMP > 5, subfiletype=4)
    assert np.array_equal(stored(tmp_path / "a.tif").array, RAMP)


def test_pages_are_turned_by_their_own_tags(tmp_path: Path) -> None:
    upright = [RAMP, RAMP[::-1, ::-1], RAMP[:, ::-1]]
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for orientation in (1, 3, 2):
            tag = [(TAG, 3, 1, orientation, True)] if orientation > 1 else []
            file.write(RAMP, photometric="minisblack", extratags=tag, metadata=None, contiguous=False)
    read = stored(tmp_path / "a.tif")
    assert np.array_equal(read.array, upright)
    assert len(read.notes) == 2


@pytest.mark.parametrize("metadata", [None, {}])
def test_pages_that_are_seen_alike_may_lie_otherwise_in_the_file(
    tmp_path: Path, metadata: dict[str, object] | None
) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page, orientation in ((RAMP, 1), (np.rot90(RAMP), 6), (np.rot90(RAMP, -1), 8)):
            tag = [(TAG, 3, 1, orientation, True)]
            file.write(page, photometric="minisblack", extratags=tag, metadata=metadata, contiguous=False)
    assert np.array_equal(stored(tmp_path / "a.tif").array, [RAMP] * 3)
    assert tiff.sides_px(tmp_path / "a.tif") == (3, *RAMP.shape)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "float64"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_pages_that_were_written_one_by_one_are_a_stack(tmp_path: Path, dtype: str, compression: str | None) -> None:
    pages = [(np.roll(RAMP, step) > 5 if dtype == "bool" else np.roll(RAMP, step)).astype(dtype) for step in range(3)]
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in pages:
            file.write(page, photometric="minisblack", compression=compression, resolution=(20, 40), resolutionunit=3)
    read = stored(tmp_path / "a.tif")
    assert (read.axes, read.array.dtype) == ("ZYX", dtype)
    assert np.array_equal(read.array, pages)
    assert tiff.sides_px(tmp_path / "a.tif") == (3, *RAMP.shape)


@pytest.mark.parametrize("other", [RAMP.astype(np.uint16), RAMP[:2]])
def test_pages_of_two_kinds_are_no_stack(tmp_path: Path, other: np.ndarray) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in (RAMP, other):
            file.write(page, photometric="minisblack")
    with pytest.raises(ValueError, match=r"no stack: expected frames of one size and type, got \["):
        stored(tmp_path / "a.tif")


@pytest.mark.parametrize("orientation", [3, 5, 6, 8])
def test_four_inks_on_their_side_are_turned(tmp_path: Path, orientation: int) -> None:
    inks = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 24, 3), np.uint8)).convert("CMYK")
    inks.save(tmp_path / "a.tif", tiffinfo={TAG: orientation})
    inks.getexif()[TAG] = orientation
    seen = np.asarray(ImageOps.exif_transpose(inks).convert("RGB"))
    assert np.array_equal(stored(tmp_path / "a.tif").array, seen)


WITHOUT_CODECS = """
import sys
sys.modules["imagecodecs"] = None
from pathlib import Path
import numpy as np
from megamed import formats
from megamed.readers.source import Source
for name in sys.argv[1:]:
    try:
        found = formats.read(Source((Path(name),)))
        print("read", found.array.tolist() == np.load("array.npy").tolist(), *found.notes)
    except ImportError as error:
        print(error)
"""


def test_a_codec_that_is_missing_is_named_with_its_extra(tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    array = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    np.save(tmp_path / "array.npy", array)
    for codec in ("lzw", "zstd", "jpeg2000"):
        tifffile.imwrite(tmp_path / f"{codec}.tif", array, compression=codec)
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(np.full((4, 4, 3), 300, np.uint16)))
    names = ["lzw.tif", "zstd.tif", "jpeg2000.tif", "deep.png"]  # Pillow reads the first two without it
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_CODECS, *names], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    lzw, zstd, jpeg, deep = done.stdout.splitlines()
    assert (lzw, zstd) == ("read True", "read True")
    assert re.fullmatch(r'Reading JPEG2000 in TIFF needs imagecodecs: .*pip install "incontext-seg\[medical\]"', jpeg)
    assert deep.endswith('upper 8 of 16 bits were read. For all, run: pip install "incontext-seg[medical]"')
