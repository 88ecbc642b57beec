"""Meaning of a label's pixels: numbers, colours or opacity as they are stored → values of classes.

Everything here looks at pixels only. A reading is taken without being asked for only where no other is plausible, and
then it says so in a note; else an error names the readings there are.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from jaxtyping import Bool, Integer, Shaped, UInt8

from megamed.colour_tables import (
    BLACK,
    FULL,
    MAX_COLOURS,
    as_bytes,
    colour_counts,
    is_grey,
    nearest_colours,
    number_of,
    packed_colours,
    strength,
    two_colours,
    values_of_colours,
)
from megamed.trimaps import BAND, foreground_of, is_trimap, may_be_trimap, trimap_note
from megamed.unknown import whole_values

Unknown = int | Sequence[int] | Set[int] | None
"""Values of pixels that nobody judged; None to find out."""

WHOLE_TOLERANCE = 1e-3
"""Largest distance from a whole number of a value that a slope or an interpolation of constants has moved."""
FULL_WORDS = (2**16 - 1, 2**32 - 1)
"""The largest numbers of 16 and 32 bits, which mark what is drawn as `FULL` does."""

TORCH_VOID = -100
"""Value of pixels that PyTorch's losses ignore."""
MOST_BESIDE_VOID = 63
"""Largest value of a class beside which 255 or another such value stands far apart."""

SOFT_LEVELS = 8
"""Fewer values between two extremes may well be classes."""
EXTREME_SHARE = 0.6
"""Least share of the pixels of an antialiased mask that have one of the two extreme values."""
EDGE_SHARE = 0.9
"""Least share of the other pixels that lie at an edge."""
STRAY_SHARE = 0.002
"""Largest share of all pixels of a mask of 0 and 255 to which lossy storage gives values far from both."""
EDGE_PX = 4
"""Distance that an edge which was smoothed reaches to either side."""

MIN_OBJECTS = 10
"""Fewer values may well be classes."""
NUMBERED_SHARE = 0.8
"""Least share of the numbers up to the largest that objects have: they are counted through, though some are lost."""
COMPACT_FILL = 0.3
"""Least share of its box that a compact object covers."""
COMPACT_SHARE = 0.9
"""Least share of the objects that are compact."""
SIZE_RATIO = 50.0
"""Objects of one kind differ by less in size; organs by more."""


@dataclass(frozen=True)
class LabelRules:
    """Rules of the user on the values of labels."""

    unknown: tuple[int, ...] | None = None
    """Values of pixels that nobody judged; None lets `suspected_void` decide."""
    colours: Mapping[str, int] = field(default_factory=dict)
    """Class value of each colour, as `#rrggbb`; black is background unless it is listed."""
    instances: bool | None = None
    """Whether values number objects of one class; None lets `is_instances` decide."""
    trimap: bool | None = None
    """Whether labels are trimaps; None lets `is_trimap` decide. It has no effect where `unknown` is given."""
    divisor: int | None = None
    """Divisor of numbers of objects that count by class: the class is the integer quotient. Nothing else is decided."""

    @property
    def decides(self) -> bool:
        """Whether it is open which values, if any, are of pixels that nobody judged."""
        return self.unknown is None and self.divisor is None

    @classmethod
    def of(cls, unknown: Unknown = None, colours: Mapping[str, int] | None = None, divisor: int | None = None) -> Self:
        """Make rules of what a user passes: one unknown value or several, colours in small or capital letters."""
        values = None if unknown is None else whole_values(unknown)
        return cls(values, {colour.lower(): value for colour, value in (colours or {}).items()}, divisor=divisor)

    def quotients(self, values: Shaped[np.ndarray, "*grid"], name: str) -> Shaped[np.ndarray, "*grid"]:
        """Return the classes of numbers of objects that count by class; other values as they are.

        Raises:
            ValueError: If numbers of objects are no whole numbers.
        """
        return whole_numbers(values, name) // self.divisor if self.divisor else values


