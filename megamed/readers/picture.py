"""Read pictures through Pillow, their size checked before decoding, and write masks as pictures."""

import io
import os
import struct
import threading
import zlib
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Real, Shaped, UInt8
from PIL import Image, ImageSequence
from PIL.ImageFile import ImageFile

from megamed.extras import installing
from megamed.label_colours import MOST_COLOURS, palette_of
from megamed.readers.faults import check_expansion, check_no_stream, one_error
from megamed.readers.memory import check_size
from megamed.readers.orientation_tag import TAG, TURNS, UPRIGHT, turn_note, turned_upright
from megamed.readers.source import Source
from megamed.readers.stored import MaskImage, StoredImage

PHOTOGRAPHS = ("JPEG", "MPO")
"""Pillow's names for JPEG files, of one picture or of several."""
LUMINANCE = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in a grey value: ITU-R 601."""
PNG_TYPE, GREY_PNG = 24, 0
"""Offset in a PNG file of the two bytes for bit depth and colour type, and the colour type of grey pictures."""
PNG_CHANNELS = {2: 3, 4: 2, 6: 4}
"""Values of a pixel by the colour type; one where it is not listed."""
RIFF_BYTES, CHUNK_HEADER_BYTES, FRAME_HEADER_BYTES = 12, 8, 16
"""Lengths, in a WebP file, of what comes before chunks, of the name and size of one, and of what a frame says."""
OPAQUE = 255
OPENING = threading.Lock()
"""Held while a picture is opened without Pillow's limit, which is one for the whole process."""
PLAIN_MODES = ("1", "L", "F", "RGB")
TRANSPARENT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
"""Modes whose opacity Pillow can tell, by a channel, a palette or one colour that is transparent."""
UNREADABLE = (
    *(OSError, SyntaxError, EOFError, ValueError, KeyError, IndexError, TypeError, struct.error, zlib.error),
    Image.DecompressionBombError,  # of what is packed within a picture, such as the frames of a GIF
)
PngType = tuple[int, int]
"""Bits of a value, and colour type, of a PNG."""


def read(source: Source, most_pixels: int) -> StoredImage:
    """Read the picture or the frames of a file.

    Raises:
        ValueError: If the file cannot be decoded, is larger than `most_pixels` or has frames of several sizes.
    """
    (path,) = source.files
    with one_error(path, *UNREADABLE):
        picture = opened(path)
    with picture:
        return content(path, picture, most_pixels)


