"""Tiles cover an image and blend into what they were cut from; whether there are any follows from the labels."""

import numpy as np
import pytest
import torch

from incontext.images import tiling
from incontext.images.resampling import to_square
from incontext.images.tiling import MOST_TILES, Structure, Tiling, blend, choose_tiling, width_px
from megamed.squares import Box, letterbox

SIZE_PX = 16


def blended(logits: torch.Tensor, boxes: list[Box], shape: tuple[int, int]) -> np.ndarray:
    return torch.cat([band for _, band in blend(logits, boxes, shape)], dim=1).numpy()


@pytest.mark.parametrize("shape", [(64, 64), (100, 37), (33, 200), (32, 32), (20, 90)])
@pytest.mark.parametrize("pixel_mm", [(1.0, 1.0), (2.0, 1.0)])
def test_tiles_cover_the_image_and_overlap(shape: tuple[int, int], pixel_mm: tuple[float, float]) -> None:
    boxes = Tiling(32, "").boxes(shape, pixel_mm)
    seen = np.zeros(shape, dtype=int)
    for box in boxes:
        assert box.height * pixel_mm[0] == pytest.approx(box.width * pixel_mm[1], rel=0.05)
        seen[box.within(shape)] += 1
    assert seen.min() >= 1
    if len(boxes) > 1:
        assert seen[shape[0] // 2, shape[1] // 2] >= 2


def test_an_image_that_fits_into_a_tile_is_letterboxed() -> None:
    assert Tiling(64, "").boxes((50, 64)) == [letterbox((50, 64))]
    assert Tiling(None, "").boxes((500, 64)) == [letterbox((500, 64))]


@pytest.mark.parametrize("shape", [(48, 48), (70, 40), (40, 16), (9, 60)])
def test_tiles_of_one_value_blend_into_it(shape: tuple[int, int]) -> None:
    boxes = Tiling(16, "").boxes(shape)
    logits = torch.full((len(boxes), 2, SIZE_PX, SIZE_PX), 3.5)
    np.testing.assert_allclose(blended(logits, boxes, shape), 3.5, atol=1e-4)


def test_tiles_blend_into_the_image_they_were_cut_from() -> None:
    rows, columns = np.mgrid[:60, :84]
    image = (np.sin(rows / 9) + np.cos(columns / 7)).astype(np.float32)
    boxes = Tiling(16, "").boxes(image.shape)
    squares = [torch.tensor(to_square(image, SIZE_PX, box)) for box in boxes]
    np.testing.assert_allclose(blended(torch.stack(squares)[:, None], boxes, image.shape)[0], image, atol=1e-5)


def test_bands_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = Tiling(16, "").boxes((50, 30))
    logits = torch.rand(len(boxes), 3, SIZE_PX, SIZE_PX)
    whole = blended(logits, boxes, (50, 30))
    monkeypatch.setattr("incontext.images.tiling.BAND_VALUES", 3 * 30 * 7)
    assert len(list(blend(logits, boxes, (50, 30)))) == 8
    np.testing.assert_allclose(blended(logits, boxes, (50, 30)), whole, atol=1e-5)


def test_the_middle_of_a_tile_outweighs_the_edge_of_another() -> None:
    boxes = [Box(0, 0, 16, 16), Box(0, 8, 16, 16)]
    logits = torch.stack([torch.zeros(1, SIZE_PX, SIZE_PX), torch.ones(1, SIZE_PX, SIZE_PX)])
    row = blended(logits, boxes, (16, 24))[0, 8]
    assert (row[:8] < 1e-6).all()
    assert (row[16:] > 1 - 1e-6).all()
    assert (np.diff(row[8:16]) > 0).all()
    assert row[8] < 0.05


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(12, 12, 12), (40, 2, 4 * 80 / 84), (1, 1, 1)], ids=["square", "ribbon", "pixel"]
)
def test_width_of_drawings(height: int, width: int, expected: float) -> None:
    mask = np.zeros((50, 50), dtype=bool)
    mask[:height, 5 : 5 + width] = True
    assert width_px(mask) == pytest.approx(expected)
    several = np.tile(np.pad(mask, 2), (2, 2))
    assert width_px(several) == pytest.approx(expected)


def test_nothing_has_no_width() -> None:
    assert width_px(np.zeros((4, 4), dtype=bool)) == 0


SMALL, LARGE = Structure(10.0, 512), Structure(100.0, 512)


@pytest.mark.parametrize(
    ("structures", "asked", "side_px"),
    [
        ([SMALL], "auto", 128),
        ([LARGE], "auto", None),
        ([SMALL, SMALL, LARGE], "auto", 128),
        ([SMALL, LARGE, LARGE], "auto", None),
        ([Structure(5.0, 190)], "auto", None),
        ([Structure(40.0, 4000)], "auto", 1000),
        ([], "auto", None),
        ([SMALL], "never", None),
        ([LARGE], "always", 800),
        ([LARGE], 200, 200),
    ],
)
def test_small_structures_in_large_images_are_tiled(
    structures: list[Structure], asked: str | int, side_px: int | None
) -> None:
    assert choose_tiling(structures, asked, 128).side_px == side_px


@pytest.mark.parametrize("asked", ["sometimes", 0, -3, True])
def test_other_tilings_are_refused(asked: str | int) -> None:
    with pytest.raises(ValueError, match="tiling is unusable: expected 'auto', 'never', 'always' or pixels"):
        choose_tiling([SMALL], asked, 128)


def test_an_image_has_no_endless_number_of_tiles() -> None:
    assert len(Tiling(512, "").boxes((30_000, 30_000))) < MOST_TILES
    for side_px, shape in ((1, (1000, 1000)), (8, (60_000, 60_000)), (8, (4, 10**6))):
        with pytest.raises(ValueError, match=rf"expected at most {MOST_TILES} of an image, got \d+ of {side_px} px"):
            Tiling(side_px, "").boxes(shape)


def test_beyond_a_window_that_stands_alone_is_background() -> None:
    logits, box = torch.full((1, 2, 8, 8), 3.0), Box(2, 4, 8, 8)
    for band_values in (2**22, 2 * 3 * 20):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tiling, "BAND_VALUES", band_values)
            whole = blended(logits, [box], (16, 20))
        assert whole.shape == (2, 16, 20)
        assert (whole[:, 2:10, 4:12] == 3).all()
        assert int((whole == 3).sum()) == 2 * 64
        assert (whole[:, 0] == tiling.UNSEEN).all()
