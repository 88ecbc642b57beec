"""Pictures to check a segmentation by: label maps drawn over images, and contact sheets of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw

from megamed.label_colours import rgb

UNKNOWN_RGB = (160, 160, 160)
"""Colour of every second pixel, as on a chessboard, where nobody judged."""
TINT = 0.35
"""Weight of a class's colour inside its outline."""

CAPTION_PX = 14


@dataclass(frozen=True)
class Tile:
    """One captioned picture of a contact sheet."""

    caption: str
    picture: Image.Image


def draw(
    image: Float[np.ndarray, "H W"],
    label: UInt8[np.ndarray, "H W"],
    colours: Mapping[int, str],
    size_px: int = 160,
    unknown: Bool[np.ndarray, "H W"] | None = None,
) -> Image.Image:
    """Draw a label map over its image, fitted into a square of `size_px`.

    Args:
        image: Grey values in [0, 1].
        label: Label values.
        colours: Colours of the values; those without one are not drawn, the others are tinted and outlined.
        size_px: Side of the picture.
        unknown: Pixels that nobody judged, which are checked.
    """
    scale = size_px / max(image.shape)
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    grey = Image.fromarray(np.round(image * 255).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    shown = _resized(label, size)
    pixels = np.stack([np.asarray(grey, dtype=np.float32)] * 3, axis=-1)
    if unknown is not None:
        checked = np.indices(shown.shape).sum(axis=0) % 2 == 0
        pixels[checked & (_resized(unknown.astype(np.uint8), size) > 0)] = UNKNOWN_RGB
    for value, colour in colours.items():
        inside = shown == value
        weight = np.where(_outline(inside), 1.0, TINT * inside)[..., None]
        pixels += weight * (np.array(rgb(colour)) - pixels)
    canvas = Image.new("RGB", (size_px, size_px))
    picture = Image.fromarray(pixels.round().astype(np.uint8))
    canvas.paste(picture, ((size_px - size[0]) // 2, (size_px - size[1]) // 2))
    return canvas


def contact_sheet(rows: Sequence[Sequence[Tile]], margin_px: int = 4) -> Image.Image:
    """Arrange rows of tiles of one size, each under its caption."""
    side = rows[0][0].picture.width
    step_x, step_y = side + margin_px, side + margin_px + CAPTION_PX
    size = (margin_px + step_x * max(map(len, rows)), margin_px + step_y * len(rows))
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            x, y = margin_px + j * step_x, margin_px + i * step_y
            pen.text((x, y), _fit(pen, tile.caption, side), fill="black")
            sheet.paste(tile.picture, (x, y + CAPTION_PX))
    return sheet


def _resized(label: UInt8[np.ndarray, "H W"], size: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    return np.asarray(Image.fromarray(label).resize(size, Image.Resampling.NEAREST))


def _fit(pen: ImageDraw.ImageDraw, caption: str, width_px: int) -> str:
    """Cut a caption to one line of a width, in the characters of Pillow's own font."""
    caption = " ".join(caption.split()).encode("latin-1", "replace").decode("latin-1")
    while pen.textlength(caption) > width_px:
        caption = caption[:-1]
    return caption


def _outline(inside: np.ndarray) -> np.ndarray:
    """Pixels of a region that touch its outside, or the picture's edge, by a side."""
    padded = np.pad(inside, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~core
