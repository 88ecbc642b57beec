"""Structures drawn on an image → one label map, and masks of their own where they overlap."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt16

from megamed.readers.stored import DrawnLabel

MOST = 255
"""Largest value of a label map."""


@dataclass(frozen=True)
class FlatLabel:
    """Structures on the grid of their image."""

    label: UInt16[np.ndarray, "I J K"]
    """Values of the structures, the later of those that overlap on top."""
    masks: Mapping[int, Bool[np.ndarray, "I J K"]]
    """The whole of every structure by value, if some overlap; else empty."""
    names: Mapping[int, str]
    unknown: Bool[np.ndarray, "I J K"] | None = None
    """Pixels that nobody judged, where no structure is; None if there are none."""


def flatten(
    drawn: DrawnLabel,
    grid: tuple[int, int, int],
    values: Mapping[str, int] | None = None,
    unknown: Sequence[int] = (),
) -> FlatLabel:
    """Draw structures, each with the number that its file gives it.

    Args:
        drawn: What the file holds; segments of one name are one structure.
        grid: Size of the image.
        values: The number of each name, instead of the file's.
        unknown: Numbers of what is no structure, but marks pixels that nobody judged.

    Raises:
        ValueError: If the file holds no structure although it should, or one cannot be drawn.
    """
    if not drawn.segments and not drawn.is_complete:
        msg = "it is empty: expected segments or regions drawn on the series, got none. Draw them."
        raise ValueError(msg)
    known = _own_values(drawn) if values is None else values
    label = np.zeros(grid, np.uint16)
    unjudged = np.zeros(grid, bool) if drawn.unknown is None else drawn.unknown.draw().reshape(grid) > 0
    covered: dict[int, Bool[np.ndarray, "I J K"]] = {}
    for segment in drawn.segments:
        mask = segment.draw().reshape(grid) > 0
        number = known[segment.name]
        if number in unknown:
            unjudged |= mask
            continue
        below = [int(value) for value in np.unique(label[mask]) if value not in (0, number)]
        for value in below:
            covered.setdefault(value, label == value)
        if below or number in covered:
            covered[number] = mask | covered.get(number, label == number)
        label[mask] = number
    shown = [int(value) for value in np.unique(label) if value]
    masks = {value: covered.get(value, label == value) for value in sorted({*shown, *covered})} if covered else {}
    # of several spellings of a name the first counts
    names = dict(reversed([(number, name) for name, number in known.items()]))
    unjudged &= label == 0
    return FlatLabel(label, masks, names, unjudged if unjudged.any() else None)


def _own_values(drawn: DrawnLabel) -> dict[str, int]:
    """Return the number that the file gives to each name first, or its place if a label map cannot hold the numbers."""
    values: dict[str, int] = {}
    for number, name in drawn.names.items():
        values.setdefault(name, number)
    fit = all(value <= MOST for value in values.values())
    return values if fit else {name: place for place, name in enumerate(values, start=1)}
