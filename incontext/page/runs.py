"""Runs of pixels: parts of a plane as starts and lengths, in which strokes are sent, kept and taken back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Bool, Int64, UInt8

MOST_VALUES = 255
"""Largest value of a class."""


@dataclass(frozen=True, eq=False)
class Runs:
    """Pixels of a plane by index, rows one after the other, and the value of each.

    Attributes:
        indices: Indices of the pixels, ascending within each value.
        values: Values of the pixels.
    """

    indices: Int64[np.ndarray, " n"]
    values: UInt8[np.ndarray, " n"]

    @classmethod
    def parse(cls, runs: Mapping[int, Sequence[int]], size: int) -> Self:
        """Read starts and lengths, one after the other, by the value that the pixels take.

        Args:
            runs: Starts and lengths by value.
            size: Number of pixels of the plane.

        Raises:
            ValueError: If a run is not within the plane, or a value is none of a label map.
        """
        indices, values = [np.zeros(0, np.int64)], [np.zeros(0, np.uint8)]
        for value, flat in runs.items():
            if not 0 <= value <= MOST_VALUES or len(flat) % 2:
                msg = f"runs are malformed: expected pairs of numbers by value from 0 to 255, got value {value}."
                raise ValueError(msg)
            starts, lengths = np.array(flat, np.int64).reshape(-1, 2).T
            if (starts < 0).any() or (lengths < 1).any() or (lengths > size).any() or (starts > size - lengths).any():
                msg = f"a run leaves its plane: expected pixels from 0 to {size - 1}, got others. Reload the page."
                raise ValueError(msg)
            if lengths.sum() + sum(map(len, indices)) > size:
                msg = f"runs overlap: expected each of {size} pixels once, got more. Reload the page."
                raise ValueError(msg)
            indices.append(indices_at(np.stack([starts, lengths], axis=1)))
            values.append(np.full(lengths.sum(), value, np.uint8))
        return cls(np.concatenate(indices), np.concatenate(values))

    @classmethod
    def between(cls, before: UInt8[np.ndarray, "H W"], after: UInt8[np.ndarray, "H W"]) -> Self:
        """Find the pixels that two states of a plane differ in, with the values of the later one."""
        indices = np.flatnonzero(before != after)
        return cls(indices, after.reshape(-1)[indices])

    @classmethod
    def of_mask(cls, mask: Bool[np.ndarray, "H W"], value: int) -> Self:
        """Give all pixels of a mask one value."""
        indices = np.flatnonzero(mask)
        return cls(indices, np.full(len(indices), value, np.uint8))

    def told(self) -> dict[int, list[int]]:
        """Starts and lengths by value, as `parse` reads them."""
        breaks = (np.diff(self.indices) != 1) | (np.diff(self.values) != 0)
        pairs = _pairs(self.indices, breaks)
        values = self.values[np.cumsum(pairs[:, 1]) - 1]
        return {int(value): pairs[values == value].reshape(-1).tolist() for value in np.unique(values)}

    @property
    def places(self) -> Int64[np.ndarray, "runs 2"]:
        """Starts and lengths of the pixels in their order, without their values: mostly far fewer than indices."""
        return _pairs(self.indices, np.diff(self.indices) != 1)


def indices_at(places: Int64[np.ndarray, "runs 2"]) -> Int64[np.ndarray, " n"]:
    """Indices of pixels by their places, in the same order."""
    starts, lengths = places.T
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(lengths.sum())


def _pairs(indices: Int64[np.ndarray, " n"], breaks: Bool[np.ndarray, " m"]) -> Int64[np.ndarray, "runs 2"]:
    """Starts and lengths of runs of indices, which end where a break follows."""
    if not len(indices):
        return np.zeros((0, 2), np.int64)
    firsts = np.concatenate([[0], np.flatnonzero(breaks) + 1])
    lengths = np.diff(np.concatenate([firsts, [len(indices)]]))
    return np.stack([indices[firsts], lengths], axis=1)