@dataclass(frozen=True)
class LabelReading:
    """The values of a label as they are meant."""

    values: Integer[np.ndarray, "*grid"]
    """0 is background, every other value a class."""
    unknown: Bool[np.ndarray, "*grid"] | None = None
    """Pixels that nobody judged; they are 0 in `values`. None if there are none."""
    notes: tuple[str, ...] = ()
    """Decisions between several senses, a sentence each."""
    colour: str = ""
    """The one colour that was taken for a class, as `#rrggbb`, where the user says nothing of colours."""


def read_values(values: Shaped[np.ndarray, "*grid"], name: str, rules: LabelRules | None = None) -> LabelReading:
    """Read a label of one number per pixel.

    Args:
        values: The numbers as stored, with slope and intercept applied.
        name: How errors and notes call it.
        rules: What the user says.

    Raises:
        ValueError: If values are no whole numbers and no mask with soft edges.
    """
    rules = rules or LabelRules()
    notes = []
    values, unknown = split_unknown(values, rules.unknown or ())
    if rules.divisor:
        return LabelReading(rules.quotients(values, name), unknown)
    if is_antialiased(values):
        notes.append(f"{name} has soft edges: it is cut off at half of its largest value, {values.max():g}.")
        values = hardened(values)
    whole = whole_numbers(values, name)
    if is_full_word(whole):
        notes.append(f"{name} is a mask of {whole.max()}: it is read as one class, {FULL}.")
        whole = (whole > 0).astype(np.uint8) * np.uint8(FULL)
    if rules.unknown is None and (rules.trimap or (rules.trimap is None and is_trimap(whole))):
        whole, band = split_unknown(foreground_of(whole), (BAND,))
        unknown = band if unknown is None else unknown | band
        notes.append(trimap_note(name))
    if rules.unknown is None and may_be_trimap(whole):
        notes.append(
            f"{name} has 128 as a thin band alone: it is read as a class. If nobody judged it, say: unknown=128."
        )
    if rules.unknown is None and (void := suspected_void(whole)) is not None:
        whole, voids = split_unknown(whole, (void,))
        unknown = voids if unknown is None else unknown | voids
        notes.append(f"{name} has the value {void} apart from its classes: it is read as pixels that nobody judged.")
    if rules.instances or (rules.instances is None and is_instances([whole])):
        count = np.count_nonzero(distinct(whole))
        notes.append(f"{name} numbers {count} objects: they are read as one class, 1.")
        whole = (whole > 0).astype(np.uint8)
    else:
        check_regions(whole, name)
    return LabelReading(whole, unknown, tuple(notes))


def read_channels(
    channels: Shaped[np.ndarray, "*grid channels"], name: str, rules: LabelRules | None = None
) -> LabelReading:
    """Read a label of one to four numbers per pixel: grey or colour, the last of an even number opacity.

    Raises:
        ValueError: If its colours are no label or need a table.
    """
    rules = rules or LabelRules()
    notes = []
    if channels.shape[-1] in (2, 4):
        opacity, channels = channels[..., -1], channels[..., :-1]
        drawn = opacity > opacity.max(initial=0) / 2
        if not drawn.all():
            is_one = (channels[drawn] == channels[drawn][:1]).all()
            if is_one and not rules.colours:
                note = f"{name} is drawn on a transparent layer: what is opaque is read as one class, {FULL}."
                return LabelReading(drawn.astype(np.uint8) * np.uint8(FULL), None, (note,))
            channels = np.where(drawn[..., None], channels, channels.dtype.type(0))
            notes.append(f"{name} is drawn on a transparent layer: what is transparent is read as background.")
    if not rules.colours and is_grey(channels):
        reading = read_values(channels[..., 0], name, rules)
        return replace(reading, notes=(*notes, *reading.notes))
    reading = _read_colours(as_bytes(np.broadcast_to(channels, (*channels.shape[:-1], 3))), name, rules)
    return replace(reading, notes=(*notes, *reading.notes))


def read_palette(
    indices: UInt8[np.ndarray, "*grid"],
    palette: UInt8[np.ndarray, "entries 3"],
    name: str,
    rules: LabelRules | None = None,
    opacity: Shaped[np.ndarray, "*grid"] | None = None,
) -> LabelReading:
    """Read a label of indices into a palette: its indices are the values, unless the user names colours.

    Of a mask of two colours of which one is black or transparent, this is the background, whichever index it has.
    """
    rules = rules or LabelRules()
    pixels, notes = without_palette(indices, palette, name, rules, opacity)
    if pixels.ndim > indices.ndim:
        return read_channels(pixels, name, rules)
    return LabelReading(pixels, None, notes) if notes else read_values(pixels, name, rules)


