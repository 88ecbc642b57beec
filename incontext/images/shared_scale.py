"""The scale of grey values that labelled images share, on which those are shown that hold less than all of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped

QUARTILES = (0.25, 0.5, 0.75)
TOLERANCE = 0.05
"""Share of the examples' range by which a quartile may lie outside theirs."""
LEAST_RISE = 0.05
"""Share of the examples' range that lies below their upper quartiles, at least; else nearly all is as dark as can be,
and tells no scale: a bright cell on black is one at any exposure."""

Range = tuple[float, float]


@dataclass(frozen=True)
class SharedScale:
    """Scale of grey values that all examples share.

    An image that lacks the brightest structure is not to be stretched until something else, or noise, is as bright.
    Whether its grey values mean what those of the examples mean is told by its quartiles.

    Attributes:
        low: Grey value that every example reaches down to.
        high: Grey value that every example reaches up to.
        quartiles: Least and greatest of each of the `QUARTILES` of the examples, and the tolerance.
    """

    low: float
    high: float
    quartiles: tuple[Range, Range, Range]

    def __post_init__(self) -> None:
        """Check the scale, which may come from a file.

        Raises:
            ValueError: If it is none.
        """
        if not -math.inf < self.low < self.high < math.inf:
            msg = f"shared scale is impossible: expected low < high, got {self.low} to {self.high}"
            raise ValueError(msg)

    @classmethod
    def of(cls, ranges: Sequence[Range], values: Sequence[Shaped[np.ndarray, " _"]]) -> "SharedScale | None":
        """Find the scale of examples; None if they tell none.

        Args:
            ranges: Grey values of each example that become 0 and 1.
            values: Grey values of each example.
        """
        lows, highs = np.array(ranges, dtype=np.float64).T
        found = np.array([np.quantile(each.astype(np.float64), QUARTILES) for each in values])
        extent = float(np.mean(highs - lows))
        if not lows.max() < highs.min() or np.mean(found[:, -1] - lows) < LEAST_RISE * extent:
            return None
        least, greatest = found.min(0) - TOLERANCE * extent, found.max(0) + TOLERANCE * extent
        first, second, third = zip(least.tolist(), greatest.tolist(), strict=True)
        return cls(float(lows.max()), float(highs.min()), (first, second, third))

    def widened(self, low: float, high: float, values: Shaped[np.ndarray, "*grid"]) -> Range:
        """Range of grey values on this scale, if an image's own is narrower and its quartiles are those of the scale.

        Args:
            low: Grey value of the image that would become 0.
            high: Grey value that would become 1.
            values: Grey values of the image.
        """
        if self.low < low or high < self.high:
            within = zip(QUARTILES, self.quartiles, strict=True)
            if all(np.mean(values < least) <= share <= np.mean(values <= most) for share, (least, most) in within):
                return min(low, self.low), max(high, self.high)
        return low, high
