"""Preview of a run over a folder: rows of labelled images, and of images with their annotations and masks."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from incontext.folders.mask_files import read_masks_of
from incontext.folders.overlay import Tile, contact_sheet, draw
from incontext.folders.report import ImageReport, Summary, with_noun
from incontext.folders.user_folder import read_masks
from incontext.images.examples import Example
from incontext.images.normalisation import apply
from incontext.images.source_image import SourceImage, read_source_image
from incontext.inference.support_pool import Fitted
from incontext.segmenter import Segmenter
from megamed.failures import Attempt, one_line
from megamed.pairing import ImagePair

PREVIEW_COLUMNS = 6
PREVIEW_QUERIES = 30


def draw_preview(
    queries: Sequence[ImagePair], summary: Summary, segmenter: Segmenter, masks: Path
) -> Image.Image | None:
    """Draw a row of the support above rows of queries, whose 2 or 3 tiles stay in one row; None of nothing.

    The masks that are probably the poorest come first, below a legend of the classes.
    """
    fitted = segmenter.fitted
    examples = fitted.sample[:PREVIEW_COLUMNS] if segmenter.has_examples else ()
    support = [_support_tile(example, fitted) for example in examples]
    by_name = {pair.name: pair for pair in queries}
    shown = sorted(summary.images, key=_predicted_dice)[:PREVIEW_QUERIES]
    tiles: list[Tile] = []
    for report in shown:
        with Attempt() as attempt:
            tiles += _tiles(by_name[report.file], report, segmenter, masks)
        if attempt.error:
            summary.failures[f"{report.file} in overlay.png"] = attempt.reason
    rows = [tiles[start : start + PREVIEW_COLUMNS] for start in range(0, len(tiles), PREVIEW_COLUMNS)]
    rows = [support, *rows] if support else rows
    legend = {name: fitted.colours[value] for value, name in fitted.names.items() if value in fitted.colours}
    return contact_sheet(rows, legend=legend, title=_title(len(shown), summary)) if rows else None


def _predicted_dice(report: ImageReport) -> float:
    """Predicted Dice of the poorest class; infinity where none is predicted."""
    return min((report.predicted_dice or {}).values(), default=math.inf)


def _title(count: int, summary: Summary) -> str:
    """Tell how many masks are shown, and in which order."""
    order = ", the probably worst first" if any(report.predicted_dice for report in summary.images) else ""
    return f"{count} of {with_noun(len(summary.images), 'mask')} shown{order}"


def _support_tile(example: Example, fitted: Fitted) -> Tile:
    label = example.label_map
    plane = _fullest(label)
    image = apply(example.case, fitted.preparation.normalisation)[plane]
    name = example.case.source.name if example.case.source else ""
    return Tile(one_line(f"support {name}"), _annotated(example, image, plane, fitted))


def _annotated(example: Example, image: Float[np.ndarray, "H W"], plane: int, fitted: Fitted) -> Image.Image:
    unknown = None if example.unknown is None else example.unknown[plane]
    return draw(image, example.label_map[plane], fitted.colours, unknown=unknown)


def _tiles(pair: ImagePair, report: ImageReport, segmenter: Segmenter, masks: Path) -> list[Tile]:
    """Draw an image's fullest plane, its annotation and its mask; all are read from disk again."""
    fitted = segmenter.fitted
    case = read_source_image(pair.image, report.file, channel=segmenter.channel, level=segmenter.level)
    found = read_masks_of(report, masks, case, fitted.names)
    mask = Example(case, found).label_map
    annotation, _ = read_annotation(pair, case, segmenter) if report.dice is not None else (None, ())
    label = None if annotation is None else annotation.label_map
    plane = _fullest(mask if label is None else label)
    image = apply(case, fitted.preparation.normalisation)[plane]
    plain = Tile(one_line(report.file), draw(image, np.zeros_like(mask[plane]), {}))
    predicted = draw(image, mask[plane], fitted.colours)
    if annotation is None or report.dice is None:
        return [plain, Tile("prediction", predicted)]
    mean = np.mean([*report.dice.values()])
    annotated = Tile("annotation", _annotated(annotation, image, plane, fitted))
    return [plain, annotated, Tile(f"prediction, Dice {mean:.2f}", predicted)]


def _fullest(label: np.ndarray) -> int:
    """Index of the plane of (N, H, W) with the most labelled pixels."""
    return int(np.count_nonzero(label, axis=(1, 2)).argmax())


def read_annotation(pair: ImagePair, case: SourceImage, segmenter: Segmenter) -> tuple[Example | None, tuple[str, ...]]:
    """Read the masks that a query is scored by; None, and the reason, if its label cannot be used."""
    if not pair.labels:
        return None, ()
    fitted = segmenter.fitted
    with Attempt() as attempt:
        return read_masks(pair, case, fitted.names, fitted.rules_for_others(segmenter.rules)), ()
    return None, (f"{pair.name} is segmented, but not scored: {attempt.reason}",)
