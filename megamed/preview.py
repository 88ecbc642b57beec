"""Contact sheets: what is in a collection, and whether the labels fit."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from megamed.collection import Collection
from megamed.schema import Task

OUTLINE_RGB = (255, 80, 0)
CAPTION_PX = 12
TILES_PER_TASK = 6


def contact_sheet(collection: Collection, tasks: list[Task], tiles_per_task: int = TILES_PER_TASK) -> Image.Image:
    """Draw a line of outlined samples for each task, spread over its rows.

    Raises:
        ValueError: If there is no task.
    """
    if not tasks:
        msg = "Nothing to preview: expected at least one task, got none. `megamed list` shows what is there."
        raise ValueError(msg)
    size = collection.size_px
    sheet = Image.new("RGB", (tiles_per_task * size, len(tasks) * (size + CAPTION_PX)))
    draw = ImageDraw.Draw(sheet)
    for line, task in enumerate(tasks):
        top = line * (size + CAPTION_PX)
        draw.text((2, top), task.id)
        for column, row in enumerate(_spread(collection, task, tiles_per_task)):
            tile = outlined(collection.image(task, row), collection.label(task, row))
            sheet.paste(Image.fromarray(tile), (column * size, top + CAPTION_PX))
    return sheet


def outlined(image: UInt8[np.ndarray, "H W"], label: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """Paint the outermost pixels of a label onto its image."""
    padded = np.pad(label, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    painted = np.repeat(image[..., None], 3, axis=2)
    painted[(label & ~inside).astype(bool)] = OUTLINE_RGB
    return painted


def save_contact_sheet(collection: Path, out: Path, datasets: list[str] | None = None) -> None:
    """Write the contact sheet of some datasets, or of all, as a picture."""
    with Collection(collection) as opened:
        contact_sheet(opened, opened.tasks(datasets)).save(out)


def _spread(collection: Collection, task: Task, count: int) -> list[int]:
    """Choose rows evenly between the first and the last sample."""
    samples = collection.samples(task)
    places = np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int)
    return [samples[place].row for place in places]
