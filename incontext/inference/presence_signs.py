"""Signs of presence: numbers by which what is found of a class in an image tells whether the class is there at all."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from incontext.inference.leave_one_out import LEAST_EXAMPLES
from incontext.inference.left_out import LeftOut
from incontext.inference.selection import region_features, unit_looks
from incontext.networks.quality import QualityModel, expected_log_odds, soft_counts

NEAREST = 3
"""Examples to which what is found has to be alike."""
LEAST_DICE, LEAST_DISTANCE = 0.001, 0.02
FARTHEST: Final = 3.0
"""Deviations from the examples beyond which nothing becomes less probable: no sign decides alone."""
LEAST_SPREAD: Final = 0.15
"""Standard deviation that is added to that of contrasts, as examples may be few."""


class Features(NamedTuple):
    """Features of unit length of what is found of a class in squares, and of the whole squares."""

    regions: Float[Tensor, "N F"]
    looks: Float[Tensor, "N G"]

    def some(self, chosen: Bool[Tensor, " N"]) -> "Features":
        """Features of some of the squares."""
        return Features(self.regions[chosen], self.looks[chosen])


class Finding(NamedTuple):
    """Probabilities of a class in squares, as `soft_counts` adds them up, and features of what is found, if any."""

    soft: Float[Tensor, "N 3"]
    features: Features | None

    @classmethod
    def in_squares(
        cls, probabilities: Float[Tensor, "N C H W"], masks: Bool[Tensor, "N C H W"], stages: Sequence[Tensor] | None
    ) -> "list[Finding]":
        """Take what is found of each class by probabilities and masks, with the features of all stages, if any."""
        pairs = zip(probabilities.unbind(1), masks.unbind(1), strict=True)
        soft = [soft_counts(*pair) for pair in pairs]
        if not stages:
            return [cls(each, None) for each in soft]
        regions, looks = region_features(stages, probabilities).cpu(), unit_looks(stages).cpu()
        return [cls(each, Features(region, looks)) for each, region in zip(soft, regions.unbind(1), strict=True)]

    @classmethod
    def in_examples(cls, found: LeftOut, index: int) -> "Finding":
        """Take what the other examples find of a class in the squares of each."""
        soft = found.soft_counts[:, index]
        if found.drawn is None or found.looks is None:
            return cls(soft, None)
        return cls(soft, Features(found.drawn[:, index], found.looks))


def dice_and_likeness(
    found: Finding,
    labelled: Float[Tensor, "K F"] | None,
    quality: QualityModel,
    may: Bool[Tensor, "N K"] | None = None,
) -> Float[Tensor, "N 2"]:
    """Log-odds of the Dice that is predicted, and likeness of what is found to labels; 0 if there are no features.

    Args:
        found: What is found.
        labelled: Features of labels.
        quality: Model that predicts the Dice of masks.
        may: Which labels each square may be compared with; by default all.
    """
    dice = quality.dice_from(expected_log_odds(found.soft)).clamp(LEAST_DICE, 1 - LEAST_DICE)
    likeness = torch.zeros_like(dice)
    if found.features is not None and labelled is not None:
        likeness = nearness(found.features.regions, labelled, may)
    return torch.stack([dice.logit(), likeness], dim=1)


def nearness(
    features: Float[Tensor, "N F"], others: Float[Tensor, "K F"], may: Bool[Tensor, "N K"] | None = None
) -> Float[Tensor, " N"]:
    """Likeness to those of others that are most alike, by the cosine of their features.

    Args:
        features: Features of unit length.
        others: Features that they are compared with.
        may: Which of them each may be compared with; by default all.
    """
    cosine = features @ others.T
    if may is not None:
        cosine = cosine.masked_fill(~may, -1)
    return -(1 + LEAST_DISTANCE - cosine.topk(min(NEAREST, len(others))).values.mean(1)).log()


@dataclass(frozen=True, eq=False)
class Contrast:
    """Examples that show a class against those that lack it.

    Three signs tell them apart: whether what is found is more like what is found in the former, whether the whole
    image is, and how much is found. Each is 0 midway between both kinds.

    Attributes:
        showing: Features of what the others find in examples that show the class.
        lacking: Features of what they find in those that lack it.
        middle: Mean of each sign over the means of both kinds.
        spread: Standard deviation of each sign within them, and `LEAST_SPREAD`.
    """

    showing: Features = field(repr=False)
    lacking: Features = field(repr=False)
    middle: Float[Tensor, "3"]
    spread: Float[Tensor, "3"]

    @classmethod
    def of(cls, found: LeftOut, index: int) -> "tuple[Contrast, Float[Tensor, 'M 3']] | None":
        """Contrast of a class, and its signs of the examples by each other.

        Nothing if the network has no features, or fewer than `LEAST_EXAMPLES` show the class or lack it.
        """
        shows = found.shows[:, index]
        lacks = found.annotated[:, index] & ~shows
        soft, features = Finding.in_examples(found, index)
        if features is None or any(len(found.rows[kind].unique()) < LEAST_EXAMPLES for kind in (shows, lacks)):
            return None
        showing, lacking = features.some(shows), features.some(lacks)
        others = found.rows[:, None] != found.rows
        signs = _compared(soft, features, (showing, others[:, shows]), (lacking, others[:, lacks]))
        middle = (signs[shows].mean(0) + signs[lacks].mean(0)) / 2
        variance = (signs[shows].var(0, correction=0) + signs[lacks].var(0, correction=0)) / 2
        contrast = cls(showing, lacking, middle, variance.sqrt() + LEAST_SPREAD)
        return contrast, contrast._relative(signs)

    def __call__(self, found: Finding) -> Float[Tensor, "N 3"]:
        """Signs of squares that are no examples, in deviations, within bounds."""
        assert found.features is not None
        return self._relative(_compared(found.soft, found.features, (self.showing, None), (self.lacking, None)))

    def _relative(self, signs: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        return ((signs - self.middle) / self.spread).clamp(-FARTHEST, FARTHEST)


def _compared(
    soft: Float[Tensor, "N 3"], features: Features, *kinds: tuple[Features, Bool[Tensor, "N _"] | None]
) -> Float[Tensor, "N 3"]:
    """Signs of squares before they are scaled, by the examples of both kinds and which of them may be compared."""
    regions = [nearness(features.regions, kind.regions, may) for kind, may in kinds]
    looks = [nearness(features.looks, kind.looks, may) for kind, may in kinds]
    return torch.stack([regions[0] - regions[1], looks[0] - looks[1], soft[:, 2].log1p()], dim=1)


def posterior(
    inputs: Float[Tensor, "M K"],
    present: Float[Tensor, " M"],
    prior: Float[Tensor, " K"],
    certainty: Float[Tensor, " K"],
    steps: int = 20,
    halvings: int = 16,
) -> Float[Tensor, " K"]:
    """Weights of a logistic model of greatest posterior probability, by Newton's method.

    Whole steps overshoot without end where all probabilities are near 0 or 1; the best of ever shorter ones is taken.

    Args:
        inputs: Signs, and 1.
        present: Whether the class is there.
        prior: Means of the weights before anything is known.
        certainty: Precision of these means.
        steps: Number of steps of Newton's.
        halvings: Number of halvings of a step that are tried.
    """
    weights, shares = prior, 0.5 ** torch.arange(halvings)[:, None]
    for _ in range(steps):
        probable = (inputs @ weights).sigmoid()
        slope = inputs.T @ (probable - present) + certainty * (weights - prior)
        curvature = (inputs * (probable * (1 - probable))[:, None]).T @ inputs + certainty.diag()
        tried = weights - shares * torch.linalg.solve(curvature, slope)
        log_odds = tried @ inputs.T
        cost = (F.softplus(log_odds) - log_odds * present).sum(1) + (certainty * (tried - prior) ** 2).sum(1) / 2
        weights = tried[cost.argmin()]
    return weights
