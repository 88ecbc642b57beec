"""Formats of labels whose structures have names: those of the table, and label maps of nnU-Net that hold regions.

A region unites several values of a map and may overlap others, as the dataset.json of the folder says. Collections
unite them by their cards; here, where there are none, each region is a structure that was drawn.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8

from incontext.images.arrays import fit_label
from incontext.images.label_place import in_its_order, on_image
from megamed import formats
from megamed.formats import DrawnFormat
from megamed.label_values import distinct, whole_numbers
from megamed.layouts.nnunet import IGNORE
from megamed.readers.stored import Canvas, DrawnLabel, Segment
from megamed.unchanged import while_unchanged
from megamed.vocabulary import DESCRIPTION

LABEL_FOLDERS = frozenset({"labelstr", "labelsts", "labelsval"})
"""Names of nnU-Net's folders of labels, in lower case."""
Regions = Mapping[str, tuple[int, ...]]
"""Label values by the name of the region that they make up."""


def drawn_format(path: Path, canvas: Canvas | None = None) -> DrawnFormat | None:
    """Return the format of a label that was drawn on an image, as `formats.drawn_format` does; regions are one more."""
    return formats.drawn_format(path, canvas) or (REGIONS if recognises(path) else None)


def recognises(path: Path) -> bool:
    """Whether a label map lies in a folder of nnU-Net's labels whose dataset.json tells regions."""
    return any(len(values) > 1 for name, values in _labels_beside(path).items() if name != IGNORE)


def names_in(path: Path) -> dict[int, str]:
    """Return the names of the regions, numbered in the order of the dataset.json."""
    return dict(enumerate(_regions(path), start=1))


def read_drawn(path: Path, canvas: Canvas) -> DrawnLabel:
    """Read the regions that a label map shows; a value of no region is background, and a note says so.

    Raises:
        ValueError: If the map cannot be read, or does not lie on the image.
        ImportError: If the library for its format is not installed.
    """
    grid = canvas.shape if len(canvas.shape) == 3 else (1, *canvas.shape)
    stored = in_its_order(formats.read(formats.source_at(path)), canvas.geometry, grid, path.name)
    array = fit_label(on_image(stored, canvas.geometry, grid, path.name), path.name, canvas.shape)
    label, regions, ignored = whole_numbers(array, path.name), _regions(path), _labels_beside(path).get(IGNORE, ())
    shown = {int(value) for value in distinct(label) if value}
    stray = shown - {value for values in regions.values() for value in values} - {*ignored}
    notes = [f"{path.name} has values of no region, which are read as background: {sorted(stray)}"] if stray else []
    segments = tuple(
        Segment(number, name, functools.partial(_drawn, label, values))
        for number, (name, values) in enumerate(regions.items(), start=1)
        if not shown.isdisjoint(values)
    )
    unknown = Segment(0, "", functools.partial(_drawn, label, ignored)) if not shown.isdisjoint(ignored) else None
    return DrawnLabel(canvas.geometry, segments, names_in(path), notes, is_complete=True, unknown=unknown)


def _drawn(label: Integer[np.ndarray, "*grid"], values: Sequence[int]) -> UInt8[np.ndarray, "*grid"]:
    return np.isin(label, values).view(np.uint8)


def _regions(path: Path) -> Regions:
    """Return the regions of a label map; without the background and pixels that nobody judged."""
    return {name: values for name, values in _labels_beside(path).items() if name != IGNORE and any(values)}


def _labels_beside(path: Path) -> Regions:
    """Return the label values by name of the dataset.json above a folder of labels; nothing if there is none."""
    described = path.absolute().parent.parent / DESCRIPTION
    if path.absolute().parent.name.lower() not in LABEL_FOLDERS or not described.is_file():
        return {}
    return _parsed(described)


@while_unchanged(most=8)
def _parsed(described: Path) -> Regions:
    try:
        labels = json.loads(described.read_bytes())["labels"]
        listed = {str(name): values if isinstance(values, list) else [values] for name, values in labels.items()}
        return {name: tuple(map(int, values)) for name, values in listed.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}  # as of the Decathlon, whose labels are listed by value


REGIONS = DrawnFormat("regions of nnU-Net", recognises, names_in, read_drawn)
