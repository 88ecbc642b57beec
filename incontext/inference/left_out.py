"""Numbers by which labelled examples tell of each other: of each one, as the others segment it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Self

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

DTYPES = {"examples": torch.int64, "rows": torch.int64, "annotated": torch.bool}
"""Types of the tensors that are no float32."""
AMOUNTS = ("counts", "soft_counts", "surprise", "misplaced")
MOST_AMOUNT = 2.0**28
"""More than there are pixels in a square, or nats on them."""
FEATURES = ("looks", "drawn", "labelled")
LONGEST = 1 + 1e-3
"""Length of features, which is 1, or 0 where there is nothing."""
MOST_SQUARES = 2**10
"""Most squares of examples that are read from a file: each is compared with every other."""


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Squares of examples as they are segmented by the other examples, compared with their labels.

    Attributes:
        examples: Numbers of the examples that were judged, as `Pool.units` has them: N.
        rows: Row of `examples` that each of the M squares belongs to.
        counts: Pixels of each square and class that are in mask and label, in the mask, and in the label.
        soft_counts: Probabilities of each square and class, as `quality.soft_counts` adds them up.
        surprise: Cross-entropy of the label under the probabilities, in nats, summed over the pixels of each square.
        misplaced: Nats by which the label would be likelier if it lay elsewhere, up to `REACH` of the side away.
        looks: Features of the squares; see `unit_looks`. None if there are none.
        drawn: Features of what is found of each class in each square; see `region_features`. None if there are none.
        labelled: Features of what a person drew of it.
        brightness: Mean grey value of what a person drew of each class in each square; NaN where there is nothing.
        annotated: Whether the labels of each square judge a class: it was looked for there, and others show it, since
            nothing tells of a class that no other example shows.
    """

    examples: Int64[Tensor, " N"]
    rows: Int64[Tensor, " M"] = field(repr=False)
    counts: Float32[Tensor, "M C 3"] = field(repr=False)
    soft_counts: Float32[Tensor, "M C 3"] = field(repr=False)
    surprise: Float32[Tensor, "M C"] = field(repr=False)
    misplaced: Float32[Tensor, "M C"] = field(repr=False)
    brightness: Float32[Tensor, "M C"] = field(repr=False)
    annotated: Bool[Tensor, "M C"] = field(repr=False)
    looks: Float32[Tensor, "M G"] | None = field(default=None, repr=False)
    drawn: Float32[Tensor, "M C F"] | None = field(default=None, repr=False)
    labelled: Float32[Tensor, "M C F"] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], classes: int) -> Self:
        """Put together what `tensors` names, of a file that need not be trusted.

        Args:
            tensors: The tensors.
            classes: Number of classes that the file tells of.

        Raises:
            ValueError: If one is missing or is none of these, or they do not fit each other.
        """
        names = {each.name for each in fields(cls)}
        whole = names if "looks" in tensors else names - {*FEATURES}
        _expect(tensors.keys() == whole, ", ".join(sorted(whole)), ", ".join(sorted(tensors)))
        _check_shapes(tensors, classes)
        _check_values(tensors)
        aligned = {name: each.clone() for name, each in tensors.items()}  # else sums differ in their last digit
        return cls(**aligned)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by the names of their fields; those of features if there are any."""
        named = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: each for name, each in named.items() if each is not None}

    def by_example(self, values: Float[Tensor, "M *shape"]) -> Float[Tensor, "N *shape"]:
        """Add up values of squares to those of examples."""
        return torch.zeros(len(self.examples), *values.shape[1:]).index_add_(0, self.rows, values)

    @property
    def shows(self) -> Bool[Tensor, "M C"]:
        """Whether a square shows a class that others show, too."""
        return self.annotated & (self.counts[..., 2] > 0)

    @property
    def shown(self) -> Bool[Tensor, "N C"]:
        """Whether an example shows a class that others show, too."""
        return self.by_example(self.shows.float()) > 0

    @property
    def is_empty(self) -> Bool[Tensor, " N"]:
        """Whether an example shows nothing at all."""
        return ~(self.by_example(self.counts)[..., 2] > 0).any(1)

    @property
    def dice(self) -> Float[Tensor, "N C"]:
        """Dice of the masks; NaN where the example does not show the class, or it alone does."""
        both, mask, label = self.by_example(self.counts).unbind(-1)
        return torch.where(self.shown, 2 * both / (mask + label), torch.nan)

    @property
    def widths(self) -> tuple[int, int] | None:
        """Numbers of features of a square, and of a class in it; None if there are none."""
        return None if self.looks is None or self.drawn is None else (self.looks.shape[-1], self.drawn.shape[-1])


def _check_shapes(tensors: Mapping[str, Tensor], classes: int) -> None:
    squares, count = tensors["rows"].numel(), tensors["examples"].numel()
    by_class = squares, classes
    shapes = {"examples": (count,), "rows": (squares,), "counts": (*by_class, 3), "soft_counts": (*by_class, 3)}
    if "looks" in tensors:
        shapes["looks"] = squares, *tensors["looks"].shape[-1:]
        shapes["drawn"] = shapes["labelled"] = *by_class, *tensors["drawn"].shape[-1:]
    for name, each in tensors.items():
        dtype, shape = DTYPES.get(name, torch.float32), shapes.get(name, by_class)
        is_right = each.dtype == dtype and tuple(each.shape) == shape
        _expect(is_right, f"{name} of {dtype} {shape}", f"{each.dtype} {tuple(each.shape)}")
    _expect(0 < count <= squares <= MOST_SQUARES, f"1 to {MOST_SQUARES} squares", f"{squares} of {count} examples")


def _check_values(tensors: Mapping[str, Tensor]) -> None:
    count = len(tensors["examples"])
    is_numbered = torch.equal(tensors["rows"].unique(), torch.arange(count))
    is_right = is_numbered and len(tensors["examples"].unique()) == count
    _expect(is_right, f"squares of each of {count} examples", "others")
    for name in AMOUNTS:
        is_right = bool(((tensors[name] >= 0) & (tensors[name] <= MOST_AMOUNT)).all())
        _expect(is_right, f"{name} within 0 and {MOST_AMOUNT:.0f}", "others")
    is_right = torch.equal(tensors["brightness"].isfinite(), tensors["counts"][..., 2] > 0)
    _expect(is_right, "a finite brightness where there is a label alone", "others")
    for name in tensors.keys() & {*FEATURES}:
        _expect(bool((tensors[name].norm(dim=-1) <= LONGEST).all()), f"{name} of unit length", "others")


def _expect(true: bool, expected: str, got: str) -> None:
    if not true:
        msg = f"what examples tell of each other is odd: expected {expected}, got {got}."
        raise ValueError(msg)
