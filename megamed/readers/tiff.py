"""Read TIFF files through tifffile, their values as they are stored, and write masks as pages."""

import io
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

from megamed.extras import missing_extra
from megamed.readers import channels, picture, pyramid, tiff_calibration, tiff_channels, tiff_region
from megamed.readers.faults import one_error
from megamed.readers.memory import check_size
from megamed.readers.orientation_tag import ON_SIDE, TAG, UPRIGHT, turn_note, turned_upright
from megamed.readers.pyramid import Sides
from megamed.readers.source import Source
from megamed.readers.stored import Geometry, MaskImage, StoredImage
from megamed.readers.tiff_calibration import PixelSize

LOSSY = frozenset({6, 7, 34892, 33003, 33005})
"""Compression tags of JPEG, and of JPEG 2000 as slide scanners use it."""
PLAIN = frozenset({0, 1, 2, 3})
"""Photometric tags: white is zero, black is zero, RGB and palette."""
YCBCR, JPEG, PALETTE, RGB = 6, 7, 3, 2
SCANNED = "Baseline"
"""The name that tifffile gives to the series of a scanned slide, beside overviews and the picture of its label."""
MOST_NAMED = 3
"""Number of kinds of pages that a message names."""
OPACITIES = (1, 2)
"""Kinds of extra samples: opacity by which colours are multiplied already, and opacity alone."""


def read(source: Source, most_pixels: int) -> StoredImage:
    """Read a page as a picture, several as planes, at full resolution or at the level or region that is asked for.

    Where white is zero, values stay as they are stored: they say the same, and a label's must not change. Of a file
    with channels that are no colours, the one is read whose index or name `part` gives.

    Raises:
        ValueError: If the file cannot be decoded, is larger than `most_pixels`, has pages of several sizes, no such
            level, or channels of which none is chosen.
        ImportError: If its codec is not installed; the message has the command.
    """
    (path,) = source.files
    try:
        import tifffile  # noqa: F401 - without it, Pillow reads what it can
    except ImportError:
        return _through_pillow(source, most_pixels)
    with _opened(path) as (file, series):
        page, known = series.keyframe, [_seen(each) for each in _levels(file, series)]
        sides = pyramid.chosen(source.level, known)
        _, _, rows, columns = pyramid.within(source.region, sides)
        samples = max(page.samplesperpixel, 1)
        values = sum(math.prod(each.shape) for each in _whole(file))
        planes = values // max(page.imagelength * page.imagewidth * samples, 1)
        try:
            check_size((planes, rows, columns), samples, most_pixels)
        except ValueError as error:
            raise pyramid.too_large(error, source.level, known) from error
        # tifffile turns YCbCr to RGB within JPEG only; Pillow knows this and the other spaces of colour
        is_plain = page.photometric in PLAIN or (page.photometric, page.compression) == (YCBCR, JPEG)
        turns = _turns(file)
        is_tried = is_plain and len(turns) == 1
        stored = _decoded(file, series, source) if is_tried else None
        pixel = tiff_calibration.pixel_size(file, series)
    if stored is None:
        with _codec_named(page.compression) if is_tried else nullcontext():
            if source.level or source.region:
                msg = f"{path.name} cannot be read: expected colours and a codec of which tifffile decodes level "
                msg += f"{source.level}, got others. Save the level as a file of its own."
                raise ValueError(msg)
            stored = _through_pillow(source, most_pixels)
        notes = (*stored.notes, *(note for turn in turns for note in turn_note(turn)))
        stored = replace(stored, orientation=turns[-1], notes=notes)
    spacing = None if pixel is None else _spacing(stored, pixel.reduced(known[0][0] / sides[0], known[0][1] / sides[1]))
    return replace(stored, geometry=Geometry(spacing=spacing, full_size=known[0] if source.level else None))


def sides_px(path: Path) -> tuple[int, ...]:
    """Return planes, if there are several, rows and columns of what `read` reads, from the headers of the pages.

    Raises:
        ValueError: If the file is damaged, or has pages of several sizes.
        ImportError: If tifffile is not installed.
    """
    with _opened(path) as (file, series):
        planes = [side for axis, side in zip(series.axes, series.shape, strict=True) if axis not in "YXSC" and side > 1]
        whole = _whole(file)
        return (*(planes if len(whole) == 1 else [sum(len(each.pages) for each in whole)]), *_seen(series))


