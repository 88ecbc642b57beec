"""Uncertainty of a mask over the choice of examples: entropy of its mean probability over resampled supports."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from incontext.inference.backends import finite
from incontext.networks.protocols import Codes, QueryReader


@torch.inference_mode()
def uncertainty(
    network: QueryReader,
    query_images: Float[Tensor, "N 1 H W"],
    pool: Codes,
    draws: int = 8,
    seed: int = 0,
    temperature: float = 1.0,
) -> Float[Tensor, "N 1 H W"]:
    """Uncertainty of each pixel, had other examples been labelled: entropy of its mean probability, in bits.

    A support is drawn anew by taking as many images as the pool has, with replacement. Each draw costs one prediction,
    for the images are encoded already. A pool of one image has no other support: only the uncertainty within its
    prediction remains.

    Args:
        network: Network or backend that segments queries by a code.
        query_images: The images to segment, in [0, 1].
        pool: The codes of one set of labelled images.
        draws: Number of support sets that are drawn.
        seed: Seed of the draws; all queries are segmented by the same ones.
        temperature: The number that logits are divided by.

    Returns:
        Values in [0, 1]: 0 where all are sure of the same, 1 where foreground is as probable as background.

    Raises:
        ValueError: If there are no draws.
        FloatingPointError: If the network's logits are not finite.

    Source:
        Efron, Bootstrap methods: another look at the jackknife, 1979.
    """
    if draws < 1:
        msg = f"draws are too few: expected at least 1, got {draws}. Use 8."
        raise ValueError(msg)
    generator, size = torch.Generator().manual_seed(seed), pool.labels.shape[1]
    total = torch.zeros_like(query_images)
    for _ in range(draws):
        indices = torch.randint(size, (1, size), generator=generator).to(query_images.device)
        total += (finite(network.segment(query_images, pool.select(indices).pooled())) / temperature).sigmoid()
    return binary_entropy(total / draws)


def binary_entropy(probabilities: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Entropy in bits of a binary variable: 1 at a probability of one half, 0 where the outcome is certain."""
    return (torch.special.entr(probabilities) + torch.special.entr(1 - probabilities)) / math.log(2)
