"""Whole slides of scanners: a level in its colours, with the size of its pixels."""

import sys
from pathlib import Path

import numpy as np
import pytest

from megamed import formats
from megamed.readers.pyramid import Region
from megamed.readers.source import Source
from tests.slide_files import UM, write_slide

pytest.importorskip("tiffslide")

COLOURS = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)


@pytest.mark.parametrize("level", [0, 1])
def test_a_level_has_its_colours_and_its_size(tmp_path: Path, level: int) -> None:
    path, step = write_slide(tmp_path / "A.SVS", COLOURS), 2**level
    read = formats.read(Source((path,), level=level))
    assert read.axes == "YXC"
    assert np.array_equal(read.array, COLOURS[::step, ::step])
    assert read.geometry.spacing == pytest.approx((step * UM / 1000, step * UM / 1000))
    assert read.geometry.full_size == ((96, 128) if level else None)
    assert formats.sizes_in(path) == [(96, 128), (48, 64)]
    region = Region(7, 20, 30, 41)
    part = formats.read(Source((path,), level=level, region=region))
    assert np.array_equal(part.array, read.array[region.parts])
    assert part.geometry.spacing == read.geometry.spacing


def test_other_levels_are_named_in_refusals(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.svs", COLOURS)
    with pytest.raises(ValueError, match=r"a\.svs cannot be read: expected level 0 \(96 × 128\), 1 \(48 × 64\), got 2"):
        formats.read(Source((path,), level=2))
    with pytest.raises(ValueError, match=r"expected at most 5000 pixels.* choose a smaller level: 1 \(48 × 64\)"):
        formats.read(Source((path,)), 5000)


def test_a_damaged_slide_names_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.svs"
    path.write_bytes(b"II*\0 no slide")
    with pytest.raises(ValueError, match=r"a\.svs cannot be read"):
        formats.read(Source((path,)))


def test_the_library_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_slide(tmp_path / "a.svs", COLOURS)
    monkeypatch.setitem(sys.modules, "tiffslide", None)
    with pytest.raises(ImportError, match=r"whole slides needs tiffslide: .*pip install \"incontext-seg\[slides\]\""):
        formats.read(Source((path,)))
