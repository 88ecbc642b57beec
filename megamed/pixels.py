"""Pixels that a collection takes from a file: one grey channel, label values or colours, of a picture or volume."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Real, Shaped, UInt8

from megamed import formats, slice_pictures
from megamed.colour_tables import FULL, as_bytes, is_grey, values_of_colours
from megamed.label_values import LabelRules, is_by_colour, without_palette
from megamed.readers import channels, picture
from megamed.readers.dicom_grid import read_grid
from megamed.readers.faults import one_error
from megamed.readers.source import SERIES, Source
from megamed.readers.stored import StoredImage
from megamed.readers.volume import MAX_VOXELS, Volume

MOST_PIXELS = MAX_VOXELS
"""The largest picture that is read."""
LUMINANCE = "luminance"


def read_image(source: Source, notes: list[str] | None = None) -> Real[np.ndarray, "H W"] | Volume:
    """Read a picture as one grey channel, or a volume: colour becomes luminance, 16-bit and float stay as they are.

    Args:
        source: Where it lies; its part may be `red`, `green` or `blue`, or the index or name of a channel, to read this
            channel instead.
        notes: List to which remarks of the reader are added.

    Raises:
        ValueError: If it cannot be decoded, is too large, holds no number or has no such channel.
        ImportError: If the library for its format is not installed.
    """
    stored = _read(source)
    with one_error(source.files[0], ValueError):
        stored = stored.filled()
    if notes is not None:
        notes += (f"{source.name}: {note}" for note in stored.notes)
    return _grey(stored, source)


def read_mask(source: Source) -> Real[np.ndarray, "H W"] | Volume:
    """Read a mask as `read_image` reads a picture, but for NaN, which is left as it is and above no threshold.

    Of one that is drawn on a transparent layer, what is transparent is 0.
    """
    return _grey(_visible(_read(source), source.name), source)


def _grey(stored: StoredImage, source: Source) -> Real[np.ndarray, "H W"] | Volume:
    if _is_volume(stored):
        return _volume(_of_one_grey(stored), source)
    array = stored.displayed().array
    if stored.axes and not stored.has_part and source.part not in ("", LUMINANCE, SERIES):
        index = channels.index_of(source.part, array.shape[2]) if array.ndim == 3 else None
        if index is None:
            msg = (
                f"{source.name} cannot be read: expected one of {channels.COLOURS} of a colour picture, "
                f"got {source.part!r} of shape {array.shape}."
            )
            raise ValueError(msg)
        return array[..., index]
    if array.ndim == 3:
        return picture.luminance(array)
    return array * np.uint8(255) if array.dtype == bool and stored.axes else _whole(array)


def _of_one_grey(volume: StoredImage) -> StoredImage:
    """Return a volume whose colours, if it has some, became luminance."""
    if not volume.axes.endswith("C"):
        return volume
    *sides, columns, channels = volume.array.shape
    grey = picture.luminance(volume.array.reshape(-1, columns, channels)[..., :3])
    return replace(volume, array=grey.reshape(*sides, columns), axes=volume.axes.removesuffix("C"))


def read_label(source: Source) -> Real[np.ndarray, "H W"] | Volume:
    """Read a label map, or a volume of labels; the values of a palette image are its indices.

    On a transparent layer, what is transparent is 0; what is drawn in black or in one colour is 255.

    Raises:
        ValueError: If it cannot be decoded, is too large or has colours.
        ImportError: If the library for its format is not installed.
    """
    stored = _visible(_read(source), source.name)
    if stored.palette is not None and is_by_colour(stored.array, stored.palette):
        stored = stored.displayed()
    if stored.axes.endswith("C") and is_grey(stored.array):
        stored = replace(stored, array=stored.array[..., 0], axes=stored.axes.removesuffix("C"))
    if _is_volume(stored) and not stored.axes.endswith("C"):
        return _volume(stored, source)
    if stored.axes and (stored.array.ndim != 2 or stored.array.dtype.kind == "f"):
        got = f"{stored.array.dtype} of shape {stored.array.shape}"
        msg = f"{source.name} is not a label map: expected one integer channel, got {got}."
        raise ValueError(msg)
    return _whole(stored.array)


def read_colours(source: Source) -> UInt8[np.ndarray, "*grid 3"]:
    """Read a label drawn in colours, in its file's order; grey is three equal colours, and what is transparent black.

    Raises:
        ValueError: If it cannot be decoded or is too large.
    """
    return _colours_of(_read(source).displayed())


def read_coloured_label(source: Source, table: Mapping[str, int]) -> UInt8[np.ndarray, "H W"] | Volume:
    """Read a label drawn in colours as the values that a table gives these.

    Raises:
        ValueError: If it cannot be decoded or is too large, or has a colour that is not in the table.
    """
    stored = _read(source).displayed()
    values = values_of_colours(_colours_of(stored), table, source.name).astype(np.uint8)
    label = replace(stored, array=values, axes=stored.axes.removesuffix("C"))
    return _volume(label, source) if _is_volume(stored) else values


def _colours_of(stored: StoredImage) -> UInt8[np.ndarray, "*grid 3"]:
    array, is_coloured = stored.array, stored.axes.endswith("C") or (not stored.axes and stored.array.ndim == 3)
    colours = as_bytes(array[..., :3] if is_coloured else np.stack([array] * 3, axis=-1))
    return colours if stored.opacity is None else np.where(stored.opacity[..., None] > 0, colours, np.uint8(0))


def is_volume_file(source: Source) -> bool:
    """Whether a source is a volume with a place in the patient, as far as its name tells."""
    found = formats.format_of(source.files[0])
    return source.part == SERIES or (found is not None and bool(found.holds & {"placed", "series"}))


def _read(source: Source) -> StoredImage:
    """Read the first frame of a picture, all of a volume, or an array that is a picture."""
    stored = _of_slices(source) or formats.read(
        replace(source, part="") if source.part == LUMINANCE else source, MOST_PIXELS
    )
    if stored.array.dtype.kind not in "buif":
        msg = f"{source.name} cannot be read: expected real numbers, got {stored.array.dtype}."
        raise ValueError(msg)
    if not stored.axes:
        return _picture(stored, source)
    if stored.geometry.files and not {"T", "C"}.isdisjoint(stored.axes):
        msg = f"{source.name} cannot be read: expected one grey frame, got colours or several frames."
        raise ValueError(msg)
    if stored.axes.startswith("TYX"):
        return StoredImage(stored.array[0], stored.axes[1:], palette=stored.palette)
    return stored


def _of_slices(source: Source) -> StoredImage | None:
    """Read a folder of pictures of the slices of a series, whose files follow it, in the order of their places."""
    folder, *slices = source.files
    pictures = slice_pictures.pictures_in(folder) if slices else ()
    if not pictures:
        return None
    label = slice_pictures.read(pictures, MOST_PIXELS)
    return replace(label, array=slice_pictures.on_slices(label, read_grid(slices).geometry.files, source.name))


def _visible(stored: StoredImage, name: str) -> StoredImage:
    """Return a label without what is transparent in it; a layer that shows one colour, or black, is a mask."""
    if stored.opacity is None or _is_volume(stored):
        return stored
    if stored.palette is not None:
        indices, _ = without_palette(stored.array, stored.palette, name, LabelRules(), stored.opacity)
        return replace(stored, array=indices, opacity=None)
    drawn, array = stored.opacity > stored.opacity.max() / 2, stored.array
    shown = array[drawn]
    if (shown == shown[:1]).all() and (array.ndim == 3 or not shown.any()):
        return replace(stored, array=drawn.astype(np.uint8) * np.uint8(FULL), axes="YX", opacity=None)
    hidden = ~drawn if array.ndim == 2 else ~drawn[..., None]
    return replace(stored, array=np.where(hidden, array.dtype.type(0), array), opacity=None)


def _picture(stored: StoredImage, source: Source) -> StoredImage:
    """Return an array that is a picture, grey or with its colours last."""
    array = stored.array
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 and (array.shape[2:], array.dtype) != ((3,), np.uint8):
        msg = (
            f"{source.name} is no picture: expected (H, W), or (H, W, 3) of uint8, got {array.shape} of {array.dtype}."
        )
        raise ValueError(msg)
    return StoredImage(array)


def _is_volume(stored: StoredImage) -> bool:
    return stored.geometry.affine is not None or "Z" in stored.axes


def _volume(stored: StoredImage, source: Source) -> Volume:
    with one_error(source.files[0], ValueError):
        return stored.to_ras()


def _whole(array: Shaped[np.ndarray, "..."]) -> Real[np.ndarray, "..."]:
    return array.astype(np.uint8) if array.dtype == bool else array