def without_palette(
    indices: UInt8[np.ndarray, "*grid"],
    palette: UInt8[np.ndarray, "entries 3"],
    name: str,
    rules: LabelRules,
    opacity: Shaped[np.ndarray, "*grid"] | None = None,
) -> tuple[UInt8[np.ndarray, "..."], tuple[str, ...]]:
    """Return what the indices of a palette stand for, and a note if that was decided here.

    They are colours, with their opacity, if the user names some or black is among others, but not the first; a mask if
    there are two of which one, not 0, is black or transparent, but for drawings in black on white paper; else the
    indices themselves.
    """
    if rules.colours or (opacity is None and is_by_colour(indices, palette)):
        colours = palette[np.minimum(indices, len(palette) - 1)]
        return (colours if opacity is None else np.dstack([colours, opacity])), ()
    used = distinct(indices).tolist()
    unseen, what = [index for index in used if index < len(palette) and not palette[index].any()], "black"
    if opacity is not None:
        hidden = opacity <= opacity.max() / 2
        unseen, what = distinct(indices[hidden]).tolist(), "transparent"
    is_mask = len(used) == 2 and used[0] == 0 and not {*used} & {*(rules.unknown or ())}
    if what == "black" and is_mask and palette[0].min() == FULL and common_corner(indices) == 0:
        is_mask = False  # drawn in black on white paper
    if is_mask and len(unseen) == 1 and unseen != [0]:
        note = (
            f"{name} has a palette in which {unseen[0]} is {what}: it is read as background, the other as one class, 1."
        )
        return (indices != unseen[0]).astype(np.uint8), (note,)
    return indices, ()


def common_corner(label: Shaped[np.ndarray, "*grid"]) -> int | None:
    """Return the value that all corners of a label's planes have; None if they differ."""
    corners = np.unique(label[..., :: max(label.shape[-2] - 1, 1), :: max(label.shape[-1] - 1, 1)]).tolist()
    return int(corners[0]) if len(corners) == 1 else None


def is_by_colour(indices: UInt8[np.ndarray, "*grid"], palette: UInt8[np.ndarray, "entries 3"]) -> bool:
    """Whether an index beside several others is black, which is background, and the index 0 a colour.

    So programs number colours that count them; a label map would have the background at 0.
    """
    used = [index for index in distinct(indices).tolist() if index < len(palette)]
    is_black = [not palette[index].any() for index in used]
    return len(used) > 2 and used[0] == 0 and not is_black[0] and any(is_black)


def whole_numbers(values: Shaped[np.ndarray, "*grid"], name: str) -> Integer[np.ndarray, "*grid"]:
    """Return values as whole numbers, of which a slope may have made near ones or shares of 255.

    Raises:
        ValueError: If they are others.
    """
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.kind in "iu":
        return values
    if not np.isfinite(values).all():
        msg = f"{name} is no label map: expected whole numbers, got NaN or infinity. Replace them by 0."
        raise ValueError(msg)
    for scale in (1.0, float(FULL)):
        nearest = np.rint(values * scale)
        if np.abs(values * scale - nearest).max(initial=0) <= WHOLE_TOLERANCE * scale:
            is_small = np.abs(nearest).max(initial=0) < 2**31
            return nearest.astype(np.int32 if is_small else np.int64)
    fix = "Cut probabilities off: label > 0.5." if values.min() >= 0 and values.max() <= 1 else "Resize it by nearest."
    found = f"values from {values.min():g} to {values.max():g}"
    msg = f"{name} is no label map: expected whole numbers, got {found} of {values.dtype}. {fix}"
    raise ValueError(msg)


def distinct(values: Shaped[np.ndarray, "*grid"]) -> Shaped[np.ndarray, " values"]:
    """Return the values that occur, in order."""
    flat = values.ravel()
    firsts = np.append(flat[:1], flat[1:][flat[1:] != flat[:-1]])  # of runs of a value, of which labels have few
    if values.dtype in (np.uint8, np.uint16):
        return np.flatnonzero(np.bincount(firsts)).astype(values.dtype)
    return np.unique(firsts)


