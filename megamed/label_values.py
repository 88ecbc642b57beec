"""Meaning of a label's pixels: numbers, colours or opacity as they are stored → values of classes.

Everything here looks at pixels only. A reading is taken without being asked for only where no other is plausible, and
then it says so in a note; else an error names the readings there are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Integer, Shaped, UInt8

WHOLE_TOLERANCE = 1e-3
"""Largest distance from a whole number of a value that a slope or an interpolation of constants has moved."""
FULL = 255
"""The value of what is drawn in a mask of two values, opacities or colours."""
MAX_COLOURS = 64
"""Largest number of colours of a label; a picture, or a label stored with loss, has more."""

SOFT_LEVELS = 8
"""Fewer values between two extremes may well be classes."""
EXTREME_SHARE = 0.6
"""Least share of the pixels of an antialiased mask that have one of the two extreme values."""
EDGE_SHARE = 0.9
"""Least share of the other pixels that lie at an edge."""
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


@dataclass(frozen=True)
class LabelReading:
    """The values of a label as they are meant."""

    values: Integer[np.ndarray, "*grid"]
    """0 is background, every other value a class."""
    unknown: Bool[np.ndarray, "*grid"] | None = None
    """Pixels that nobody judged; they are 0 in `values`. None if there are none."""
    notes: tuple[str, ...] = ()
    """Decisions between several senses, a sentence each."""


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
    if is_antialiased(values):
        notes.append(f"{name} has soft edges: it is cut off at half of its largest value, {values.max():g}.")
        values = hardened(values)
    whole = whole_numbers(values, name)
    if rules.unknown is None and (void := suspected_void(whole)) is not None:
        whole, voids = split_unknown(whole, (void,))
        unknown = voids if unknown is None else unknown | voids
        notes.append(f"{name} has the value {void} apart from its classes: it is read as pixels that nobody judged.")
    if rules.instances or (rules.instances is None and is_instances([whole])):
        count = np.count_nonzero(distinct(whole))
        notes.append(f"{name} numbers {count} objects: they are read as one class, 1.")
        whole = (whole > 0).astype(np.uint8)
    return LabelReading(whole, unknown, tuple(notes))


def read_channels(
    channels: UInt8[np.ndarray, "*grid channels"], name: str, rules: LabelRules | None = None
) -> LabelReading:
    """Read a label of two, three or four numbers per pixel: grey or colour, the last of an even number opacity.

    Raises:
        ValueError: If its colours are no label or need a table.
    """
    rules = rules or LabelRules()
    notes = []
    if channels.shape[-1] in (2, 4):
        opacity, channels = channels[..., -1], channels[..., :-1]
        drawn = opacity > FULL // 2
        if not drawn.all():
            if not rules.colours and len(colour_counts(channels[drawn])) <= 1:
                note = f"{name} is drawn on a transparent layer: what is opaque is read as one class, {FULL}."
                return LabelReading(drawn.astype(np.uint8) * np.uint8(FULL), None, (note,))
            channels = np.where(drawn[..., None], channels, np.uint8(0))
            notes.append(f"{name} is drawn on a transparent layer: what is transparent is read as background.")
    if channels.shape[-1] == 1 or (channels == channels[..., :1]).all():
        reading = read_values(channels[..., 0], name, rules)
        return LabelReading(reading.values, reading.unknown, (*notes, *reading.notes))
    table = dict(rules.colours) or _two_colours(channels, name)
    if not rules.colours:
        notes.append(f"{name} has two colours: {next(iter(table))} is read as one class, {FULL}.")
    values = values_of_colours(channels, table, name)
    values, unknown = split_unknown(values, rules.unknown or ())
    return LabelReading(values.astype(np.uint8), unknown, tuple(notes))


def read_palette(
    indices: UInt8[np.ndarray, "*grid"],
    palette: UInt8[np.ndarray, "entries 3"],
    name: str,
    rules: LabelRules | None = None,
) -> LabelReading:
    """Read a label of indices into a palette: its indices are the values, unless the user names colours.

    Of a mask of two colours of which one is black, black is the background, whichever index it has.
    """
    rules = rules or LabelRules()
    if rules.colours:
        return read_channels(palette[np.minimum(indices, len(palette) - 1)], name, rules)
    used = np.unique(indices).tolist()
    black = [index for index in used if index < len(palette) and not palette[index].any()]
    if len(used) == 2 and black and black != [0] and used[0] == 0:
        note = (
            f"{name} has a palette in which black is {black[0]}: it is read as background, the other as one class, 1."
        )
        return LabelReading((indices != black[0]).astype(np.uint8), None, (note,))
    return read_values(indices, name, rules)


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
    """Return the values that occur, in order; of small whole numbers fast."""
    if values.dtype in (np.uint8, np.uint16):
        return np.flatnonzero(np.bincount(values.ravel())).astype(values.dtype)
    return np.unique(values)


def is_antialiased(values: Shaped[np.ndarray, "*grid"]) -> bool:
    """Whether a label is a mask of one class whose edges were smoothed, by drawing, resizing or lossy storage.

    So it is if most pixels have about one of two extreme values, 0 and another, and the others lie between pixels of
    both.
    """
    if values.ndim < 2 or values.dtype.kind == "b" or not values.size or values.min() < 0 or values.max() <= 0:
        return False
    if distinct(values).size <= SOFT_LEVELS:
        return False
    low, high = values <= 0.1 * values.max(), values >= 0.9 * values.max()
    between = ~(low | high)
    if (low | high).mean() < EXTREME_SHARE or not low.any() or not high.any():
        return False
    if not between.any():
        return bool(values.max() == FULL)  # the noise that a lossy format adds to 0 and 255
    at_edge = _grown(low) & _grown(high)
    return bool(at_edge[between].mean() >= EDGE_SHARE)


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
    """Return the value that stands apart from classes counted through from 0, as 255 or -1 for *void* do, or None."""
    found = distinct(values).tolist()
    for void in (FULL, -1):
        others = [value for value in found if value != void]
        if void in found and len(others) > 1 and others == list(range(len(others))):
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


def colour_counts(colours: UInt8[np.ndarray, "*grid channels"]) -> dict[str, int]:
    """Count the pixels of each colour, as `#rrggbb` or `#gg`, the commonest first."""
    flat = colours.reshape(-1, colours.shape[-1])
    packed = flat.astype(np.int64) @ (1 << 8 * np.arange(flat.shape[-1])[::-1])
    found, counts = np.unique(packed, return_counts=True)
    digits = 2 * flat.shape[-1]
    order = np.argsort(-counts, kind="stable")
    return {f"#{found[index]:0{digits}x}": int(counts[index]) for index in order.tolist()}


def colour_table(labels: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> dict[str, int]:
    """Propose a class value for each colour that occurs in labels; black is background.

    Raises:
        ValueError: If they have more than `MAX_COLOURS` colours.
    """
    found = sorted({colour for label in labels for colour in colour_counts(label)} - {"#000000"})
    if len(found) > MAX_COLOURS:
        msg = (
            f"labels have too many colours: expected at most {MAX_COLOURS}, got {len(found)}. Store them without loss."
        )
        raise ValueError(msg)
    return {colour: value for value, colour in enumerate(found, start=1)}


def values_of_colours(
    colours: UInt8[np.ndarray, "*grid 3"], table: Mapping[str, int], name: str
) -> Integer[np.ndarray, "*grid"]:
    """Turn colours into the values of classes; black is background unless the table lists it.

    Raises:
        ValueError: If a colour is not in the table.
    """
    packed = colours.astype(np.int64) @ (1 << 8 * np.arange(3)[::-1])
    known = {0: 0} | {int(colour.removeprefix("#"), 16): value for colour, value in table.items()}
    found, inverse = np.unique(packed, return_inverse=True)
    if stray := [f"#{colour:06x}" for colour in found.tolist() if colour not in known]:
        msg = f"{name} has colours that are not in the table: expected {sorted(table)}, got {stray[:5]}. Add them."
        raise ValueError(msg)
    return np.array([known[colour] for colour in found.tolist()])[inverse].reshape(packed.shape)


def _two_colours(colours: UInt8[np.ndarray, "*grid 3"], name: str) -> dict[str, int]:
    """Return the table of a mask that has black, or else white, and one other colour.

    Raises:
        ValueError: If it has others.
    """
    found = list(colour_counts(colours))
    for background in ("#000000", "#ffffff"):
        if len(found) == 2 and background in found:
            return {next(colour for colour in found if colour != background): FULL, background: 0}
    shown = f"{len(found)} colours, such as {found[:5]}" if len(found) > 5 else f"{found}"
    msg = f"{name} is drawn in colours: expected a table that gives each colour a class, got {shown}. Pass one."
    raise ValueError(msg)


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
