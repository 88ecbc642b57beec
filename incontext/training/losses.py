"""Losses on logits, and the Dice that training watches."""

from typing import Literal

from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from incontext.networks.measures import dice


class LossConfig(BaseModel):
    """Configuration of the loss: soft Dice of each image, and a loss of each pixel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pixel: Literal["cross-entropy", "focal"] = "cross-entropy"
    pixel_weight: float = Field(default=0.1, ge=0)
    """Weight of the pixel loss beside Dice, which counts 1. The more it weighs, the better are probabilities
    calibrated, and the less of an uncertain structure is in the mask."""


def dice_loss(logits: Float[Tensor, "*batch H W"], labels: Float[Tensor, "*batch H W"]) -> Float[Tensor, ""]:
    """Soft Dice loss of each image, averaged.

    Source:
        Milletari et al., V-Net, 3DV 2016, with the sum of squares in the denominator.
    """
    probabilities = logits.sigmoid()
    overlap = (probabilities * labels).sum((-2, -1))
    total = probabilities.square().sum((-2, -1)) + labels.square().sum((-2, -1))
    return (1 - (2 * overlap + 1) / (total + 1)).mean()


def focal_loss(
    logits: Float[Tensor, "*batch H W"], labels: Float[Tensor, "*batch H W"], focus: float = 2.0
) -> Float[Tensor, ""]:
    """Cross-entropy of each pixel times how far its probability is off, to the power of `focus`, averaged.

    Source:
        Lin et al., Focal loss for dense object detection, ICCV 2017, without class weights.
    """
    off = (logits.sigmoid() - labels).abs()
    return (off**focus * F.binary_cross_entropy_with_logits(logits, labels, reduction="none")).mean()


DEFAULT = LossConfig()


def segmentation_loss(
    logits: Float[Tensor, "*batch H W"], labels: Float[Tensor, "*batch H W"], config: LossConfig = DEFAULT
) -> Float[Tensor, ""]:
    """Soft Dice loss plus weighted pixel loss, a mean over images, which count equally."""
    loss = dice_loss(logits, labels)
    if not config.pixel_weight:
        return loss
    pixel_loss = F.binary_cross_entropy_with_logits if config.pixel == "cross-entropy" else focal_loss
    return loss + config.pixel_weight * pixel_loss(logits, labels)


def hard_dice(logits: Float[Tensor, "*batch H W"], labels: Float[Tensor, "*batch H W"]) -> Float[Tensor, "*batch"]:
    """Dice of the masks that the logits give at a probability of 0.5; 1 if mask and label are both empty."""
    return dice(logits > 0, labels > 0.5)
