"""Baselines without training: the mean of the support labels, and the label of the nearest support image."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from benchmarks.predictors.protocol import CONFIDENT_LOGIT
from incontext.networks.unknown import mean_over_images


def mean_mask(
    query_images: Float[Tensor, "B 1 H W"],
    support_images: Float[Tensor, "B S 1 H W"],
    support_labels: Float[Tensor, "B S 1 H W"],
) -> Float[Tensor, "B 1 H W"]:
    """Predict foreground where at least half of the support labels are: the score that position alone reaches."""
    return torch.logit(mean_over_images(support_labels), eps=1e-4)


def nearest_copy(
    query_images: Float[Tensor, "B 1 H W"],
    support_images: Float[Tensor, "B S 1 H W"],
    support_labels: Float[Tensor, "B S 1 H W"],
) -> Float[Tensor, "B 1 H W"]:
    """Copy the label of the support image nearest to the query; logits are ±`CONFIDENT_LOGIT`.

    What nobody judged of it is as likely foreground as all that was judged.
    """
    nearest = nearest_image(query_images, support_images)
    copied = mean_over_images(support_labels[torch.arange(len(nearest), device=nearest.device), nearest][:, None])
    return (2 * copied - 1) * CONFIDENT_LOGIT


def nearest_image(
    query_images: Float[Tensor, "B 1 H W"], support_images: Float[Tensor, "B S 1 H W"]
) -> Int64[Tensor, " B"]:
    """Index of the image of each support that is nearest to the query, in L2 distance of the intensities at 32×32."""
    queries = adaptive_avg_pool2d(query_images, 32).unsqueeze(1)
    supports = adaptive_avg_pool2d(support_images.flatten(0, 1), 32).unflatten(0, support_images.shape[:2])
    return (queries - supports).square().sum(dim=(2, 3, 4)).argmin(dim=1)
