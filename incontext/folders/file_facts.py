"""Facts of an image or label file that cost little: its header, and its pixels only where they are asked for."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from PIL import UnidentifiedImageError
from PIL.ImageFile import ImageFile

from incontext.images import channels
from incontext.images.channels import Channel
from megamed import formats
from megamed.colour_tables import is_grey
from megamed.failures import Attempt
from megamed.label_values import LabelRules, without_palette
from megamed.readers import picture, remembered, tiff
from megamed.readers.orientation_tag import ON_SIDE, TAG, UPRIGHT
from megamed.readers.pyramid import chosen
from megamed.readers.stored import Geometry, StoredImage
from megamed.readers.volume import MAX_VOXELS

HEADED = ("picture", "TIFF")
"""Formats whose header Pillow reads at little cost."""
TAG_CHUNKS = frozenset({"exif", "Raw profile type exif", "XML:com.adobe.xmp"})
"""Pillow's names for what in a PNG may hold an orientation tag, before its pixels."""
EXIF_CHUNK, END_BYTES = b"eXIf", 4096
"""Name of the chunk of tags in a PNG, and the bytes at its end among which it is looked for."""
COLOURS = (1, 2, 3, 4)
"""Lengths of the last axis of an array of bytes that are taken for channels."""
DRAFT_PX = 512
"""Side above which photographs need not be decoded, as only their grey values count."""


@dataclass(frozen=True, eq=False)
class FileFacts:
    """Facts that a file states.

    Attributes:
        path: The file or the folder of a series.
        format: Format of the file, such as `PNG`.
        size_px: Sides of the picture as it is shown, without channels; empty if only the pixels would tell.
        orientation: The value of the orientation tag.
        bits: Bits of a pixel value, if known.
        pixels: Pixels, if they were asked for and can be decoded.
        has_channels: Whether the last axis of `pixels` holds colours or opacity.
        fault: Reason why the file cannot be read, if it cannot.
        notes: Decisions between several senses of a label's palette.
        colours: Colours of a label's values, if they are indices of a palette.
        geometry: Place of the pixels in the patient, if they were read.
    """

    path: Path
    format: str
    size_px: tuple[int, ...] = ()
    orientation: int = UPRIGHT
    bits: int | None = None
    pixels: Shaped[np.ndarray, "..."] | None = field(default=None, repr=False)
    has_channels: bool = False
    fault: str = ""
    notes: tuple[str, ...] = ()
    colours: Mapping[int, str] = field(default_factory=dict)
    geometry: Geometry = field(default_factory=Geometry, repr=False)


def look_at(
    path: Path,
    pixels: bool = False,
    label: LabelRules | None = None,
    channel: Channel = None,
    level: int = 0,
    draft: bool = False,
) -> FileFacts:
    """Read the header of a file and, if asked for, its pixels: grey values, or the values or colours of a label.

    The file is opened once. Of other files than pictures nothing is read unless pixels are asked for, and of DICOM
    nothing at all.

    Args:
        path: The file or the folder of a series.
        pixels: Whether to read pixels.
        label: Rules of the user on the values of a label, if it is one.
        channel: The channel to look at of an image that has several.
        level: Level of the resolution of an image that has several.
        draft: Whether photographs may be decoded at a fraction of their size.
    """
    kind = format_name(path)
    with Attempt() as reading:
        if level:
            return _at_level(path, kind, pixels, channel, level)
        if is_picture(path) and not (pixels and kind == "TIFF"):
            return _picture(path, pixels, label, channel, draft)
        if kind == "DICOM" or not pixels:
            return FileFacts(path, kind)
        return _stored(path, kind, label, channel)
    is_unknown = isinstance(reading.error, UnidentifiedImageError)
    return FileFacts(path, kind, fault="it is no picture of a known format" if is_unknown else reading.reason)


def is_picture(path: Path) -> bool:
    """Whether a path is that of a picture, whose header tells its size."""
    found = formats.format_of(path)
    return found is not None and found.name in HEADED


def format_name(path: Path) -> str:
    """Name the format of a file by its suffix; a folder that is no image by itself is one of DICOM."""
    found = next(each for each in formats.FORMATS if each.find) if formats.is_series(path) else formats.format_of(path)
    if found is None:
        return "unknown"
    if found.name != "picture":
        return found.name
    suffix = path.suffix.removeprefix(".").upper()
    return {"JPG": "JPEG"}.get(suffix, suffix)


