"""The Dice that a mask probably has, told from its probabilities by what was fitted beside the weights."""

import torch
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

LEAST_SHARE = 0.02
"""Least distance of a share from 0 and 1, where its logarithmic odds would grow without bounds."""


class QualityModel(BaseModel):
    """Tells the Dice of masks from the probabilities that they come with.

    These promise a precision (`confidence`) and a recall (`coverage`). How far such promises are to be believed is
    fitted on tasks that the network did not learn from: the odds of Dice are a product of powers of theirs. Nothing
    else is looked at, so that no pass of the network is needed. What looks alike to the network looks certain to it:
    a support of another kind of images than the queries makes wrong masks that promise much.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bias: float
    confidence: float
    """Power of the odds of the promised precision."""
    coverage: float
    """Power of the odds of the promised recall."""
    flag_below: float = Field(ge=0, le=1)
    """Masks of a lower predicted Dice are to be looked at first."""
    measured: dict[str, float | None] = {}
    """How well it does on datasets that it was not fitted on; see `incontext.training.calibration.fit_quality`."""

    def predict(self, probabilities: Float[Tensor, "N *grid"], masks: Bool[Tensor, "N *grid"]) -> Float[Tensor, " N"]:
        """The Dice in (0, 1) that each mask probably has with what a person would draw.

        Args:
            probabilities: Of foreground, of images or volumes on any grid; of logits divided by the temperature.
            masks: What is judged: as a rule, where foreground is more probable than anything else.
        """
        return self.believe(promises(probabilities, masks))

    def believe(self, promised: Float[Tensor, "N 2"]) -> Float[Tensor, " N"]:
        """The Dice that follows from what masks promise; see `promises`."""
        return (promised @ torch.tensor([self.confidence, self.coverage]).to(promised) + self.bias).sigmoid()

    def flags(self, dice: Float[Tensor, " N"]) -> Bool[Tensor, " N"]:
        """Which masks to look at first, by their predicted Dice."""
        return dice < self.flag_below


def promises(probabilities: Float[Tensor, "N *grid"], masks: Bool[Tensor, "N *grid"]) -> Float[Tensor, "N 2"]:
    """Logarithmic odds of the precision and the recall that masks have if their probabilities are true.

    Of n pixels in the mask, a sum p of probabilities is foreground, out of a sum q in the whole image: p / n and p / q.
    A mask without foreground promises nothing.
    """
    return promised_odds(tally(probabilities, masks))


def tally(probabilities: Float[Tensor, "N *grid"], masks: Bool[Tensor, "N *grid"]) -> Float[Tensor, "N 3"]:
    """The p, n and q of `promises`; those of parts of an image add up to its own."""
    truly = (probabilities * masks).flatten(1).sum(1, dtype=torch.float32)
    everywhere = probabilities.flatten(1).sum(1, dtype=torch.float32)
    return torch.stack([truly, masks.flatten(1).sum(1).to(truly), everywhere], dim=1)


def promised_odds(tallies: Float[Tensor, "N 3"]) -> Float[Tensor, "N 2"]:
    """What `promises` makes of p, n and q."""
    truly, pixels, everywhere = tallies.unbind(1)
    shares = torch.stack([truly / pixels.clamp(min=1), truly / everywhere.clamp(min=1e-6)], dim=1)
    return shares.clamp(LEAST_SHARE, 1 - LEAST_SHARE).logit()
