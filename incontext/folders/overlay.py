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


def contact_sheet(
    rows: Sequence[Sequence[Tile]], margin_px: int = 4, legend: Mapping[str, str] | None = None, title: str = ""
) -> Image.Image:
    """Arrange rows of tiles of one size, each under its caption.

    Args:
        rows: The tiles.
        margin_px: Distance between tiles.
        legend: Colours by the names of classes, for lines above the tiles; None for none.
        title: Words before the legend.
    """
    side = rows[0][0].picture.width
    step_x, step_y = side + margin_px, side + margin_px + CAPTION_PX
    width = margin_px + step_x * max(map(len, rows))
    head = _head({} if legend is None else legend, title, width, margin_px)
    top = 0 if head is None else head.height
    sheet = Image.new("RGB", (width, top + margin_px + step_y * len(rows)), "white")
    if head is not None:
        sheet.paste(head, (0, 0))
    pen = ImageDraw.Draw(sheet)
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            x, y = margin_px + j * step_x, top + margin_px + i * step_y
            pen.text((x, y), _fit(pen, tile.caption, side), fill="black")
            sheet.paste(tile.picture, (x, y + CAPTION_PX))
    return sheet


def _head(legend: Mapping[str, str], title: str, width_px: int, margin_px: int) -> Image.Image | None:
    """Write a title and a legend in lines; None if there is neither."""
    words = [(title, ""), *legend.items()] if title else [*legend.items()]
    line_px = CAPTION_PX + margin_px
    head = Image.new("RGB", (width_px, line_px * len(words) + margin_px), "white")
    pen, x, y = ImageDraw.Draw(head), margin_px, margin_px
    for text, colour in words:
        told = _fit(pen, text, width_px - 2 * margin_px - line_px)
        box_px = line_px if colour else 0
        needed = box_px + round(pen.textlength(told)) + 2 * line_px
        if x > margin_px and x + needed - 2 * line_px > width_px:
            x, y = margin_px, y + line_px
        if colour:
            pen.rectangle((x, y + 1, x + 10, y + 11), fill=colour)
        pen.text((x + box_px, y), told, fill="black")
        x += needed
    return head.crop((0, 0, width_px, y + line_px)) if words else None


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
