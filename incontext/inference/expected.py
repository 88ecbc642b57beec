"""Dice to expect of new images, by leave-one-out on the examples, and examples that the others contradict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from incontext.inference.leave_one_out import LEAST_EXAMPLES
from incontext.inference.left_out import LeftOut

CONFIDENCE = 0.95
CONTRADICTED = 2.0
"""Contradiction from which an example is called wrong, if its Dice too is below `FAR_BELOW` times the median."""
FAR_BELOW = 0.9
FORGOTTEN = 1.0
"""Log-odds of presence from which a class counts as forgotten; the logarithm of the number of classes is added, as each
may be found by chance."""
FOUND_WELL = 0.5
"""Expected Dice from which a class is found well enough to be found where no label shows it."""
MISPLACED = 4.0
"""Weight of what a label would gain at another place, beside the surprise at it where it is."""
LITTLE = 0.1
"""Nats per pixel, and Dice, that are added before logarithms are taken: less makes no difference to anybody."""
EVEN = 0.1
"""Deviation that examples of the most even tasks have all the same."""
ROBUST = 1.4826
"""Standard deviation of a normal distribution, in multiples of its median absolute deviation."""


@dataclass(frozen=True, eq=False)
class Expected:
    """Dice to expect of new images of the examples' kind, measured on the examples by leave-one-out.

    Attributes:
        dice: Expected Dice of each class by label value, where an image shows it; of those only that at least
            `LEAST_EXAMPLES` of the judged examples show.
        interval: Interval of 95 % confidence of each expected Dice, by Student's t over the examples.
        examples: Numbers of the judged examples, in the order in which they were given; a stack counts as so many as it
            has planes.
        per_example: Dice of each judged example and class by the others; NaN where the example does not show the class,
            or it alone does.
        contradiction: How much the others contradict the label of each judged example, in robust standard deviations
            above the median of all examples: the logarithm of the label's cross-entropy under their prediction for each
            pixel of the structure, and of what it would gain at another place, less that of the Dice. It is comparable
            within a task alone.
        suspects: Numbers of the examples whose labels look wrong: those that are empty and should not be, then those
            that are contradicted most.
        forgotten: Label value of a class that the others find in an example that shows none, by its number; the surest
            comes first.
    """

    dice: Mapping[int, float]
    interval: Mapping[int, tuple[float, float]]
    examples: Sequence[int]
    per_example: Float[np.ndarray, "N C"] = field(repr=False)
    contradiction: Float[np.ndarray, " N"] = field(repr=False)
    suspects: Sequence[int]
    forgotten: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, found: LeftOut, values: Sequence[int], presence: Float[Tensor, "N C"] | None = None
    ) -> "Expected | None":
        """Judge examples by what others say of them; None if they are fewer than `LEAST_EXAMPLES`, or show nothing.

        Args:
            found: Examples, each segmented by the others.
            values: Label values of the classes.
            presence: Log-odds by which each example shows each class, by what the others find; None if nobody judges
                it.
        """
        if len(found.examples) < LEAST_EXAMPLES or not found.shown.any():
            return None
        per_example = found.dice.numpy()
        of_class = {value: each[~np.isnan(each)] for value, each in zip(values, per_example.T, strict=True)}
        known = {value: each for value, each in of_class.items() if len(each) >= LEAST_EXAMPLES}
        mean = np.array([each[~np.isnan(each)].mean() if (~np.isnan(each)).any() else np.nan for each in per_example])
        contradiction = _contradiction(found, mean)
        is_wrong = (contradiction > CONTRADICTED) & (mean < FAR_BELOW * np.nanmedian(mean))
        numbers = found.examples.tolist()
        expected = {value: float(each.mean()) for value, each in known.items()}
        forgotten = _forgotten(found, presence, [expected.get(value, 0.0) for value in values])
        worst = np.argsort(-np.nan_to_num(contradiction), kind="stable")
        return cls(
            expected,
            {value: _interval(each) for value, each in known.items()},
            numbers,
            per_example,
            contradiction,
            [numbers[row] for row in (*forgotten, *worst[is_wrong[worst]])],
            {numbers[row]: values[index] for row, index in forgotten.items()},
        )

    def __str__(self) -> str:
        return ", ".join(f"{value}: {self.told(value)}" for value in self.dice)

    def told(self, value: int) -> str:
        """Tell the expected Dice of a class with half the width of its interval.

        >>> Expected({1: 0.871}, {1: (0.84, 0.9)}, [], np.zeros((0, 1)), np.zeros(0), []).told(1)
        '0.87 ± 0.03'
        """
        return told(self.dice[value], self.interval[value])


def told(dice: float, interval: tuple[float, float]) -> str:
    """Tell a Dice with half the width of its interval."""
    low, high = interval
    return f"{dice:.2f} ± {(high - low) / 2:.2f}"


def _forgotten(found: LeftOut, presence: Float[Tensor, "N C"] | None, dice: Sequence[float]) -> dict[int, int]:
    """Index of the class that an example shows most surely though its label shows none, by row; the surest first."""
    if presence is None:
        return {}
    is_found = torch.tensor(dice) >= FOUND_WELL
    asked = (found.by_example(found.annotated.float()) > 0) & is_found & found.is_empty[:, None]
    surest, index = presence.masked_fill(~asked, -torch.inf).max(1)
    least = FORGOTTEN + np.log(max(1, int(is_found.sum())))
    return {row: int(index[row]) for row in surest.argsort(descending=True).tolist() if surest[row] > least}


def _contradiction(found: LeftOut, dice: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Contradiction of each example, in robust deviations from the median; NaN where no class is shown."""
    labels = found.by_example(found.counts)[..., 2]
    areas = torch.maximum(labels, found.by_example(found.soft_counts)[..., 2]) * found.shown
    nats = found.by_example(found.surprise + MISPLACED * found.misplaced) * found.shown
    apart = np.log((nats.sum(1) / areas.sum(1)).numpy() + LITTLE) - np.log(dice + LITTLE)
    middle = np.nanmedian(apart)
    return (apart - middle) / (ROBUST * np.nanmedian(np.abs(apart - middle)) + EVEN)


def _interval(dice: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Interval of confidence of a mean by Student's t, within 0 and 1."""
    half = _student(len(dice) - 1) * dice.std(ddof=1) / np.sqrt(len(dice))
    return float(max(0, dice.mean() - half)), float(min(1, dice.mean() + half))


def _student(freedom: int) -> float:
    """Two-sided quantile of Student's t at `CONFIDENCE`, within one per cent from three degrees of freedom.

    Source:
        Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3
