"""Tiles of slides: the pixels of the image at any step of the resolution, without reading a level as a whole."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from incontext.folders.folder_images import read_folder
from incontext.page import tiles
from incontext.page.look import Look
from incontext.page.tiles import TiledImage
from megamed import formats
from megamed.readers.stored import StoredImage
from tests.killed_runs import drawn, write_stack
from tests.slide_files import write_pyramid, write_slide

SIDE, BLOCK = 32, 16
BLOCKS = np.random.default_rng(0).integers(0, 255, (11, 19, 3), np.uint8)
COLOURS = BLOCKS.repeat(BLOCK, 0).repeat(BLOCK, 1)
"""Squares of one colour, which are the same at every level but that they have fewer pixels."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "TILE_PX", SIDE)
    monkeypatch.setattr(tiles, "OVERVIEW_PX", SIDE)


def tiled(path: Path, level: int = 0, channel: str | None = None) -> TiledImage | None:
    (pair,) = read_folder(path.parent).pairs
    return TiledImage.of(pair, Look(channel, level))


def joined(found: TiledImage, step: int) -> np.ndarray:
    """Put all tiles of a step together."""
    rows, columns = (round(side / 2.0**step) for side in found.grid)
    dtype = np.uint8 if found.scale.bits == 8 else np.dtype("<u2")

    def tile(row: int, column: int) -> np.ndarray:
        content = found.tile(step, row, column)
        assert content is not None
        return np.frombuffer(content, dtype).reshape(SIDE, SIDE, -1)

    lines = [np.hstack([tile(i, j) for j in range(-(-columns // SIDE))]) for i in range(-(-rows // SIDE))]
    whole = np.vstack(lines)
    assert not whole[rows:].any()
    assert not whole[:, columns:].any()
    return whole[:rows, :columns]


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("kind", ["colours", "words", "slide"])
def test_all_steps_show_the_same(tmp_path: Path, kind: str, level: int) -> None:
    expected = COLOURS if kind != "words" else COLOURS[..., :1].astype(np.uint16) * 250
    if kind == "slide":
        pytest.importorskip("tiffslide")
        found = tiled(write_slide(tmp_path / "a.svs", COLOURS), level)
    else:
        found = tiled(write_pyramid(tmp_path / "a.tif", expected.squeeze()), level)
    assert found is not None
    assert (found.finest, found.coarsest) == (-level, 4 - level)
    assert (found.scale.bits, found.scale.has_colours) == ((16, False) if kind == "words" else (8, True))
    for step in range(found.finest, found.coarsest + 1):
        size = 2 ** (step + level)
        assert np.array_equal(
            joined(found, step), expected[size // 2 :: size, size // 2 :: size][: found.sizes[0][0] // size]
        )


def test_there_are_no_tiles_beside_the_image(tmp_path: Path) -> None:
    found = tiled(write_pyramid(tmp_path / "a.tif", COLOURS), 1)
    assert found is not None
    rows, columns = (-(-side // SIDE) for side in found.grid)
    for step, row, column in ((0, rows, 0), (0, 0, columns), (-2, 0, 0), (4, 0, 0)):
        assert found.tile(step, row, column) is None


def test_no_level_is_read_whole_but_the_smallest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, sizes, read = write_pyramid(tmp_path / "a.tif", COLOURS), list[int](), formats.read

    def watched(*arguments: Any) -> StoredImage:
        stored = read(*arguments)
        sizes.append(stored.array.shape[0] * stored.array.shape[1])
        return stored

    monkeypatch.setattr(formats, "read", watched)
    found = tiled(path, 1)
    assert found is not None
    for step in range(found.finest, found.coarsest + 1):
        joined(found, step)
    assert max(sizes) <= max((2 * SIDE) ** 2, found.sizes[-1][0] * found.sizes[-1][1])


def test_a_tile_of_many_pixels_is_put_together_of_finer_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "MOST_REDUCTION", 1)
    found = tiled(write_pyramid(tmp_path / "a.tif", COLOURS, 2))
    assert found is not None
    assert np.array_equal(joined(found, 4), BLOCKS)


def test_what_has_one_resolution_is_not_cut_into_tiles(tmp_path: Path) -> None:
    assert tiled(write_stack(tmp_path / "a.tif", drawn(0, 3)[0])) is None
