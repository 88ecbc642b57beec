"""Masks to be taken away: label maps, files of annotation tools, or a saved task, in one archive."""

import csv
import io
import tempfile
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from incontext.folders.mask_targets import possible_kinds
from incontext.images.case_planes import on_grid
from incontext.images.source_image import mask_suffix, write_mask
from incontext.page.export_page import ShownMask, export_page
from incontext.page.live import Live
from incontext.page.mask_to_export import LackingMask, MaskToExport, masked, masks_of
from incontext.page.store import AnnotatedFolder
from megamed import formats
from megamed.annotation_tools import writers
from megamed.annotation_tools.model import ImageKind, SegmentedImage, distinct_names, file_names
from megamed.cells import safe_line
from megamed.failures import Attempt
from megamed.label_colours import colours_of
from megamed.vocabulary import WrittenTool

TABLE, PAGE = "images.csv", "report.html"
NO_MASK = "there is no mask yet: expected an image that is drawn or predicted, got none. Draw one."


class Archive(NamedTuple):
    """An archive of masks, and the images that it lacks."""

    content: bytes
    left_out: Sequence[LackingMask]


class ExportForm(NamedTuple):
    """A form in which masks are taken away, and the reason if that cannot be now."""

    form: str
    title: str
    reason: str


def archive(annotated: AnnotatedFolder, live: Live, tool: WrittenTool | None) -> Archive:
    """Write masks in their images' formats, or in the files of a tool, a table and a page of them, into a ZIP archive.

    Images that are gone or cannot be read any more are left out; the table and the page say so.

    Raises:
        ValueError: If there is no mask yet, or the tool cannot hold them.
        ImportError: If the library for the tool's files is not installed; the message has the command.
    """
    names = annotated.classes.names
    colours = colours_of(names, {value: each.colour for value, each in annotated.classes.items()})
    rows, shown, left_out = list[list[object]](), list[ShownMask](), list[LackingMask]()
    with tempfile.TemporaryDirectory() as place:
        folder, drawn = Path(place), list[SegmentedImage]()
        for mask in masks_of(annotated, live):
            if isinstance(mask, LackingMask):
                left_out.append(mask)
                continue
            rows.append(_row(mask, names))
            shown.append(ShownMask.of(mask, colours))
            if tool:
                drawn.append(_segmented(mask, names, colours))
            else:
                path = folder / "masks" / f"{formats.stem(mask.name)}{mask_suffix(mask.case)}"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_mask(on_grid(mask.planes, mask.case), mask.case, path, names, colours)
        if not rows:
            raise ValueError(left_out[0].reason if left_out else NO_MASK)
        if tool:
            writers.write_files(folder, tool, drawn)
        rows += [[each.name, f"left out: {each.reason}"] for each in left_out]
        _write_table(folder / TABLE, rows, names)
        legend = {names[value]: colours[value] for value in names}
        page = export_page(annotated.folder.resolve().name, shown, legend, left_out)
        (folder / PAGE).write_text(page, encoding="utf-8")
        return Archive(_zipped(folder), left_out)


def export_forms(annotated: AnnotatedFolder, live: Live) -> list[ExportForm]:
    """Find out in which forms the masks can be taken away, and why not in the others, as far as headers tell."""
    images = [image for _, image in masked(annotated, live) if not image.is_missing]
    none = "" if images else "there is no mask yet"
    kinds = {image.name: possible_kinds(image.pair.image) for image in images}
    files = file_names([image.pair.image for image in images])
    return [
        ExportForm("masks", "Masks, as label files", none),
        *(ExportForm(tool, each.title, none or _reason(tool, kinds, files)) for tool, each in writers.WRITERS.items()),
        ExportForm("task", "Examples, as a saved task", "" if live.has_examples else "there is no example yet"),
    ]


def _reason(tool: WrittenTool, kinds: Mapping[str, frozenset[ImageKind]], files: Sequence[str]) -> str:
    """Tell why a tool cannot hold the masks of some images; empty if it can."""
    writer = writers.WRITERS[tool]
    for name, possible in kinds.items():
        if possible.isdisjoint(writer.holds):
            held = " or ".join(writers.KINDS[kind] for kind in writers.KINDS if kind in writer.holds)
            return f"takes {held}, and {name} is {writers.KINDS[min(possible)]}"
    places = Counter(writers.path_in(Path(), tool, name) for name in files)
    if not writer.images_in and (twice := [name for name in files if places[writers.path_in(Path(), tool, name)] > 1]):
        return f"would call the files of {twice[0]} and {twice[1]} the same"
    with Attempt() as attempt:
        writers.check_library(tool)
    return attempt.reason


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


def _row(mask: MaskToExport, names: Mapping[int, str]) -> list[object]:
    """A line of the table: pixels of each class, and where it is known their area in mm² or volume in mm³."""
    pixels, size = [int((mask.planes == value).sum()) for value in names], mask.pixel_size
    measured = [None if size is None else f"{each * size:.6g}" for each in pixels]
    counted = [each for pair in zip(pixels, measured, strict=True) for each in pair]
    return [mask.name, mask.state, mask.dice, "mm²" if mask.case.kind == "image" else "mm³", *counted]


def _write_table(path: Path, rows: list[list[object]], names: Mapping[int, str]) -> None:
    sizes = [f"{name} ({what})" for name in names.values() for what in ("pixels", "size")]
    lines: list[list[object]] = [["image", "state", "predicted_dice", "unit_of_size", *sizes], *rows]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(safe_line(line) for line in lines)


def _zipped(folder: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive_file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive_file.write(path, path.relative_to(folder).as_posix())
    return content.getvalue()
