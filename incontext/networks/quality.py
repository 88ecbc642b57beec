"""Prediction of a mask's Dice from its probabilities, by a model whose parameters are stored beside the weights."""

from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

LARGEST_POWER = 100.0
"""Bound of a quality model's parameters, either way, which no fit comes near."""
Power = Annotated[float, Field(ge=-LARGEST_POWER, le=LARGEST_POWER)]

LEAST_SHARE = 0.02
"""Least distance of a share from 0 and 1, where its log-odds would grow without bounds."""


class QualityModel(BaseModel):
    """Predicts the Dice of masks from the probabilities that they come with.

    If probabilities are true, they give a mask an expected precision and an expected recall. The odds of Dice are
    modelled as a product of powers of the odds of both, fitted on tasks that the network did not learn from. Nothing
    else is looked at, so that no further pass of the network is needed. Nor does the model know what the network is
    blind to: a support of another kind of images than the queries makes wrong masks of high expected precision.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    bias: Power
    """Log-odds of Dice where the odds of expected precision and recall are both 1."""
    confidence: Power
    """Power of the odds of the expected precision."""
    coverage: Power
    """Power of the odds of the expected recall."""
    flag_below: float = Field(ge=0, le=1)
    """Predicted Dice below which a mask is flagged, to be checked first."""
    measured: dict[str, float | None] = {}
    """Reliability on datasets that the model was not fitted on; see `incontext.training.calibration.reliability`."""

    def predict(self, probabilities: Float[Tensor, "N *grid"], masks: Bool[Tensor, "N *grid"]) -> Float[Tensor, " N"]:
        """Predict the Dice in (0, 1) of each mask with what a person would draw.

        Args:
            probabilities: Probability of foreground in images or volumes on any grid, from logits divided by the
                temperature.
            masks: Masks to judge, as a rule where foreground is more probable than anything else.
        """
        return self.dice_from(expected_log_odds(soft_counts(probabilities, masks)))

    def dice_from(
        self, log_odds: Float[Tensor, "N 2"], shift: Float[Tensor, " N"] | float = 0.0
    ) -> Float[Tensor, " N"]:
        """Predict Dice in (0, 1) from the log-odds of expected precision and recall; see `expected_log_odds`.

        Args:
            log_odds: Log-odds of both for each mask.
            shift: Log-odds of Dice to add, by which a task is easier or harder than its probabilities tell.
        """
        powers = torch.tensor([self.confidence, self.coverage]).to(log_odds)
        return (log_odds @ powers + self.bias + shift).sigmoid()

    def flags(self, dice: Float[Tensor, " N"]) -> Bool[Tensor, " N"]:
        """Flag the masks to check first, by their predicted Dice."""
        return dice < self.flag_below


def soft_counts(probabilities: Float[Tensor, "N *grid"], masks: Bool[Tensor, "N *grid"]) -> Float[Tensor, "N 3"]:
    """Count pixels of each mask softly: true positives, positives and foreground, as `expected_log_odds` takes them.

    True positives are the sum of the probabilities in the mask, foreground that of all probabilities, and positives the
    number of pixels of the mask. Counts of the parts of an image add up to those of the image.
    """
    true_positives = (probabilities * masks).flatten(1).sum(1, dtype=torch.float32)
    foreground = probabilities.flatten(1).sum(1, dtype=torch.float32)
    return torch.stack([true_positives, masks.flatten(1).sum(1).to(true_positives), foreground], dim=1)


def expected_log_odds(counts: Float[Tensor, "N 3"]) -> Float[Tensor, "N 2"]:
    """Log-odds of the precision and the recall that masks have if their probabilities are true.

    Of the soft counts, precision is true positives over positives, and recall true positives over foreground. An empty
    mask has the lowest of both, at `LEAST_SHARE`.
    """
    true_positives, positives, foreground = counts.unbind(1)
    shares = torch.stack([true_positives / positives.clamp(min=1), true_positives / foreground.clamp(min=1e-6)], dim=1)
    return shares.clamp(LEAST_SHARE, 1 - LEAST_SHARE).logit()