def sizes(path: Path) -> list[Sides]:
    """Return the sizes of the levels of the resolution, the full one first.

    Raises:
        ValueError: If the file is damaged, or has pages of several sizes.
        ImportError: If tifffile is not installed.
    """
    with _opened(path) as (file, series):
        return [_seen(each) for each in _levels(file, series)]


def channels_in(path: Path) -> tuple[str, ...]:
    """Return the names of the channels that have planes of their own, or their indices; nothing if there is one.

    Raises:
        ValueError: If the file is damaged, or has pages of several sizes.
        ImportError: If tifffile is not installed.
    """
    with _opened(path) as (file, series):
        count = dict(zip(series.axes, series.shape, strict=True)).get("C", 1)
        names = tiff_channels.names_in(file, series, count)
        return tuple(name or str(index) for index, name in enumerate(names or [""] * count)) if count > 1 else ()


def write(mask: MaskImage, suffix: str) -> bytes:
    """Return the planes of a mask as pages, with the size of its image's pixels as ImageJ and others read it."""
    first, *others = [Image.fromarray(np.ascontiguousarray(plane)) for plane in mask.array]
    content = io.BytesIO()
    tags = tiff_calibration.tags(mask.geometry.spacing, len(mask.array)) if mask.geometry.spacing else {}
    first.save(content, "TIFF", save_all=True, append_images=others, compression="tiff_deflate", tiffinfo=tags)
    return content.getvalue()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a file, and its planes as one series; whatever cannot be decoded within is told in one way.

    Raises:
        ValueError: If the file is damaged, or has pages of several sizes.
        ImportError: If tifffile is not installed.
    """
    import tifffile

    errors = (*picture.UNREADABLE, AttributeError, RuntimeError, tifffile.TiffFileError)
    with one_error(path, *errors), ExitStack() as stack:
        file = stack.enter_context(tifffile.TiffFile(path))
        if file.is_shaped and len(_whole(file)) > 1:  # pages that tifffile was given one by one
            file = stack.enter_context(tifffile.TiffFile(path, is_shaped=False))
        yield file, _whole_series(file)


def _levels(file: Any, series: Any) -> list[Any]:
    """List an image and its reduced copies, which lie below its page or are pages of their own."""
    copies = [*series.levels[1:], *(each for each in file.series if each.keyframe.is_reduced and each is not series)]
    return [series, *copies]


def _seen(level: Any) -> Sides:
    """Return rows and columns of a level as viewers show it."""
    page = level.keyframe
    stored = page.imagelength, page.imagewidth
    return stored[::-1] if page.tags.valueof(TAG, UPRIGHT) in ON_SIDE else stored


def _turns(file: Any) -> list[int]:
    """List the orientation tags that pages have; where there are several, Pillow turns each page by its own."""
    pages = (getattr(page, "keyframe", page) for each in _whole(file) for page in each.pages if page is not None)
    return sorted({int(page.tags.valueof(TAG, UPRIGHT)) for page in pages})


def _spacing(stored: StoredImage, pixel: PixelSize) -> tuple[float, ...] | None:
    """Return the distances along the axes of space; None for planes whose distance is not known."""
    if not stored.axes.startswith("Z"):
        return pixel.row_mm, pixel.column_mm
    return None if pixel.plane_mm is None else (pixel.plane_mm, pixel.row_mm, pixel.column_mm)


@contextmanager
def _codec_named(compression: Any) -> Iterator[None]:
    """Say how to install the codec of a file that cannot be read without it."""
    try:
        yield
    except ValueError as error:
        if find_spec("imagecodecs") is not None:
            raise
        name = getattr(compression, "name", f"compression {compression}")
        raise ImportError(missing_extra("medical", f"Reading {name} in TIFF", "imagecodecs")) from error


def _through_pillow(source: Source, most_pixels: int) -> StoredImage:
    stored = picture.read(source, most_pixels)
    return replace(stored, axes=stored.axes.replace("T", "Z"))


def _whole(file: Any) -> list[Any]:
    """List the series of pages at full resolution; of a slide what was scanned, without its label.

    Pages that say which pixels of others are transparent are left out.
    """
    shown = [series for series in file.series if not series.keyframe.is_mask] or list(file.series)
    whole = [series for series in shown if not series.keyframe.is_reduced] or [shown[0]]
    return [series for series in whole if series.name == SCANNED] or whole


def _whole_series(file: Any) -> Any:
    """Return the one series of pages at full resolution, or the first of those that differ in their turns alone."""
    whole = _whole(file)
    if len({_seen(series) for series in whole}) > 1 or (len(whole) > 1 and len(_turns(file)) == 1):
        kinds = sorted(f"{series.keyframe.shape} of {series.dtype}" for series in whole)[:MOST_NAMED]
        msg = f"it is no stack: expected frames of one size and type, got {kinds}. Save its frames as separate files"
        raise ValueError(msg)
    return whole[0]


def _decoded(file: Any, series: Any, source: Source) -> StoredImage | None:
    """Decode a level of a series; None if its codec is not installed."""
    level = _levels(file, series)[source.level]
    page = level.keyframe
    try:
        array = tiff_region.read(level, source.region) if source.region else level.asarray()
    except (ValueError, ImportError) as error:
        if isinstance(error, ImportError) or "imagecodecs" in str(error):
            return None
        raise
    array = array.view(np.dtype(array.dtype.str))  # tifffile's own names of 64-bit types are unusual
    array, axes, opacity = _without_opacity(array, level.axes, page)
    orientation = int(page.tags.valueof(TAG, UPRIGHT))
    if opacity is not None:
        hidden, hidden_axes = _sorted(opacity, axes.replace("S", ""))
        opacity = picture.told(turned_upright(hidden, orientation, hidden_axes.index("Y")))
    array, axes = _sorted(array, axes)
    has_part = False
    if axes.endswith("S") and array.shape[-1] == 3:
        axes = axes.replace("S", "C")
    else:
        array = array if axes.endswith(("S", "C")) else array[..., None]
        names = tiff_channels.names_in(file, series, array.shape[-1])
        index = channels.chosen(source.part, array.shape[-1], names)
        array, has_part = array[..., index or 0], index is not None
        axes = axes.rstrip("SC")
    array = turned_upright(array, orientation, axes.index("Y"))
    lossy = int(page.compression) in LOSSY
    palette = _palette(page) if page.photometric == PALETTE and array.dtype == np.uint8 else None
    return StoredImage(
        array,
        axes,
        has_part=has_part,
        palette=palette,
        opacity=opacity,
        is_lossy=lossy,
        orientation=orientation,
        notes=turn_note(orientation),
    )


def _without_opacity(
    array: Shaped[np.ndarray, "..."], axes: str, page: Any
) -> tuple[Shaped[np.ndarray, "..."], str, Shaped[np.ndarray, "..."] | None]:
    """Separate the opacity from the samples of a pixel; what else comes after colours means nothing known."""
    extra, count = page.extrasamples, page.samplesperpixel
    if "S" not in axes or not extra or len(extra) >= count:
        return array, axes, None
    first = count - len(extra)
    is_opacity = [int(kind) in OPACITIES for kind in extra]
    if page.photometric in (RGB, YCBCR):
        is_opacity[0] = True  # many programs leave open what the fourth sample is
        kept = list(range(first))
    else:
        kept = [*range(first), *(first + index for index, found in enumerate(is_opacity) if not found)]
    axis = axes.index("S")
    opacity = array.take(first + is_opacity.index(True), axis=axis) if True in is_opacity else None
    return array.take(kept, axis=axis), axes, opacity


def _sorted(array: Shaped[np.ndarray, "..."], axes: str) -> tuple[Shaped[np.ndarray, "..."], str]:
    """Bring axes into the order of planes, rows, columns and channels, and leave out those of length 1."""
    keep = [index for index, axis in enumerate(axes) if axis in "YX" or array.shape[index] > 1]
    array, axes = array.reshape([array.shape[index] for index in keep]), "".join(axes[index] for index in keep)
    planes = [index for index, axis in enumerate(axes) if axis not in "YXSC"]
    order = [*planes, axes.index("Y"), axes.index("X"), *(index for index, axis in enumerate(axes) if axis in "SC")]
    if len(planes) > 1 or len(order) - len(planes) > 3:
        msg = f"expected one axis of planes, got {axes} of {array.shape}. Save one volume or time point as its own file"
        raise ValueError(msg)
    return array.transpose(order), "Z" * len(planes) + "YX" + "".join(axis for axis in axes if axis in "SC")


def _palette(page: Any) -> UInt8[np.ndarray, "256 3"]:
    colours = np.zeros((256, 3), np.uint8)
    stored = np.asarray(page.colormap).T >> 8
    colours[: len(stored)] = stored
    return colours
