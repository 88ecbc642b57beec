"""Colours of label values: those that a source states, else fixed ones that colour-blind readers tell apart."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from jaxtyping import UInt8

BASE = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#d55e00", "#cc79a7", "#0072b2")
"""Colours of the first values. Source: Okabe and Ito, Color Universal Design, 2008; their black is the background's."""
MOST_COLOURS = 256
FULL = 255
"""The value of what is drawn in a mask of two values. It is white, so that it stays 255 where colours become grey."""
LIGHTEST, DARKEST = 0.85, 0.65
"""Largest shares of white and of black that further values mix into the colours of the first ones."""
DARK = 40
"""A colour none of whose parts is above this is taken for black."""


@lru_cache(maxsize=MOST_COLOURS)
def colour_of(value: int) -> str:
    """Return the fixed colour of a label value, as `#rrggbb`; those from 1 to 255 are all different.

    >>> colour_of(1), colour_of(8), colour_of(255)
    ('#e69f00', '#f1c86c', '#ffffff')
    """
    if value == FULL:
        return "#ffffff"
    turn, place = divmod((value - 1) % MOST_COLOURS, len(BASE))
    base = np.array(rgb(BASE[place]))
    target, reach = (255, LIGHTEST) if turn % 2 else (0, DARKEST)
    mixed = base + (target - base) * reach * _spread((turn + 1) // 2)
    return f"#{bytes(mixed.round().astype(np.uint8).tolist()).hex()}"


def colours_of(values: Iterable[int], stated: Mapping[int, str] | None = None) -> dict[int, str]:
    """Return a colour for each of some label values: the stated one, unless it is black or another value's already."""
    chosen: dict[int, str] = {}
    stated = stated or {}
    usable = {value: colour for value, colour in stated.items() if not is_dark(colour)}
    for value in sorted(values, key=lambda value: value not in usable):
        colour = usable.get(value, "").lower() or colour_of(value)
        free = (colour, colour_of(value), *map(colour_of, range(1, MOST_COLOURS)))
        chosen[value] = next((each for each in free if each not in chosen.values()), colour)
    return dict(sorted(chosen.items()))


@dataclass
class Palettes:
    """Colours that label files give to their values, compared from file to file."""

    _seen: dict[int, dict[str, str]] = field(default_factory=dict)
    """The files in which each value first has each of its colours."""

    def compare(self, colours: Mapping[int, str], name: str) -> str:
        """Return a note if a value has another colour than in the files before.

        Args:
            colours: Colours of the values of a file.
            name: How messages call it.

        Raises:
            ValueError: If a colour has other values elsewhere too: then it may be the colours that tell classes.
        """
        bright = {value: colour for value, colour in colours.items() if not is_dark(colour)}
        new = [value for value, colour in bright.items() if self._seen.get(value) and colour not in self._seen[value]]
        for value, colour in bright.items():
            self._seen.setdefault(value, {}).setdefault(colour, name)
        unlike = [value for value, files in self._seen.items() if len(files) > 1]
        used = Counter(colour for files in self._seen.values() for colour in files)
        if unlike and max(used.values()) > 1:
            got = ", ".join(f"{colour} in {file}" for colour, file in self._seen[unlike[0]].items())
            pairs = ",".join(f"{colour}={value}" for value, colour in enumerate(sorted(used), start=1))
            msg = (
                f"palettes of labels disagree: expected one colour for the value {unlike[0]}, got {got}. If colours "
                f"tell the classes, give each a value: --colours '{pairs}'; if values do, save them without a palette."
            )
            raise ValueError(msg)
        if not new:
            return ""
        colour, file = next(iter(self._seen[new[0]].items()))
        return f"{name} has another palette than {file}, where {new[0]} is {colour}: its values count, not its colours."


def palette_of(stated: Mapping[int, str] | None = None) -> UInt8[np.ndarray, "256 3"]:
    """Return the colours of all values of a label map of 8 bits, of which only 0 is black."""
    palette = _fixed_palette().copy()
    for value, colour in (stated or {}).items():
        if 0 < value < MOST_COLOURS and not is_dark(colour):
            palette[value] = rgb(colour)
    return palette


@lru_cache(maxsize=1)
def _fixed_palette() -> UInt8[np.ndarray, "256 3"]:
    return np.array([[0, 0, 0], *(rgb(colour_of(value)) for value in range(1, MOST_COLOURS))], np.uint8)


def stated_colours(palette: UInt8[np.ndarray, "entries 3"], values: Iterable[int]) -> dict[int, str]:
    """Return the colours that a palette gives to label values; none if it is a ramp of greys."""
    used = [value for value in values if 0 < value < len(palette)]
    if (palette[used] == palette[used][:, :1]).all() and used != [FULL]:
        return {}
    return {value: f"#{palette[value].tobytes().hex()}" for value in used}


def is_dark(colour: str) -> bool:
    """Whether a colour can hardly be told from a black background."""
    return max(rgb(colour)) <= DARK


def rgb(colour: str) -> list[int]:
    """Return red, green and blue of `#rrggbb`."""
    return list(bytes.fromhex(colour.removeprefix("#")))


def _spread(number: int) -> float:
    """Return 0, 1/2, 1/4, 3/4, 1/8, … for 0, 1, 2, 3, 4, …: each far from those before (van der Corput)."""
    digits = f"{number:b}"[::-1]
    return int(digits, 2) / 2 ** len(digits)
