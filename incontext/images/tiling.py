"""Squares on an image, one around all of it or tiles where what is sought is small, and the blending of tiles.

The network works on a square of 128 × 128. An image four times as long loses, letterboxed, what is a few pixels wide.
Tiles keep it, at the price of a pass for each and of the view of the whole: retinal vessels, 1 % of the image wide,
gain much by them, and fluid, 5 % wide and known by what lies around it, loses.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from incontext.images.resampling import to_user_grid
from megamed.squares import Box, evened, letterbox, square_px

OVERLAP = 0.5
"""Share of a tile that the next one sees too, at least."""
SMALL_SHARE = 0.04
"""A structure is small if it is narrower than this share of its image's longer side,"""
LARGE_RATIO = 1.5
"""and its image is worth cutting if that side exceeds the network's so many times."""
TILE_WIDTHS = 8
"""A tile is as wide as so many structures."""
TILES_ACROSS = 4
"""The longer side of an image is at most so many tiles, where the side of a tile is not asked for in pixels."""
MOST_TILES = 2**14
"""Most tiles of an image: 30,000 × 30,000 pixels in tiles of 512, whose logits take a gigabyte for each class."""
UNSEEN = -20.0
"""Logit of pixels that no window shows: surely background."""
BAND_VALUES = 2**22
"""Logits that are on the grid of an image at once; an image is enlarged in bands of so many."""


@dataclass(frozen=True)
class Structure:
    """Width of a labelled structure and longer side of its image, in pixels."""

    width_px: float
    image_px: int


@dataclass(frozen=True)
class Tiling:
    """Whether images are cut into tiles.

    Attributes:
        side_px: Side of a tile in pixels; None if an image is seen as a whole.
        reason: Reason for tiling or not, in words for the user.
    """

    side_px: int | None
    reason: str

    def boxes(self, shape: tuple[int, int], pixel_mm: tuple[float, float] = (1.0, 1.0)) -> list[Box]:
        """The windows through which an image is seen: one around it all, or tiles that cover it, row by row.

        Args:
            shape: Height and width of the image.
            pixel_mm: Height and width of a pixel; a tile is square in millimetres, its finer side `side_px` long.

        Raises:
            ValueError: If the image has more than `MOST_TILES`.
        """
        if self.side_px is None:
            return [letterbox(shape, pixel_mm)]
        height, width = square_px(self.side_px * min(evened(pixel_mm)), pixel_mm)
        if height >= shape[0] and width >= shape[1]:
            return [letterbox(shape, pixel_mm)]
        if (tiles := _steps(shape[0], height) * _steps(shape[1], width)) > MOST_TILES:
            message = (
                f"tiles are too small: expected at most {MOST_TILES} of an image, got {tiles} of {self.side_px} px "
                f"for one of {shape[1]} × {shape[0]} pixels. Choose larger ones (tiling), or smaller images."
            )
            raise ValueError(message)
        rows, columns = _starts(shape[0], height), _starts(shape[1], width)
        return [Box(top, left, height, width) for top in rows for left in columns]


def choose_tiling(structures: Sequence[Structure], asked: str | int, size_px: int) -> Tiling:
    """Decide by the widths of the labelled structures, the median one of which counts.

    Args:
        structures: Sizes of the labelled structures in the support.
        asked: `never`, `always`, the side of a tile in pixels, or `auto`: if the structure is narrower than 4 % of the
            longer side of its image, and that side longer than 1.5 times the network's.
        size_px: Side of the square on which the network works.

    Raises:
        ValueError: If what is asked for has no meaning.
    """
    if isinstance(asked, int) and not isinstance(asked, bool) and asked > 0:
        return Tiling(asked, f"tiles of {asked} px, as asked")
    if asked not in ("auto", "never", "always"):
        message = f"tiling is unusable: expected 'auto', 'never', 'always' or pixels, got {asked!r}. Change it."
        raise ValueError(message)
    if asked == "never":
        return Tiling(None, "the whole image, as asked")
    if not structures:
        return Tiling(None, "the whole image: no label was seen that tells how wide structures are")
    width_px = median(each.width_px for each in structures)
    share = median(each.width_px / each.image_px for each in structures)
    image_px = median(each.image_px for each in structures)
    found = f"structures are {width_px:.0f} px wide, {100 * share:.1f} % of their image's longer side"
    if asked == "auto" and (share >= SMALL_SHARE or image_px <= LARGE_RATIO * size_px):
        return Tiling(None, f"the whole image: {found}")
    side_px = max(size_px, math.ceil(TILE_WIDTHS * width_px), math.ceil(image_px / TILES_ACROSS))
    return Tiling(side_px, f"tiles of {side_px} px: {found}")


