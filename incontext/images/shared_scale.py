"""The scale of grey values that labelled images share, on which those are shown that hold less than all of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Shaped

QUARTILES = (0.25, 0.5, 0.75)
TOLERANCE = 0.05
"""Share of the range of grey values by which a quartile may lie outside those of the examples."""
LEAST_RISE = 0.05
"""Share of the examples' range that lies below the upper quartile of each, at least; else nearly all of one is as dark
as can be, and tells no scale: a bright cell on black is one at any exposure."""

Range = tuple[float, float]
Quartiles = tuple[Range, Range, Range]


@dataclass(frozen=True)
class SharedScale:
    """Scale of grey values that all examples share.

    An image that lacks the brightest structure is not to be stretched until something else, or noise, is as bright.
    Whether its grey values mean what those of the examples mean is told by its quartiles. If it looks like an example
    once it is stretched, too, it may well be one of another exposure, and is.

    Attributes:
        low: Grey value that every example reaches down to.
        high: Grey value that every example reaches up to.
        quartiles: Least and greatest of each of the `QUARTILES` of the examples, and the tolerance.
        shares: Least and greatest of each of their quartiles as a share of each one's own range, and a tolerance
            as wide as they differ, since further images may differ as much.
    """

    low: float
    high: float
    quartiles: Quartiles
    shares: Quartiles

    def __post_init__(self) -> None:
        """Check the scale, which may come from a file.

        Raises:
            ValueError: If it is none.
        """
        bounds = [bound for each in (*self.quartiles, *self.shares) for bound in each]
        if not (-math.inf < self.low < self.high < math.inf and all(map(math.isfinite, bounds))):
            msg = f"shared scale is impossible: expected finite values and low < high, got {self}"
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
        if not lows.max() < highs.min() or np.min(found[:, -1] - lows) < LEAST_RISE * extent:
            return None
        shares = (found - lows[:, None]) / (highs - lows)[:, None]
        quartiles = _ranges(found, np.full(len(QUARTILES), TOLERANCE * extent))
        stretched = _ranges(shares, np.maximum(TOLERANCE, np.ptp(shares, axis=0)))
        return cls(float(lows.max()), float(highs.min()), quartiles, stretched)

    def stretched(self, low: float, high: float) -> Quartiles:
        """Least and greatest quartiles of an image that looks like an example once it is stretched from its range."""
        first, second, third = ((low + least * (high - low), low + most * (high - low)) for least, most in self.shares)
        return first, second, third

    def widened(self, low: float, high: float, values: Shaped[np.ndarray, "*grid"]) -> Range:
        """Range of grey values on this scale, if an image's own is narrower and its quartiles are those of the scale.

        Args:
            low: Grey value of the image that would become 0.
            high: Grey value that would become 1.
            values: Grey values of the image.
        """
        if self.low < low or high < self.high:
            is_alike = low < high and _are_among(values, self.stretched(low, high))
            if not is_alike and _are_among(values, self.quartiles):
                return min(low, self.low), max(high, self.high)
        return low, high


def _ranges(found: Float64[np.ndarray, "examples 3"], tolerance: Float64[np.ndarray, "3"]) -> Quartiles:
    least, greatest = found.min(0) - tolerance, found.max(0) + tolerance
    first, second, third = zip(least.tolist(), greatest.tolist(), strict=True)
    return first, second, third


def _are_among(values: Shaped[np.ndarray, "*grid"], quartiles: Quartiles) -> bool:
    """Whether each quartile of grey values lies between two values."""
    within = zip(QUARTILES, quartiles, strict=True)
    return all(
        np.count_nonzero(values < least) <= share * values.size <= np.count_nonzero(values <= most)
        for share, (least, most) in within
    )
