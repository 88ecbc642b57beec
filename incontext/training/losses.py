"""Losses on logits, and the Dice that training watches; pixels that nobody judged count in none."""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from incontext.networks.measures import dice
from incontext.networks.unknown import judged


class LossConfig(BaseModel):
    """Configuration of the loss: soft Dice of each image, and a loss of each pixel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pixel: Literal["cross-entropy", "focal"] = "cross-entropy"
    pixel_weight: float = Field(default=0.1, ge=0)
    """Weight of the pixel loss beside Dice, which counts 1. The more it weighs, the better are probabilities
    calibrated, and the less of an uncertain structure is in the mask."""
    empty_weight: float = Field(default=0.0, ge=0)
    """Weight of `mass_loss`, which takes the place of Dice where the label is empty; 0 leaves Dice there. The gradient
    of Dice dies as soon as a mask of some size is drawn where nothing is."""


def dice_loss(logits: Float[Tensor, "*batch H W"], labels: Float[Tensor, "*batch H W"]) -> Float[Tensor, "*batch"]:
    """Soft Dice loss of each image.

    Source:
        Milletari et al., V-Net, 3DV 2016, with the sum of squares in the denominator.
    """
    known = judged(labels)
    probabilities, labels = logits.sigmoid() * known, labels * known
    overlap = (probabilities * labels).sum((-2, -1))
    total = probabilities.square().sum((-2, -1)) + labels.square().sum((-2, -1))
    return 1 - (2 * overlap + 1) / (total + 1)


def mass_loss(logits: Float[Tensor, "*batch H W"], labels: Float[Tensor, "*batch H W"]) -> Float[Tensor, "*batch"]:
    """Logarithm of the cross-entropy with an empty label, summed over the pixels of each image, and 1.

    Its gradient does not depend on how much is drawn, nor does it die where the network is sure.
    """
    return (F.softplus(logits) * judged(labels)).sum((-2, -1)).log1p()


def focal_loss(
    logits: Float[Tensor, "*batch H W"], labels: Float[Tensor, "*batch H W"], focus: float = 2.0
) -> Float[Tensor, ""]:
    """Cross-entropy of each pixel times how far its probability is off, to the power of `focus`, averaged.

    Source:
        Lin et al., Focal loss for dense object detection, ICCV 2017, without class weights.
    """
    off = (logits.sigmoid() - labels).abs()
    return _mean(off**focus * F.binary_cross_entropy_with_logits(logits, labels, reduction="none"), judged(labels))


def cross_entropy(logits: Float[Tensor, "*batch H W"], labels: Float[Tensor, "*batch H W"]) -> Float[Tensor, ""]:
    """Binary cross-entropy of each pixel, averaged."""
    return _mean(F.binary_cross_entropy_with_logits(logits, labels, reduction="none"), judged(labels))


def _mean(losses: Tensor, known: Tensor) -> Tensor:
    """Mean over the pixels of which the label is known."""
    share = known.to(losses).mean()
    return (losses * known).mean() / share.clamp(min=1 / known.numel())


DEFAULT = LossConfig()


def segmentation_loss(
    logits: Float[Tensor, "*batch H W"], labels: Float[Tensor, "*batch H W"], config: LossConfig = DEFAULT
) -> Float[Tensor, ""]:
    """Soft Dice loss, a mean over images, which count equally, plus weighted pixel loss, one over pixels."""
    losses = dice_loss(logits, labels)
    if config.empty_weight:
        is_empty = ((labels * judged(labels)) == 0).all(-1).all(-1)
        losses = torch.where(is_empty, config.empty_weight * mass_loss(logits, labels), losses)
    loss = losses.mean()
    if not config.pixel_weight:
        return loss
    pixel_loss = cross_entropy if config.pixel == "cross-entropy" else focal_loss
    return loss + config.pixel_weight * pixel_loss(logits, labels)


def hard_dice(logits: Float[Tensor, "*batch H W"], labels: Float[Tensor, "*batch H W"]) -> Float[Tensor, "*batch"]:
    """Dice of the masks that the logits give at a probability of 0.5; 1 if mask and label are both empty."""
    return dice(logits > 0, labels > 0.5, judged(labels))
