"""Slides and other pyramids on the screen: tile by tile, of the level that is as fine as the screen needs.

Steps of the resolution count from the level that is drawn on: at step 1 pixels are twice as large, at step -1 half as
large. A tile has `TILE_PX` pixels a side and is cut out of the coarsest level of the file that has as many pixels.
"""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from incontext.images.arrays import grey
from incontext.page.display import Scale, ScreenImage, colours_in, told
from incontext.page.look import Look, reduced
from megamed import formats
from megamed.failures import Attempt
from megamed.pairing import ImagePair
from megamed.readers.pyramid import Region, Sides

TILE_PX = 256
MOST_REDUCTION = 8
"""Factor by which a level is made smaller at most; a tile of more is put together of four finer ones."""
ALMOST = 0.99
"""Share of the pixels of a tile that are enough, as levels are seldom halves to the pixel."""


OVERVIEW_PX = 512
"""Least side of the level by which grey values are judged."""


@dataclass(frozen=True, eq=False)
class TiledImage:
    """A picture of several levels for the screen.

    Attributes:
        path: File of the picture.
        look: Channel, and level that is drawn on.
        sizes: Rows and columns of all levels, the full resolution first.
        scale: Meaning of the numbers of tiles.
    """

    path: Path
    look: Look
    sizes: list[Sides] = field(repr=False)
    scale: Scale

    @classmethod
    def of(cls, pair: ImagePair, look: Look) -> "TiledImage | None":
        """Look at a picture of several levels; None if it has but one, or no part of it can be read by itself."""
        with Attempt() as looking:
            sizes = formats.sizes_in(pair.image)
            if len(sizes) < 2:
                return None
            coarse = replace(look, level=reduced(sizes, OVERVIEW_PX))
            case, last = coarse.read(pair), sizes[coarse.level]
            found = cls(pair.image, look, sizes, ScreenImage.of(case, coarse).scale.of_file(case.dtype))
            found._read(coarse.level, Region(0, 0, min(TILE_PX, last[0]), min(TILE_PX, last[1])))
        return None if looking.error or case.kind != "image" else found

    @property
    def grid(self) -> Sides:
        """Rows and columns of the level that is drawn on."""
        return self.sizes[self.look.level]

    @property
    def finest(self) -> int:
        """The step of the full resolution."""
        return -round(math.log2(self.sizes[0][1] / self.grid[1]))

    @property
    def coarsest(self) -> int:
        """The step at which one tile shows all."""
        return max(0, math.ceil(math.log2(max(self.grid) / TILE_PX)))

    def tile(self, step: int, row: int, column: int) -> bytes | None:
        """Numbers of a tile, rows one after the other; what lies outside of the image is 0. None if there is none."""
        rows, columns = (TILE_PX * place * 2.0**step for place in (row, column))
        if not self.finest <= step <= self.coarsest or rows >= self.grid[0] or columns >= self.grid[1]:
            return None
        return told(self.scale.numbers(self._values(step, row, column)))

    def _values(self, step: int, row: int, column: int) -> Shaped[np.ndarray, "H W *C"]:
        """Grey values or colours of a tile."""
        level, place = self._level(step), np.array([row, column])
        factors = np.divide(self.sizes[level], self.grid) * 2.0**step  # pixels of the level by those of the tile
        starts = TILE_PX * factors * place
        ends = np.minimum(starts + TILE_PX * factors, self.sizes[level])
        samples = (3,) if self.scale.has_colours else ()
        into = np.zeros((TILE_PX, TILE_PX, *samples), np.uint8 if samples else np.float32)
        if (starts >= ends).any():
            return into
        if factors.max() > MOST_REDUCTION:
            finer = [[self._values(step - 1, 2 * row + i, 2 * column + j) for j in (0, 1)] for i in (0, 1)]
            return _resized(np.concatenate([np.concatenate(line, 1) for line in finer]), into.shape)
        corner, end = np.floor(starts).astype(int), np.ceil(ends).astype(int)
        values = self._read(level, Region(*corner.tolist(), *(end - corner).tolist()))
        rows, columns = np.maximum(1, np.round((ends - starts) / factors)).astype(int).tolist()
        (top, left), (bottom, right) = (starts - corner).tolist(), (ends - corner).tolist()
        into[:rows, :columns] = _resized(values, (rows, columns), (left, top, right, bottom))
        return into

    def _level(self, step: int) -> int:
        """The coarsest level of which a tile has its pixels."""
        needed = self.grid[1] * 2.0**-step * ALMOST
        return max((level for level, (_, columns) in enumerate(self.sizes) if columns >= needed), default=0)

    def _read(self, level: int, region: Region) -> Shaped[np.ndarray, "H W *C"]:
        stored = replace(self.look, level=level).stored(self.path, region)
        if self.scale.has_colours:
            colours = colours_in(stored)
            assert colours is not None
            return colours
        return grey(stored.array, self.path.name)


def _resized(
    values: Shaped[np.ndarray, "H W *C"], sides: tuple[int, ...], box: tuple[float, float, float, float] | None = None
) -> Shaped[np.ndarray, "h w *C"]:
    """Average the pixels of a box, left and top before right and bottom, to so many rows and columns."""
    picture = Image.fromarray(np.ascontiguousarray(values))
    return np.asarray(picture.resize((sides[1], sides[0]), Image.Resampling.BOX, box))