def content(path: Path, picture: ImageFile, most_pixels: int) -> StoredImage:
    """Read the picture or the frames of a file that is open.

    Args:
        path: The file.
        picture: What `opened` returned for it.
        most_pixels: The size above which nothing is decoded.

    Raises:
        ValueError: If it cannot be decoded, is larger than `most_pixels` or has frames of several sizes.
    """
    is_photograph = picture.format in PHOTOGRAPHS
    with one_error(path, *UNREADABLE):
        # the further frames of a telephone's photograph are previews of the first
        count = 1 if is_photograph else getattr(picture, "n_frames", 1)
        png = _png_type(picture) if picture.format == "PNG" else None
        if png:
            check_expansion(path, picture.width * picture.height * _bits_of_pixel(png) // 8)
        check_size((count, picture.height, picture.width), len(picture.getbands()), most_pixels)
        largest = _largest_grey(picture, png)
        is_lossy = is_photograph or (picture.format == "WEBP" and _is_lossy_webp(picture))
        deep = encoded(picture) if png and count == 1 and _is_deep(png) else b""
        frames = [upright(frame) for frame in islice(ImageSequence.Iterator(picture), count)]
        frames = frames if largest is None else [_as_stored(frame, largest) for frame in frames]
        if deep:
            frames = [_with_all_bits(frames[0], deep)]
    if len(sizes := {frame.shape for frame in frames}) > 1:
        msg = (
            f"{path.name} is no stack: expected frames of one size, got {sorted(sizes)}. "
            "Save its frames as separate files."
        )
        raise ValueError(msg)
    return replace(frames[0] if count == 1 else _joined(frames), is_lossy=is_lossy)


def encoded(picture: ImageFile, start: int = 0, count: int = -1) -> bytes:
    """Return bytes of the file of a picture of which nothing is decoded yet; by a negative start those at its end."""
    file = picture.fp
    assert file
    place = file.tell()
    file.seek(0, os.SEEK_END)
    file.seek(start if start >= 0 else max(file.tell() + start, 0))
    found = file.read(count)
    file.seek(place)
    return found


def _largest_grey(picture: Image.Image, png: PngType | None) -> int | None:
    """Return the largest grey value that a PNG of few bits or a PGM may hold; None if Pillow stretches no values."""
    if png:
        bits, colour_type = png
        return 2**bits - 1 if colour_type == GREY_PNG and 1 < bits < 8 else None
    tiles = getattr(picture, "tile", ()) if picture.format == "PPM" and picture.mode in ("L", "I") else ()
    return next((tile.args[1] for tile in tiles if isinstance(tile.args, tuple)), None)


def _as_stored(frame: StoredImage, largest: int) -> StoredImage:
    """Undo that Pillow stretches grey values, for display, to 8 or 16 bits: those of labels are classes."""
    full = np.iinfo(np.uint8 if frame.array.dtype == np.uint8 else np.uint16).max
    return replace(frame, array=np.rint(frame.array * (largest / full)).astype(frame.array.dtype))


def _is_lossy_webp(picture: ImageFile) -> bool:
    """Whether a WebP file has a chunk of pixels that were stored with loss."""
    file = io.BytesIO(encoded(picture, RIFF_BYTES))
    while header := file.read(CHUNK_HEADER_BYTES):
        if header.startswith(b"VP8 "):
            return True
        size = int.from_bytes(header[4:], "little")
        if not header.startswith(b"ANMF"):  # which holds the chunks of a frame
            file.seek(size + size % 2, os.SEEK_CUR)
        else:
            file.seek(FRAME_HEADER_BYTES, os.SEEK_CUR)
    return False


def opened(path: Path) -> ImageFile:
    """Open a picture and decode nothing of it yet; `check_size` takes the place of Pillow's limit of pixels.

    Raises:
        OSError: If it is no picture.
        ValueError: If it is no file.
    """
    check_no_stream(path)
    with OPENING:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            picture = Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    if picture.format == "TIFF":
        picture.filename = ""  # by which Pillow maps pixels into memory, in the wrong order if they lie on the side
    return picture


def upright(picture: Image.Image) -> StoredImage:
    """Decode a picture, or the current frame of several, and turn it as its EXIF tag says; Pillow does so for TIFF."""
    stored = decode(picture)
    orientation = picture.getexif().get(TAG, UPRIGHT) if picture.format != "TIFF" else UPRIGHT
    if orientation not in TURNS:
        return stored
    array, opacity = turned_upright(stored.array, orientation, 0), stored.opacity
    opacity = opacity if opacity is None else turned_upright(opacity, orientation, 0)
    return replace(stored, array=array, opacity=opacity, orientation=orientation, notes=turn_note(orientation))


def _is_deep(png: PngType) -> bool:
    """Whether a PNG has 16 bits a colour, of which Pillow keeps the upper 8."""
    bits, colour_type = png
    return bits == 16 and colour_type != GREY_PNG


def _with_all_bits(stored: StoredImage, deep: bytes) -> StoredImage:
    """Decode a PNG of 16 bits a colour through imagecodecs, if it is installed."""
    try:
        import imagecodecs
    except ImportError:
        note = f"the upper 8 of 16 bits were read. For all, run: {installing('medical')}"
        return replace(stored, notes=(*stored.notes, note))
    array = imagecodecs.png_decode(deep)
    array = array[..., 0] if array.shape[-1] == 2 else array[..., :3]
    axes = "YX" if array.ndim == 2 else "YXC"
    return replace(stored, array=turned_upright(array, stored.orientation, 0), axes=axes)


def _png_type(picture: ImageFile) -> PngType:
    """Read the type of the pixels of a PNG."""
    bits, colour_type = encoded(picture, PNG_TYPE, 2)
    return bits, colour_type


def _bits_of_pixel(png: PngType) -> int:
    """Return the bits of a pixel of all channels."""
    bits, colour_type = png
    return bits * PNG_CHANNELS.get(colour_type, 1)


def decode(picture: Image.Image) -> StoredImage:
    """Take the pixels of a picture, or of the current frame of several."""
    opacity = _opacity(picture)
    if picture.mode in ("P", "PA"):
        return StoredImage(np.asarray(picture.getchannel(0)), "YX", palette=_palette(picture), opacity=opacity)
    if picture.mode == "LA":
        return StoredImage(np.asarray(picture.getchannel("L")), "YX", opacity=opacity)
    if picture.mode not in PLAIN_MODES and not picture.mode.startswith("I"):
        picture = picture.convert("RGB")
    array = np.asarray(picture)
    return StoredImage(array, "YX" if array.ndim == 2 else "YXC", opacity=opacity)


def _opacity(picture: Image.Image) -> Shaped[np.ndarray, "H W"] | None:
    """Return the opacity of each pixel; None if all are equally visible."""
    if not picture.has_transparency_data or picture.mode not in TRANSPARENT_MODES:
        return None
    # Pillow takes the indices of PA for colours
    is_separate = picture.mode in ("LA", "PA", "RGBA")
    opacity = np.asarray(picture.getchannel("A") if is_separate else picture.convert("RGBA").getchannel("A"))
    return told(opacity)


def told(opacity: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."] | None:
    """Return opacity if it tells pixels apart, or hides all."""
    return opacity if opacity.min() < opacity.max() or not opacity.any() else None


def luminance(colours: Real[np.ndarray, "H W 3"]) -> Real[np.ndarray, "H W"]:
    """Turn colours to grey by ITU-R 601, rounded if they are whole numbers; 8 bits as Pillow does."""
    if colours.dtype == np.uint8:
        return np.asarray(Image.fromarray(colours).convert("L"))
    grey = colours @ LUMINANCE
    return grey.astype(np.float32) if colours.dtype.kind == "f" else grey.round().astype(colours.dtype)


def write(mask: MaskImage, suffix: str) -> bytes:
    """Return one plane as PNG or BMP; a PNG of values up to 255 has them as indices into a palette of colours.

    Raises:
        ValueError: If BMP cannot hold the values.
    """
    plane, kind = np.ascontiguousarray(mask.array[0]), suffix.removeprefix(".").upper()
    if plane.max(initial=0) < MOST_COLOURS:
        picture = Image.fromarray(plane.astype(np.uint8))
    elif kind == "PNG":
        picture = Image.fromarray(plane)
    else:
        msg = f"mask does not fit into {kind}: expected label values up to 255, got {plane.max()}. Write PNG or TIFF."
        raise ValueError(msg)
    if kind == "PNG" and picture.mode == "L":
        picture.putpalette(palette_of(mask.colours).tobytes())
    content = io.BytesIO()
    picture.save(content, kind)
    return content.getvalue()


def _palette(picture: Image.Image) -> UInt8[np.ndarray, "256 3"]:
    """Return the colour of every index, by letting Pillow convert a picture of all indices."""
    indices = Image.new("P", (256, 1))
    indices.putdata(range(256))
    assert picture.palette is not None
    indices.putpalette(picture.palette)
    return np.asarray(indices.convert("RGB"))[0]


def _joined(frames: list[StoredImage]) -> StoredImage:
    """Join frames of one size: as indices if they share one palette, else in the colours that they show."""
    first = frames[0].palette
    if not all(
        frame.palette is not None and first is not None and np.array_equal(frame.palette, first) for frame in frames
    ):
        frames = [frame.displayed() for frame in frames]
    if len({frame.axes for frame in frames}) > 1:
        frames = [frame if "C" in frame.axes else _coloured(frame) for frame in frames]
    opacity = None
    if any(frame.opacity is not None for frame in frames):
        opaque = np.full(frames[0].array.shape[:2], OPAQUE, np.uint8)
        opacity = np.stack([opaque if frame.opacity is None else frame.opacity for frame in frames])
    array = np.stack([frame.array for frame in frames])
    return replace(frames[0], array=array, axes="T" + frames[0].axes, opacity=opacity)


def _coloured(frame: StoredImage) -> StoredImage:
    return replace(frame, array=np.stack([frame.array] * 3, axis=-1), axes="YXC")
