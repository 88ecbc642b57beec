"""Propagation through a volume file: labels of a few planes in, the mask of the whole volume out."""

import warnings
from collections.abc import Mapping
from pathlib import Path

from incontext.folders.mask_targets import check_apart, check_targets
from incontext.folders.run_log import recipe_of
from incontext.segmenter import Segmenter
from megamed import formats
from megamed.files import claimed_file, sha256_of
from megamed.pairing import ImagePair


def propagate_file(
    segmenter: Segmenter,
    volume: Path,
    out: Path,
    labels: Path | None = None,
    *,
    classes: Mapping[int, str] | None = None,
    axis: str | None = None,
) -> list[str]:
    """Segment a volume by the labels of a few of its planes, by a segmenter's examples, or by both.

    A mask that an earlier call made of the same files, weights, options and code stays as it is. One that somebody
    edited since, and any other file, is never replaced.

    Args:
        segmenter: Segmenter, which must have examples if there are no labels.
        volume: Volume file, DICOM series or image stack.
        out: File of the mask; its suffix decides the format.
        labels: Label map of the volume's size, in which some planes are drawn and all others are empty.
        classes: Names of label values.
        axis: Axis from plane to plane by number or by name; by default across the thick slices.

    Returns:
        Warnings of what looked wrong, each with its reason and a fix.

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
        recipe = recipe_of(segmenter, [given], {"classes": classes, "axis": axis, "suffix": out.suffix})
        if out.is_file() and ledger.knows(out, recipe):
            return [f"{out} was made of the same files and options before: it stays as it is."]
        with warnings.catch_warnings(record=True, action="always") as warned:
            result = segmenter.propagate(volume, labels, classes, across)
            result.write(0, out)
        ledger.add(out, sha256_of(out), recipe)
    return [str(each.message) for each in warned]