def is_antialiased(values: Shaped[np.ndarray, "*grid"]) -> bool:
    """Whether a label is a mask of one class whose edges were smoothed, by drawing, resizing or lossy storage.

    So it is if most pixels have about one of two extreme values, 0 and another, and the others lie between pixels of
    both.
    """
    if values.ndim < 2 or values.dtype.kind == "b" or not values.size or values.min() < 0 or values.max() <= 0:
        return False
    if (levels := distinct(values).size) < 4:  # two at either end, or many
        return False
    low, high = values <= 0.1 * values.max(), values >= 0.9 * values.max()
    between = ~(low | high)
    if (low | high).mean() < EXTREME_SHARE or not low.any() or not high.any():
        return False
    # a lossy format adds noise to 0 and to 255; classes beside an unknown 255 leave this alone
    is_noisy = values.max() == FULL and all(distinct(values[each]).size > 1 for each in (low, high))
    if is_noisy and between.mean() <= STRAY_SHARE:
        return True
    if levels <= SOFT_LEVELS or not between.any():
        return False
    at_edge = _grown(low) & _grown(high)
    return bool(at_edge[between].mean() >= EDGE_SHARE)


def may_be_label(pixels: Shaped[np.ndarray, "..."]) -> bool:
    """Whether grey values or 8-bit colours, channels last, have few values as labels do, or soft edges as masks do."""
    if pixels.ndim == 3 and pixels.shape[-1] in (3, 4) and pixels.dtype == np.uint8:
        return len(colour_counts(pixels[..., :3])) <= MAX_COLOURS
    return distinct(pixels).size <= MAX_COLOURS or is_antialiased(pixels)


def check_regions(values: Integer[np.ndarray, "*grid"], name: str) -> None:
    """Refuse a label map most of whose values fill no square of 2 × 2 pixels: interpolation makes these at edges.

    Raises:
        ValueError: If they are more than classes are likely to be.
    """
    if values.ndim < 2 or (found := distinct(values)).size <= SOFT_LEVELS:
        return
    corner = values[..., :-1, :-1]
    is_flat = (corner == values[..., 1:, :-1]) & (corner == values[..., :-1, 1:]) & (corner == values[..., 1:, 1:])
    flat = distinct(corner[is_flat])
    strewn = np.setdiff1d(found, flat)
    is_most = flat.size > 1 and strewn.size > found.size / 2
    if is_most and flat[0] < strewn[0] and strewn[-1] < flat[-1]:
        msg = (
            f"{name} is no label map: expected regions of a few values, got {strewn.size} values at edges alone, as a "
            "resized label has. Resize it by nearest."
        )
        raise ValueError(msg)


def is_full_word(values: Integer[np.ndarray, "*grid"]) -> bool:
    """Whether a label is a mask of two values, of which one is the largest number of 16 or 32 bits."""
    return bool(values.size and values.max() > FULL and values.max() in FULL_WORDS and distinct(values).size <= 2)


def hardened(values: Shaped[np.ndarray, "*grid"]) -> Integer[np.ndarray, "*grid"]:
    """Cut a mask with soft edges off at half of its largest value, which stays its value."""
    top = values.max()
    value = int(top) if float(top).is_integer() and top > 1 else 1
    return (values > top / 2).astype(np.int32) * np.int32(value)


def is_instances(labels: Sequence[Integer[np.ndarray, "..."]]) -> bool:
    """Whether the values of label maps number the objects of one class, as cell trackers and watersheds do.

    So it is if, in most maps, many values are counted through from 1 and each fills a small box of its own, all of
    about one size. Organs are as compact, but skip numbers in a map or differ more in size.
    """
    verdicts = [_numbers_objects(label) for label in labels if label.any()]
    return bool(verdicts) and sum(verdicts) > len(verdicts) / 2


