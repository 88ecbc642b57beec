"""Masks to be taken away: label maps, files of annotation tools, or a saved task, in one archive."""

import csv
import io
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from incontext.images.examples import on_grid
from incontext.images.source_image import SourceImage, mask_suffix, write_mask
from incontext.page.live import Live
from incontext.page.store import AnnotatedFolder
from megamed import formats
from megamed.annotation_tools import writers
from megamed.annotation_tools.model import SegmentedImage, distinct_names, file_names
from megamed.label_colours import colours_of
from megamed.vocabulary import WrittenTool

TABLE = "images.csv"


class MaskToExport(NamedTuple):
    """The mask of an image, and where it comes from: `accepted`, `drawn` or `predicted`."""

    name: str
    file_name: str
    state: str
    dice: float | None
    case: SourceImage
    planes: UInt8[np.ndarray, "N H W"]


def masks_of(annotated: AnnotatedFolder, live: Live) -> Iterator[MaskToExport]:
    """Yield the masks of all images that have one, labels before drawings before predictions."""
    files = file_names([image.pair.image for image in annotated.images])
    for index, (image, file) in enumerate(zip(annotated.images, files, strict=True)):
        found = live.predictions.get(index)
        if image.state == "bare" and found is None:
            continue
        if image.state != "bare":
            with live.lock:
                opened = annotated.open(index)
                yield MaskToExport(image.name, file, image.state, None, opened.case, opened.drawing.planes.copy())
        elif found:
            case = annotated.look.read(image.pair)
            yield MaskToExport(image.name, file, "predicted", found.dice, case, found.planes)


def archive(annotated: AnnotatedFolder, live: Live, tool: WrittenTool | None) -> bytes:
    """Write masks in their images' formats, or in the files of a tool, and a table of them, into a ZIP archive.

    Raises:
        ValueError: If there is no mask yet, or the tool cannot hold them.
        ImportError: If the library for the tool's files is not installed; the message has the command.
    """
    names = {value: each.name for value, each in annotated.classes.items()}
    colours = colours_of(names, {value: each.colour for value, each in annotated.classes.items()})
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as place:
        folder, drawn = Path(place), list[SegmentedImage]()
        for mask in masks_of(annotated, live):
            rows.append([mask.name, mask.state, mask.dice, *(int((mask.planes == value).sum()) for value in names)])
            if tool:
                drawn.append(_segmented(mask, names, colours))
            else:
                path = folder / "masks" / f"{formats.stem(mask.name)}{mask_suffix(mask.case)}"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_mask(on_grid(mask.planes, mask.case), mask.case, path, names, colours)
        if not rows:
            msg = "there is no mask yet: expected an image that is drawn or predicted, got none. Draw one."
            raise ValueError(msg)
        if tool:
            writers.write_files(folder, tool, drawn)
        _write_table(folder / TABLE, rows, names)
        return _zipped(folder)


def task_of(live: Live) -> bytes:
    """Save the examples as a task, for `segment --task` elsewhere.

    Raises:
        ValueError: If there are no examples.
    """
    with tempfile.TemporaryDirectory() as place, live.borrowed() as segmenter:
        return segmenter.save_task(Path(place) / "examples.task").read_bytes()


def _segmented(mask: MaskToExport, names: Mapping[int, str], colours: Mapping[int, str]) -> SegmentedImage:
    """A mask by class, as annotation tools take it."""
    case, distinct = mask.case, distinct_names(dict(names))
    affine = case.geometry.affine if case.kind == "volume" and case.geometry else None
    label = on_grid(mask.planes, case)
    return SegmentedImage(
        mask.file_name,
        label.shape,
        {distinct[value]: label == value for value in names},
        values={name: value for value, name in distinct.items()},
        colours={distinct[value]: colour for value, colour in colours.items()},
        affine=affine,
        source=case.source,
        full_size=case.full_size,
    )


def _write_table(path: Path, rows: list[list[object]], names: Mapping[int, str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["image", "state", "predicted_dice", *(f"{name} (pixels)" for name in names.values())])
        table.writerows(rows)


def _zipped(folder: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive_file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive_file.write(path, path.relative_to(folder).as_posix())
    return content.getvalue()
