"""Agreement of masks and probabilities with labels: the one Dice and the one calibration error of the project.

Every value is the same to the bit for any batch: counts are integers, and means are taken in fixed point.
"""

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

BINS = 15
"""Number of bins of equal width in which the calibration error groups pixels by their probability."""

FIXED_POINT = 2**32
"""Units per 1: fine enough to hold float32 values from 2⁻⁹ on exactly, coarse enough for sums of 2³¹ terms."""


def dice(
    masks: Bool[Tensor, "*batch H W"],
    labels: Bool[Tensor, "*batch H W"],
    known: Bool[Tensor, "*batch H W"] | None = None,
) -> Float[Tensor, "*batch"]:
    """Dice of each mask with its label, in [0, 1]: see `dice_of_areas`. Pixels of which none is known count nowhere."""
    if known is not None:
        masks, labels = masks & known, labels & known
    masks_px, labels_px, shared_px = (each.sum((-2, -1)) for each in (masks, labels, masks & labels))
    return dice_of_areas(shared_px, masks_px + labels_px)


def dice_of_areas(shared_px: Num[Tensor, "*batch"], total_px: Num[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Twice the overlap over the sum of both areas: 2·|A∩B| / (|A| + |B|); 1 if both are empty.

    Args:
        shared_px: Pixels that mask and label have in common.
        total_px: Pixels of the mask plus those of the label.
    """
    return torch.where(total_px == 0, 1.0, 2 * shared_px / total_px)


def calibration_error(
    probabilities: Float[Tensor, "B *grid"],
    labels: Num[Tensor, "B *grid"] | Bool[Tensor, "B *grid"],
    bins: int = BINS,
    known: Bool[Tensor, "B *grid"] | None = None,
) -> Float[Tensor, " B"]:
    """Expected calibration error: distance of the foreground's probability from its frequency, mean over bins.

    Every bin weighs as many pixels as fall into it; empty ones weigh nothing. Most pixels of most images are certain
    background, so values are small; compare them between predictors, not between tasks.

    Args:
        probabilities: Probability of foreground at each pixel, in [0, 1].
        labels: Annotation of the same pixels, in {0, 1}.
        bins: Number of bins of equal width.
        known: Pixels of which the label is known; by default all. The others count nowhere.

    Source:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, for the foreground's probability.
    """
    excess = in_fixed_point(probabilities.float() - labels.float()).flatten(1)
    counts: Tensor | int = excess.shape[1]
    if known is not None:
        excess, counts = excess * known.flatten(1), known.flatten(1).sum(dim=1).clamp(min=1)
    indices = (probabilities.flatten(1) * bins).long().clamp(max=bins - 1)
    sums = excess.new_zeros(len(excess), bins).scatter_add_(1, indices, excess)
    return sums.abs().sum(dim=1) / FIXED_POINT / counts


def exact_mean(values: Float[Tensor, "B N"], counts: Int[Tensor, " B"] | int) -> Float[Tensor, " B"]:
    """Sums in fixed point over counts: integers add up to the same in any order, hence in any batch, on any device.

    Args:
        values: Numbers in [-1, 1]; those that do not count must be 0.
        counts: Number of values of each row that count; the mean of a row without any is NaN.
    """
    return in_fixed_point(values).sum(dim=1) / FIXED_POINT / counts


def in_fixed_point(values: Float[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Values as integers of `FIXED_POINT` units; the product only shifts the exponent, so it is exact."""
    return (values.float() * FIXED_POINT).round().long()
