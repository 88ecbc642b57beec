"""Pictures of a collection: a contact sheet for each dataset, and one page that shows them all."""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from megamed.collection import Collection
from megamed.files import claimed, replace_file, replacing
from megamed.manifest import Contents
from megamed.schema import Task
from megamed.unknown import foreground, unjudged

OUTLINE_RGB = (255, 80, 0)
UNKNOWN_RGB = (90, 140, 255)
CAPTION_PX = 12
TILES_PER_TASK = 6
JPEG_QUALITY = 85
PAGE_NAME = "index.html"

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; color: #222 }}
h2 {{ margin: 2.5rem 0 0; font-size: 1.1rem }}
p {{ margin: 0 0 .5rem; color: #555 }}
img {{ display: block; width: 100%; background: #000 }}
</style>
<h1>{title}</h1>
{sections}
</html>
"""
SECTION = """<section id="{id}">
<h2>{title}</h2>
<p>{facts}</p>
<a href="{sheet}"><img src="{picture}" alt="Samples of {id}, labels outlined" loading="lazy"></a>
</section>"""


def save_previews(collection: Path, folder: Path, datasets: Iterable[str] | None = None) -> Path:
    """Write `<dataset>.png` for each dataset, or for some, and a page that shows a line of each and links to it.

    The page needs neither network nor scripts, and shows its pictures wherever it is copied to.

    Returns:
        The page.

    Raises:
        ValueError: If there is nothing to show, or a file of these names is somebody's own.
        OSError: If the folder cannot be written to.
    """
    with Collection(collection) as opened:
        names = opened.datasets if datasets is None else tuple(datasets)
        tasks = {name: opened.tasks([name]) for name in names}
        _refuse_nothing(list(tasks))
        pictures = {name: f"{name}.png" for name in names}
        with claimed(folder, "draw", (PAGE_NAME, *pictures.values())):
            for name, picture in pictures.items():
                with replacing(folder / picture) as partial:
                    contact_sheet(opened, tasks[name]).save(partial, "PNG")
            replace_file(folder / PAGE_NAME, index_page(opened, tasks))
    return folder / PAGE_NAME


def contact_sheet(collection: Collection, tasks: Sequence[Task], tiles_per_task: int = TILES_PER_TASK) -> Image.Image:
    """Draw a line of outlined samples for each task, spread over its rows.

    Raises:
        ValueError: If there is no task.
    """
    _refuse_nothing(tasks)
    size = collection.size_px
    sheet = Image.new("RGB", (tiles_per_task * size, len(tasks) * (size + CAPTION_PX)))
    draw = ImageDraw.Draw(sheet)
    for line, task in enumerate(tasks):
        top = line * (size + CAPTION_PX)
        draw.text((2, top), task.id)
        for column, row in enumerate(_sample_rows(collection, task, tiles_per_task)):
            sheet.paste(_tile(collection, task, row), (column * size, top + CAPTION_PX))
    return sheet


def save_sheet(collection: Collection, tasks: Sequence[Task], path: Path) -> None:
    """Write the contact sheet of some tasks as a PNG.

    Raises:
        ValueError: If there is no task.
        OSError: If it cannot be written.
    """
    sheet = contact_sheet(collection, tasks)
    with replacing(path) as partial:
        sheet.save(partial, "PNG")


def strip(collection: Collection, tasks: Sequence[Task], tiles: int = TILES_PER_TASK) -> Image.Image:
    """Draw one line of outlined samples, spread over the tasks."""
    size = collection.size_px
    line = Image.new("RGB", (tiles * size, size))
    for column, task in enumerate(tasks[index] for index in _spread(len(tasks), tiles, repeat=True)):
        rows = _sample_rows(collection, task, tiles)
        line.paste(_tile(collection, task, rows[column % len(rows)]), (column * size, 0))
    return line


def index_page(collection: Collection, tasks: dict[str, list[Task]]) -> str:
    """Write the page of some datasets, given the tasks of each."""
    sections = []
    for name, found in tasks.items():
        contents = collection.entry(name)
        facts = {
            "id": name,
            "title": contents.card.title or name,
            "facts": " · ".join(filter(None, _facts(contents, len(found)))),
            "sheet": f"{name}.png",
            "picture": _data_url(strip(collection, found)),
        }
        sections.append(SECTION.format(**{key: html.escape(text) for key, text in facts.items()}))
    title = f"{len(tasks)} datasets, {sum(map(len, tasks.values()))} tasks"
    return PAGE.format(title=html.escape(title), sections="\n".join(sections))


def outlined(image: UInt8[np.ndarray, "H W"], label: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """Paint the outermost pixels of a label onto its image, and a grid over those that nobody judged."""
    drawn = foreground(label)
    padded = np.pad(drawn, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    painted = np.repeat(image[..., None], 3, axis=2)
    painted[unjudged(label) & (np.indices(label.shape).sum(axis=0) % 2 == 0)] = UNKNOWN_RGB
    painted[drawn & ~inside] = OUTLINE_RGB
    return painted


def _facts(contents: Contents, tasks: int) -> tuple[str, ...]:
    """Facts of a dataset for the page: modality, anatomy, role, numbers of subjects and tasks, licence."""
    card = contents.card
    subjects = sum(contents.subjects.values())
    return card.modality, card.anatomy, card.role, f"{subjects} subjects", f"{tasks} tasks", card.license or ""


def _refuse_nothing(shown: Sequence[object]) -> None:
    if not shown:
        msg = "Nothing to preview: expected at least one task, got none. `megamed list` shows what is there."
        raise ValueError(msg)


def _tile(collection: Collection, task: Task, row: int) -> Image.Image:
    return Image.fromarray(outlined(collection.image(task, row), collection.label(task, row)))


def _sample_rows(collection: Collection, task: Task, count: int) -> list[int]:
    """Choose rows evenly between the first and the last sample."""
    samples = collection.samples(task)
    return [samples[index].row for index in _spread(len(samples), count)]


def _spread(length: int, count: int, repeat: bool = False) -> list[int]:
    """Choose indices evenly between the first and the last; more than there are only where they may repeat."""
    wanted = count if repeat else min(count, length)
    return [round(index) for index in np.linspace(0, length - 1, wanted).tolist()]


def _data_url(picture: Image.Image) -> str:
    """Write a picture as text that a page can hold."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
