"""Propagation through a volume file: labels of a few planes in, the mask of all and a picture of it out."""

import io
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from incontext.folders.mask_targets import check_apart, check_targets
from incontext.folders.overlay import Tile, contact_sheet, draw
from incontext.folders.report import predicted_dice
from incontext.folders.run_log import recipe_of
from incontext.images.examples import spread
from incontext.images.normalisation import Normalisation, apply
from incontext.images.source_image import SourceImage, read_source_image
from incontext.inference.segmentation import Segmentation
from incontext.segmenter import Segmenter
from megamed import formats
from megamed.files import claimed_file, replace_file, sha256_of
from megamed.pairing import ImagePair

MOST_DRAWN, COLUMNS = 30, 6
"""Numbers of slices in the picture, and of those in one of its rows."""


@dataclass(frozen=True)
class VolumeOutcome:
    """Mask of a volume, what is expected of it, and what to do next."""

    picture: Path | None = None
    """Picture of the mask over its slices; None if nothing was done."""
    predicted_dice: Mapping[str, float] = field(default_factory=dict)
    """Predicted Dice by what a class is called, on slices that nobody drew; of none if the weights predict none."""
    next_slice: tuple[int, int] | None = None
    """Axis of the file and index along it of the slice whose label would help most; None if all are labelled."""
    warnings: tuple[str, ...] = ()


def propagate_file(
    segmenter: Segmenter,
    volume: Path,
    out: Path,
    labels: Path | None = None,
    *,
    classes: Mapping[int, str] | None = None,
    axis: str | None = None,
    told: Callable[[int, int], object] | None = None,
) -> VolumeOutcome:
    """Segment a volume by the labels of a few of its planes, by a segmenter's examples, or by both.

    Beside the mask, which `picture_of` names, a picture shows it over the slices. What an earlier call made of the same
    files, weights, options and code stays as it is. What somebody edited since, and any other file, is never replaced.

    Args:
        segmenter: Segmenter, which must have examples if there are no labels.
        volume: Volume file, DICOM series or image stack.
        out: File of the mask; its suffix decides the format.
        labels: Label map of the volume's size, in which some planes are drawn and all others are empty.
        classes: Names of label values.
        axis: Axis from plane to plane by number or by name; by default across the thick slices.
        told: Function that is told how many planes are done, and of how many.

    Raises:
        ValueError: If volume and labels do not fit, a name is not understood, or `out` cannot hold the mask or is
            somebody's own file.
        OSError: If a file cannot be read or written.
    """
    written = [known for each in formats.FORMATS for known in each.writes if out.name.lower().endswith(known)]
    check_apart(segmenter.overlap)
    check_targets([ImagePair(volume, volume.name)], max(written, key=len, default=out.suffix), ())
    across = int(axis) if axis and axis.isdecimal() else axis
    given = ImagePair(volume, volume.name, {"": (labels,)} if labels else {})
    with claimed_file(out, "propagate") as ledger:
        picture = picture_of(out)
        ledger.refuse_foreign([picture])
        recipe = recipe_of(segmenter, [given], {"classes": classes, "axis": axis, "suffix": out.suffix})
        if all(each.is_file() and ledger.knows(each, recipe) for each in (out, picture)):
            told_so = f"{out} was made of the same files and options before: it stays as it is."
            return VolumeOutcome(warnings=(told_so,))
        with warnings.catch_warnings(record=True, action="always") as warned:
            result = segmenter.propagate(volume, labels, classes, across, told=told)
            result.write(0, out)
            content = _drawn(result, volume, segmenter)
        ledger.add(picture, sha256_of(content), recipe)
        replace_file(picture, content)
        ledger.add(out, sha256_of(out), recipe)
    return VolumeOutcome(picture, predicted_dice(result), _next(result), tuple(str(each.message) for each in warned))


def picture_of(out: Path) -> Path:
    """Path of the picture of a mask, which those who read the folder know by its name."""
    return out.with_name(f"{formats.stem(out.name)}_overlay.png")


def _next(result: Segmentation) -> tuple[int, int] | None:
    """Axis of the file and index of the slice whose label would help most."""
    with suppress(ValueError):  # all are labelled
        return result.cases[0].axis, _in_file(result.cases[0], result.next_plane())
    return None


def _in_file(case: SourceImage, index: int) -> int:
    """Index of a plane along its axis of the file's array, which may run the other way."""
    return index if case.view.steps[0] > 0 else case.grid[case.axis] - 1 - index


def _drawn(result: Segmentation, volume: Path, segmenter: Segmenter) -> bytes:
    """Draw the mask over the slices from the first to the last that show something; over some, if these are many."""
    axis = result.cases[0].axis
    case = read_source_image(volume, str(volume), axis, segmenter.channel, segmenter.level)
    mask = case.view.planes(result.masks[0].reshape(case.grid))
    found = np.flatnonzero(mask.any((1, 2))) if mask.any() else np.arange(len(mask))
    shown = [int(found[0]) + step for step in spread(int(found[-1] - found[0]) + 1, MOST_DRAWN)]
    images = apply(replace(case, planes=case.planes[shown]), Normalisation("percentile"))
    tiles = [
        Tile(f"slice {_in_file(case, index)}", draw(image, mask[index], result.colours))
        for index, image in zip(shown, images, strict=True)
    ]
    rows = [tiles[start : start + COLUMNS] for start in range(0, len(tiles), COLUMNS)]
    legend = {name: result.colours[value] for value, name in result.classes.items()}
    title = f"{len(tiles)} of {len(mask)} slices shown, by their index along axis {axis} of the file"
    buffer = io.BytesIO()
    contact_sheet(rows, legend=legend, title=title).save(buffer, "PNG")
    return buffer.getvalue()
