"""Loss on logits, and the Dice that training watches."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def dice_bce_loss(logits: Float[Tensor, "*batch H W"], labels: Float[Tensor, "*batch H W"]) -> Float[Tensor, ""]:
    """Soft Dice loss of each image plus binary cross-entropy, averaged.

    Source:
        Milletari et al., V-Net, 3DV 2016, with the sum of squares in the denominator.
    """
    probabilities = logits.sigmoid()
    overlap = (probabilities * labels).sum((-2, -1))
    total = probabilities.square().sum((-2, -1)) + labels.square().sum((-2, -1))
    dice = (2 * overlap + 1) / (total + 1)
    return (1 - dice).mean() + F.binary_cross_entropy_with_logits(logits, labels)


def hard_dice(logits: Float[Tensor, "*batch H W"], labels: Float[Tensor, "*batch H W"]) -> Float[Tensor, "*batch"]:
    """Dice of the masks that the logits give at a probability of 0.5; 1 if mask and label are both empty."""
    masks = (logits > 0).to(labels.dtype)
    total = masks.sum((-2, -1)) + labels.sum((-2, -1))
    overlap = 2 * (masks * labels).sum((-2, -1))
    return (overlap / total.clamp(min=1)).where(total > 0, 1.0)
