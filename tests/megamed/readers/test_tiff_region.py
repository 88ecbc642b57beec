"""Regions of TIFF files: the same pixels as of the whole, and nothing else is decoded."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from megamed import formats
from megamed.readers.orientation_tag import TAG
from megamed.readers.pyramid import Region
from megamed.readers.source import Source
from tests.slide_files import write_pyramid

COLOURS = np.random.default_rng(0).integers(0, 255, (90, 130, 3), np.uint8)
WORDS = COLOURS[..., 0].astype(np.uint16) * 200
REGIONS = [Region(0, 0, 1, 1), Region(5, 40, 60, 35), Region(57, 80, 33, 50)]
LAYOUTS: list[dict[str, Any]] = [
    {"tile": (32, 48), "compression": "zlib"},
    {"rowsperstrip": 16, "compression": "zlib", "predictor": True},
    {"tile": (32, 32), "compression": "jpeg"},
    {},
]


def read(path: Path, part: str = "", **of: Any) -> np.ndarray:
    return formats.read(Source((path,), part, **of)).array


@pytest.mark.parametrize("layout", LAYOUTS, ids=["tiles", "strips", "jpeg", "bare"])
@pytest.mark.parametrize("region", REGIONS)
def test_a_region_is_a_part_of_the_whole(tmp_path: Path, layout: dict[str, Any], region: Region) -> None:
    if layout.get("compression") == "jpeg":
        pytest.importorskip("imagecodecs")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, COLOURS, photometric="rgb", **layout)
    assert np.array_equal(read(path, region=region), read(path)[region.parts])


@pytest.mark.parametrize("level", [0, 1])
def test_a_region_of_a_level_counts_its_pixels(tmp_path: Path, level: int) -> None:
    path, region = write_pyramid(tmp_path / "a.tif", WORDS), Region(3, 20, 40, 31)
    found = formats.read(Source((path,), level=level, region=region))
    assert np.array_equal(found.array, WORDS[:: 2**level, :: 2**level][region.parts])
    assert found.geometry.spacing == formats.read(Source((path,), level=level)).geometry.spacing


def test_a_channel_is_chosen_of_a_region(tmp_path: Path) -> None:
    path, region = tmp_path / "a.ome.tif", REGIONS[1]
    tifffile.imwrite(
        path, np.stack([WORDS, WORDS + 1]), tile=(32, 32), photometric="minisblack", metadata={"axes": "CYX"}
    )
    assert np.array_equal(read(path, "1", region=region), (WORDS + 1)[region.parts])


def test_tiles_that_it_does_not_touch_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, COLOURS, photometric="rgb", tile=(32, 32), compression="zlib")
    with tifffile.TiffFile(path) as file:
        first, length = file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[first : first + length] = bytes(length)
    path.write_bytes(content)
    assert np.array_equal(read(path, region=Region(32, 0, 58, 130)), COLOURS[32:])
    with pytest.raises(ValueError, match=r"a\.tif cannot be read"):
        read(path, region=Region(0, 0, 2, 2))


def test_what_cannot_be_cut_out_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, WORDS, extratags=[(TAG, 3, 1, 6, True)])
    with pytest.raises(ValueError, match="expected planes that lie upright"):
        read(path, region=REGIONS[0])
    with pytest.raises(ValueError, match=r"expected a region within 130 × 90, got \(120, 0, 20, 5\)"):
        read(path, region=Region(120, 0, 20, 5))
    path.with_suffix(".npy").write_bytes(b"")
    with pytest.raises(ValueError, match=r"a\.npy has no level 0: expected a slide or a pyramid"):
        read(path.with_suffix(".npy"), region=REGIONS[0])