def suspected_void(values: Integer[np.ndarray, "*grid"]) -> int | None:
    """Return the value that stands far apart from those of classes, as 255, 254, -1 or -100 for *void* do, or None.

    Classes need not be counted through, for an image may show few of those of its dataset. But shades of grey that
    people draw with, such as 128 beside 255, are all classes.
    """
    found = distinct(values).tolist()
    for void in (FULL, FULL - 1, *FULL_WORDS, -1, TORCH_VOID):
        others = [value for value in found if value != void]
        if void in found and any(others) and min(others) >= 0 and max(others) <= MOST_BESIDE_VOID:
            return void
    return None


def split_unknown(
    values: Shaped[np.ndarray, "*grid"], unknown: Sequence[int]
) -> tuple[Shaped[np.ndarray, "*grid"], Bool[np.ndarray, "*grid"] | None]:
    """Take pixels that nobody judged out of a label map.

    Besides those of the values that say so, they are those that are NaN, in a map that has zeros too: where it has
    none, NaN may be its background.

    Returns:
        The map with 0 there, and where they are; None if there are none.
    """
    where = np.isnan(values) if values.dtype.kind == "f" and (values == 0).any() else None
    for value in unknown:
        same = np.abs(values - np.float64(value)) <= WHOLE_TOLERANCE if values.dtype.kind == "f" else values == value
        where = same if where is None else where | same
    if where is None or not where.any():
        return values, None
    return np.where(where, values.dtype.type(0), values), where


def _read_colours(colours: UInt8[np.ndarray, "*grid 3"], name: str, rules: LabelRules) -> LabelReading:
    """Read a label by the colours of a table, or of one colour on black or white."""
    notes, colour = [], ""
    if not rules.colours and (shaded := strength(colours)) and is_antialiased(shaded[1]):
        note = f"{name} has soft edges: it is cut off at half of the strength of its one colour, {shaded[0]}."
        return LabelReading(hardened(shaded[1]), None, (note,), shaded[0])
    table = dict(rules.colours) or two_colours(colours, name)
    if not rules.colours:
        colour = next(iter(table))
        notes.append(f"{name} has two colours: {colour} is read as one class, {FULL}.")
    elif (mixed := ~np.isin(packed_colours(colours), [number_of(colour) for colour in {BLACK, *table}])).any():
        colours = nearest_colours(colours, table, name)
        notes.append(f"{name} has mixed colours in {mixed.mean():.2%} of its pixels: the nearest of the table counts.")
    values = values_of_colours(colours, table, name)
    values, unknown = split_unknown(values, rules.unknown or ())
    return LabelReading(values.astype(np.uint8), unknown, tuple(notes), colour)


def _grown(mask: Bool[np.ndarray, "*grid"]) -> Bool[np.ndarray, "*grid"]:
    """Grow a mask by `EDGE_PX` along its last two axes."""
    for axis in (mask.ndim - 2, mask.ndim - 1):
        grown = mask.copy()
        for step in range(1, EDGE_PX + 1):
            ahead = [slice(None)] * mask.ndim
            behind = list(ahead)
            ahead[axis], behind[axis] = slice(step, None), slice(None, -step)
            grown[tuple(ahead)] |= mask[tuple(behind)]
            grown[tuple(behind)] |= mask[tuple(ahead)]
        mask = grown
    return mask


def _numbers_objects(label: Integer[np.ndarray, "*grid"]) -> bool:
    """Whether the values of one label map number objects."""
    values = distinct(label)
    values = values[values != 0]
    if values.size < MIN_OBJECTS or values[0] < 1 or values.size < NUMBERED_SHARE * int(values[-1]):
        return False
    places = np.searchsorted(values, label[label != 0])
    sizes = np.bincount(places)
    smallest, largest = np.quantile(sizes, (0.1, 0.9))
    if largest > SIZE_RATIO * smallest:
        return False
    boxes = np.ones(values.size)
    for indices in np.nonzero(label):
        low = np.full(values.size, np.iinfo(np.int64).max)
        high = np.full(values.size, -1)
        np.minimum.at(low, places, indices)
        np.maximum.at(high, places, indices)
        boxes *= high - low + 1
    is_small = boxes < label.size / 4
    return bool(((sizes / boxes >= COMPACT_FILL) & is_small).mean() >= COMPACT_SHARE)
