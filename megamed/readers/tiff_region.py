"""Regions of TIFF files: only the tiles or strips that a region touches are decoded."""

import itertools
from typing import Any

import numpy as np
from jaxtyping import Shaped

from megamed.readers.orientation_tag import TAG, UPRIGHT
from megamed.readers.pyramid import Region

ONE_AFTER_ANOTHER = 1
"""Planar configuration in which the samples of a pixel lie one after another."""


def read(level: Any, region: Region) -> Shaped[np.ndarray, "..."]:
    """Decode a region of all planes of a level.

    Args:
        level: A series of pages, as tifffile opens it.
        region: The part of its pages, which lies within them.

    Raises:
        ValueError: If its pages are stored turned, or samples apart, or it has more axes than they tell.
    """
    page, pages = level.keyframe, list(level.pages)
    samples = page.samplesperpixel if level.axes.endswith("S") else 1
    planes = level.shape[: level.axes.index("Y")]
    is_upright = page.tags.valueof(TAG, UPRIGHT) == UPRIGHT
    if not is_upright or page.planarconfig != ONE_AFTER_ANOTHER or len(pages) != np.prod(planes, dtype=int):
        msg = f"expected planes that lie upright, one on each page, got {level.axes} on {len(pages)} pages"
        raise ValueError(msg)
    parts = np.stack([_part(each, page, region) for each in pages])
    return parts.reshape(*planes, region.rows, region.columns, *([samples] if samples > 1 else []))


def _part(page: Any, keyframe: Any, region: Region) -> Shaped[np.ndarray, "rows columns samples"]:
    """Decode a region of a page, whose layout its keyframe tells."""
    into = np.full((region.rows, region.columns, keyframe.samplesperpixel), keyframe.nodata, keyframe.dtype)
    height, width = keyframe.chunks[:2]
    down = range(region.top // height, -(-(region.top + region.rows) // height))
    across = range(region.left // width, -(-(region.left + region.columns) // width))
    file, tables = page.parent.filehandle, {"jpegtables": page.jpegtables} if page.jpegtables else {}
    for row, column in itertools.product(down, across):
        index = row * keyframe.chunked[1] + column
        file.seek(page.dataoffsets[index])
        data = file.read(page.databytecounts[index])
        decoded = keyframe.decode(data or None, index, **tables)[0]
        if decoded is not None:
            _put(decoded[0], into, row * height - region.top, column * width - region.left)
    return into


def _put(chunk: Shaped[np.ndarray, "h w s"], into: Shaped[np.ndarray, "rows columns s"], top: int, left: int) -> None:
    """Put what lies within a region of a chunk into it; the chunk begins at a row and a column of the region."""
    part = chunk[max(0, -top) : len(into) - top, max(0, -left) : into.shape[1] - left]
    into[max(0, top) :, max(0, left) :][: part.shape[0], : part.shape[1]] = part