def width_px(mask: Bool[np.ndarray, "H W"]) -> float:
    """Width of what a mask shows: four times its area by its outline, the side of a square, twice that of a ribbon.

    Many equal structures are as wide as one of them; a vessel tree is as narrow as its branches.
    """
    padded = np.pad(mask, 1)
    edges = np.count_nonzero(padded[1:] != padded[:-1]) + np.count_nonzero(padded[:, 1:] != padded[:, :-1])
    return 4 * np.count_nonzero(mask) / edges if edges else 0.0


def blend(
    logits: Float[Tensor, "tiles C size size"], boxes: Sequence[Box], shape: tuple[int, int]
) -> Iterator[tuple[slice, Float[Tensor, "C _ {shape[1]}"]]]:
    """Logits on the image's own grid, band by band: rows and their logits.

    Where tiles overlap, their logits are averaged, and count less towards a tile's edge, where it sees least around.
    A window that stands alone may show a part of the image, beyond which is background.
    """
    band = max(1, BAND_VALUES // (logits.shape[1] * shape[1]))
    for start in range(0, shape[0], band):
        rows = slice(start, min(start + band, shape[0]))
        yield rows, _blend_rows(logits, boxes, shape, rows)


def _blend_rows(logits: Tensor, boxes: Sequence[Box], shape: tuple[int, int], rows: slice) -> Tensor:
    if len(boxes) == 1:
        inside, columns = boxes[0].within(shape)
        shown = slice(max(inside.start, rows.start), min(inside.stop, rows.stop))
        if (shown, columns) == (rows, slice(0, shape[1])):
            return to_user_grid(logits[0], boxes[0], rows, columns)
        band = logits.new_full((logits.shape[1], rows.stop - rows.start, shape[1]), UNSEEN)
        if shown.start < shown.stop:
            part = to_user_grid(logits[0], boxes[0], shown, columns)
            band[:, shown.start - rows.start : shown.stop - rows.start, columns] = part
        return band
    window = _window(logits.shape[-1])[None].to(logits)
    total = logits.new_zeros(logits.shape[1] + 1, rows.stop - rows.start, shape[1])
    for tile, box in zip(logits, boxes, strict=True):
        inside, columns = box.within(shape)
        shown = slice(max(inside.start, rows.start), min(inside.stop, rows.stop))
        if shown.start < shown.stop:
            weighted = torch.cat([tile * window, window])
            part = to_user_grid(weighted, box, shown, columns)
            total[:, shown.start - rows.start : shown.stop - rows.start, columns] += part
    return total[:-1] / total[-1:]


@lru_cache(maxsize=4)
def _window(size_px: int) -> Float[Tensor, "size_px size_px"]:
    """A smooth hill, 1 in the middle of a square and nearly 0 at its edge."""
    along = hill(size_px)
    return along[:, None] * along


def hill(size_px: int) -> Float[Tensor, " size_px"]:
    """Weights along either side of a tile, by whose products its pixels count where tiles overlap."""
    return torch.sin(math.pi * (torch.arange(size_px) + 0.5) / size_px).square() + 1e-3


def _starts(extent_px: int, tile_px: int) -> list[int]:
    """Evenly spread beginnings of tiles along an axis; a tile longer than the axis lies around its middle."""
    if extent_px <= tile_px:
        return [-((tile_px - extent_px) // 2)]
    steps = _steps(extent_px, tile_px) - 1
    return [round(i * (extent_px - tile_px) / steps) for i in range(steps + 1)]


def _steps(extent_px: int, tile_px: int) -> int:
    """Number of tiles along an axis."""
    return 1 + max(0, math.ceil((extent_px - tile_px) / (tile_px * (1 - OVERLAP))))