def _picture(path: Path, pixels: bool, label: LabelRules | None, channel: Channel, draft: bool) -> FileFacts:
    """Read the header of a picture and, if asked for, its pixels."""
    try:
        opened = picture.opened(path)
    except UnidentifiedImageError:
        if format_name(path) != "TIFF":
            raise
        return _stored(path, "TIFF", label, channel)  # of a kind that Pillow does not know
    with opened:
        facts = _header(path, opened)
        if not pixels:
            return facts
        if draft and channel is None:
            opened.draft("L", (DRAFT_PX, DRAFT_PX))
            return _with_pixels(facts, picture.decode(opened), label, channel)
        source = channels.asked(formats.source_at(path), channel)
        stored = remembered.once(source, partial(picture.content, path, opened, MAX_VOXELS))
        return _with_pixels(facts, stored, label, channel)


def _header(path: Path, opened: ImageFile) -> FileFacts:
    # a PNG without the chunks would be decoded to look for a tag behind its pixels
    has_tags = opened.format != "PNG" or not TAG_CHUNKS.isdisjoint(opened.info) or _ends_with_tags(opened)
    orientation = int(opened.getexif().get(TAG) or UPRIGHT) if has_tags else UPRIGHT
    size = (opened.height, opened.width)
    if orientation in ON_SIDE and opened.format != "TIFF":  # which Pillow turns by itself
        size = size[::-1]
    frames = 1 if opened.format in picture.PHOTOGRAPHS else getattr(opened, "n_frames", 1)
    sides = ((frames,) if frames > 1 else ()) + size
    if frames > 1 and opened.format == "TIFF":  # some pages may be smaller copies of others
        with suppress(ImportError):
            sides = tiff.sides_px(path)
    return FileFacts(
        path=path,
        format=opened.format or format_name(path),
        size_px=sides,
        orientation=orientation,
        bits=16 if opened.mode.startswith("I;16") else 32 if opened.mode in ("I", "F") else 8,
    )


def _ends_with_tags(opened: ImageFile) -> bool:
    """Whether a PNG has tags behind its pixels, where Pillow finds them only once it has decoded these."""
    return EXIF_CHUNK in picture.encoded(opened, -END_BYTES)


def _at_level(path: Path, kind: str, pixels: bool, channel: Channel, level: int) -> FileFacts:
    """Take the size of a level from the header and, if asked for, read its pixels."""
    sizes = formats.sizes_in(path)
    if pixels or not sizes:
        return _stored(path, kind, None, channel, level)
    return FileFacts(path, kind, chosen(level, sizes), geometry=Geometry(full_size=sizes[0]))


def _stored(path: Path, kind: str, label: LabelRules | None, channel: Channel, level: int = 0) -> FileFacts:
    """Read a file whole, through the table of formats."""
    stored = formats.read(channels.asked(formats.source_at(path), channel, level))
    facts = _with_pixels(FileFacts(path, kind, bits=8 * stored.dtype.itemsize), stored, label, channel)
    sides = stored.shape if stored.axes else stored.array.shape
    return replace(facts, size_px=sides, orientation=stored.orientation, geometry=stored.geometry)


def _with_pixels(facts: FileFacts, stored: StoredImage, label: LabelRules | None, channel: Channel) -> FileFacts:
    """Add grey values of an image; of a label its numbers, or its colours and opacity unless they are all grey."""
    if label is None:
        shown = channels.of_stored(stored.filled(), facts.path.name, channel)
        array, axes = shown.array, shown.axes
        if axes.endswith("C"):
            array = picture.luminance(array) if array.ndim == 3 else array[..., :3] @ picture.LUMINANCE
        return replace(facts, pixels=array)
    if stored.palette is not None:
        array, notes = without_palette(stored.array, stored.palette, facts.path.name, label, stored.opacity)
        colours = {} if notes or label.colours else stored.colours
        has_channels = array.ndim > stored.array.ndim
        return replace(facts, pixels=array, has_channels=has_channels, notes=notes, colours=colours)
    if stored.opacity is not None:
        return replace(facts, pixels=np.dstack([stored.array, stored.opacity]), has_channels=True)
    is_bare = not stored.axes and stored.array.ndim == 3 and stored.array.dtype == np.uint8
    has_channels = stored.axes.endswith("C") or (is_bare and stored.array.shape[-1] in COLOURS)
    if has_channels and not label.colours and is_grey(stored.array):
        return replace(facts, pixels=stored.array[..., 0])
    return replace(facts, pixels=stored.array, has_channels=has_channels)
