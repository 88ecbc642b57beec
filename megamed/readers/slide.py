"""Read whole slides as the scanners of pathology write them, at a level of their resolution, through tiffslide."""

from pathlib import Path
from typing import Any

from megamed.readers import picture, pyramid
from megamed.readers.faults import needs, one_error
from megamed.readers.memory import check_size
from megamed.readers.pyramid import Sides
from megamed.readers.source import Source
from megamed.readers.stored import Geometry, StoredImage

SUFFIXES = (".svs", ".ndpi", ".scn")
"""Endings of slides that are TIFF files of their makers; one that is called `.tif` is read as a TIFF file."""
UNREADABLE = (*picture.UNREADABLE, AttributeError, RuntimeError, NotImplementedError)
UM_PER_MM = 1000.0


def read(source: Source, most_pixels: int) -> StoredImage:
    """Read a level of a slide, or a region of it, in its colours; its label's picture and the overview are left out.

    Raises:
        ValueError: If it cannot be decoded, has no such level, or one that is larger than `most_pixels`; the message
            then names the levels.
        ImportError: If tiffslide is not installed.
    """
    (path,) = source.files
    tiffslide = _library()
    with one_error(path, *UNREADABLE), tiffslide.TiffSlide(path) as slide:
        known = _sizes(slide)
        sides = pyramid.chosen(source.level, known)
        top, left, rows, columns = pyramid.within(source.region, sides)
        try:
            check_size((1, rows, columns), 3, most_pixels)
        except ValueError as error:
            raise pyramid.too_large(error, source.level, known) from error
        full_rows, full_columns = known[0]
        down, across = full_rows / sides[0], full_columns / sides[1]
        corner = round(left * across), round(top * down)  # at full resolution
        pixels = slide.read_region(corner, source.level, (columns, rows), as_array=True)
        across_um, down_um = (slide.properties.get(f"tiffslide.mpp-{axis}") for axis in "xy")
    spacing = None
    if across_um and down_um:
        spacing = (down_um / UM_PER_MM * down, across_um / UM_PER_MM * across)
    geometry = Geometry(spacing=spacing, full_size=known[0] if source.level else None)
    pixels = pixels[..., :3]
    if pixels.shape[-1] < 3:
        return StoredImage(pixels[..., 0], "YX", geometry, is_lossy=True)
    return StoredImage(pixels, "YXC", geometry, is_lossy=True)


def sizes(path: Path) -> list[Sides]:
    """Return the sizes of the levels of a slide.

    Raises:
        ValueError: If it is damaged.
        ImportError: If tiffslide is not installed.
    """
    tiffslide = _library()
    with one_error(path, *UNREADABLE), tiffslide.TiffSlide(path) as slide:
        return _sizes(slide)


def _library() -> Any:
    with needs("tiffslide", "whole slides", extra="slides"):
        import tiffslide
    return tiffslide


def _sizes(slide: Any) -> list[Sides]:
    return [(rows, columns) for columns, rows in slide.level_dimensions]
