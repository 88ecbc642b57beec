"""Colours of a label: what they are, and the values of classes that they stand for."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Integer, Shaped, UInt8

FULL = 255
"""The value of what is drawn in a mask of two values, opacities or colours."""
BLACK, WHITE = "#000000", "#ffffff"
NOISE = 40
"""Largest difference of a colour, in any of red, green and blue, that lossy storage makes."""
MIXED_SHARE = 0.1
"""Largest share of the pixels that are mixtures of colours, as at edges."""
STRAY_SHARE = 0.01
"""Largest share of the pixels of a mask of one colour that lossy storage gave another."""
TINT = 4
"""Largest difference of red, green and blue that lossy storage makes of a grey."""
MAX_COLOURS = 64
"""Largest number of colours of a label; a picture, or a label stored with loss, has more."""


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
    found = sorted({colour for label in labels for colour in colour_counts(label)} - {BLACK})
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
    packed = packed_colours(colours)
    known = {0: 0} | {number_of(colour): value for colour, value in table.items()}
    found, inverse = np.unique(packed, return_inverse=True)
    if stray := [colour for colour in found.tolist() if colour not in known]:
        raise ValueError(_not_in_table(name, table, stray))
    return np.array([known[colour] for colour in found.tolist()])[inverse].reshape(packed.shape)


def nearest_colours(
    colours: UInt8[np.ndarray, "*grid 3"], table: Mapping[str, int], name: str
) -> UInt8[np.ndarray, "*grid 3"]:
    """Give pixels whose colour was mixed, by smooth edges or lossy storage, the nearest one of a table, or black.

    Raises:
        ValueError: If a colour fills places of its own, or many pixels are far from every colour of the table.
    """
    known = np.array([_shades(number_of(colour)) for colour in {BLACK, *table}], np.int32)
    packed = packed_colours(colours)
    found, inverse = np.unique(packed, return_inverse=True)
    apart = np.stack([np.abs(_shades(found) - each).max(axis=-1) for each in known], axis=-1)
    far = (apart.min(axis=-1) > NOISE)[inverse].reshape(packed.shape)
    strange = packed[far] if far.mean() > MIXED_SHARE else packed[far & _in_areas(packed)]
    if strange.size:
        shades, counts = np.unique(strange, return_counts=True)
        raise ValueError(_not_in_table(name, table, shades[np.argsort(-counts, kind="stable")].tolist()))
    return known.astype(np.uint8)[apart.argmin(axis=-1)[inverse]].reshape(colours.shape)


def _not_in_table(name: str, table: Mapping[str, int], stray: Sequence[int]) -> str:
    got = ", ".join(f"#{colour:06x}" for colour in stray[:5])
    got += f" and {len(stray) - 5} more" if len(stray) > 5 else ""
    return f"{name} has colours that are not in the table: expected {', '.join(sorted(table))}, got {got}. Add them."


def _shades(packed: Integer[np.ndarray, "*colours"] | int) -> Integer[np.ndarray, "*colours 3"]:
    return np.stack([packed >> shift & FULL for shift in (16, 8, 0)], axis=-1)


def _in_areas(packed: Integer[np.ndarray, "*grid"]) -> Bool[np.ndarray, "*grid"]:
    """Find pixels that are in the middle of three by three of one colour."""
    inside = np.zeros(packed.shape, bool)
    middle = packed[..., 1:-1, 1:-1]
    height, width = packed.shape[-2:]
    shifted = (packed[..., y : height - 2 + y, x : width - 2 + x] for y in range(3) for x in range(3))
    inside[..., 1:-1, 1:-1] = (
        np.logical_and.reduce([each == middle for each in shifted]) if min(height, width) > 2 else False
    )
    return inside


def as_bytes(channels: Shaped[np.ndarray, "*grid channels"]) -> UInt8[np.ndarray, "*grid channels"]:
    """Return colours of any type as bytes: of 16 bits the upper 8, of floats up to 1 their share of 255."""
    if channels.dtype == np.uint16 and channels.max(initial=0) > FULL:
        return np.rint(channels / 257).astype(np.uint8)
    if channels.dtype.kind == "f" and channels.max(initial=0) <= 1:
        return np.rint(channels * FULL).clip(0, FULL).astype(np.uint8)
    if channels.dtype == bool:
        return channels.astype(np.uint8) * np.uint8(FULL)
    return channels.clip(0, FULL).astype(np.uint8)


def two_colours(colours: UInt8[np.ndarray, "*grid 3"], name: str) -> dict[str, int]:
    """Return the table of a mask that has black, or else white, and one other colour.

    Raises:
        ValueError: If it has others.
    """
    found = list(colour_counts(colours))
    for background in (BLACK, WHITE):
        if len(found) == 2 and background in found:
            return {next(colour for colour in found if colour != background): FULL, background: 0}
    if len(found) > MAX_COLOURS:
        msg = (
            f"{name} is drawn in colours: expected a few, got {len(found)}, such as {', '.join(found[:3])}. If it is a "
            "label, pass a table that gives each colour of a class its value."
        )
        raise ValueError(msg)
    table = colour_table([colours])
    pairs = ",".join(f"{colour}={value}" for colour, value in table.items())
    msg = (
        f"{name} is drawn in colours: expected a table that gives each colour a class, got {len(found)} colours. Pass "
        f"colours={table}, in the shell --colours '{pairs}'; black is background."
    )
    raise ValueError(msg)


def is_grey(colours: Shaped[np.ndarray, "*grid channels"]) -> bool:
    """Whether colours are grey, or in a mask of black and white nearly so, as lossy storage leaves them."""
    spread = colours.max(axis=-1).astype(float) - colours.min(axis=-1)
    return bool(
        spread.max(initial=0) <= (TINT if colours.dtype == np.uint8 and colours.max(initial=0) > FULL // 2 else 0)
    )


def strength(colours: UInt8[np.ndarray, "*grid 3"]) -> tuple[str, UInt8[np.ndarray, "*grid"]] | None:
    """Measure how strong the one colour of a mask is, where all others are mixtures of it with black, or else white.

    Returns:
        The colour, and its strength up to `FULL`; None if there are other colours.
    """
    pixels = colours.astype(np.float32)
    found = list(colour_counts(colours))
    for background in {BLACK, WHITE}.intersection(found[:2]):
        origin = _shades(number_of(background))
        tint = next((each for each in found if np.ptp(_shades(number_of(each)) - origin) > NOISE), None)
        if tint is None:
            continue
        way = (_shades(number_of(tint)) - origin).astype(np.float32)
        share = ((pixels - origin) @ way / (way @ way)).clip(0, 1)
        if (np.abs(pixels - origin - share[..., None] * way).max(axis=-1) <= NOISE).mean() >= 1 - STRAY_SHARE:
            return tint, np.rint(share * FULL).astype(np.uint8)
    return None


def packed_colours(colours: UInt8[np.ndarray, "*grid 3"]) -> Integer[np.ndarray, "*grid"]:
    """Return red, green and blue of each pixel as one number."""
    return colours.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)


def number_of(colour: str) -> int:
    """Return the number that `packed_colours` gives to a colour written as `#rrggbb`."""
    return int(colour.removeprefix("#"), 16)
