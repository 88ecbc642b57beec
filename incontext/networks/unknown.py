"""Pixels that nobody judged, in labels that are tensors: 1 is foreground, 0 background, `UNKNOWN_SHARE` unknown.

`megamed.unknown` says what they mean. A network that has but one channel for a label is told `UNKNOWN_SHARE` there.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from megamed.unknown import UNKNOWN, UNKNOWN_SHARE


def as_shares(labels: UInt8[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Turn binary labels, as arrays hold them, into shares of foreground."""
    return torch.where(labels == UNKNOWN, UNKNOWN_SHARE, labels.float())


def judged(labels: Float[Tensor, "*shape"]) -> Bool[Tensor, "*shape"]:
    """Pixels that somebody judged."""
    return labels != UNKNOWN_SHARE


def pooled_to(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Means of maps (N, 1, H, W) over the windows of a coarser grid, whose sides divide theirs."""
    return F.avg_pool2d(labels, (labels.shape[-2] // size[0], labels.shape[-1] // size[1]))


def known_part(labels: Float[Tensor, "*shape"]) -> Bool[Tensor, "*shape"] | None:
    """Pixels that somebody judged, or None if these are all; a graph that is being exported has to ask every time."""
    known = judged(labels)
    return known if torch.compiler.is_exporting() or not known.all() else None


def kinds(labels: Float[Tensor, "N 1 H W"], known: Tensor | None, size: Sequence[int]) -> Float[Tensor, "N 2 1 h w"]:
    """Shares of foreground and of background in each window of a coarser grid; unknown pixels are of neither.

    Args:
        labels: Shares of foreground.
        known: Pixels of which they are known, as `known_part` tells.
        size: Rows and columns of the grid.
    """
    if known is None:
        foreground = pooled_to(labels, size)
        return torch.stack([foreground, 1 - foreground], 1)
    foreground = pooled_to(torch.where(known, labels, 0), size)
    return torch.stack([foreground, pooled_to(known.to(labels), size) - foreground], 1)


def means(
    labels: Float[Tensor, "N 1 H W"], known: Tensor | None, size: Sequence[int], parts: int
) -> Float[Tensor, "N 1 h w"]:
    """Means of labels over what is known of each window of a coarser grid.

    Args:
        labels: Shares of foreground.
        known: Pixels of which they are known, as `known_part` tells.
        size: Rows and columns of the grid.
        parts: Side of a square of windows. One of which nothing is known has the mean of its square; where nothing is
            known of this either, it is `UNKNOWN_SHARE`.
    """
    if known is None:
        return pooled_to(labels, size)
    around = size[0] // parts, size[1] // parts
    fine, coarse = (_mean_of(kinds(labels, known, each)) for each in (size, around))
    wide = F.interpolate(coarse, scale_factor=parts, mode="nearest")
    return torch.where(pooled_to(known.to(labels), size) > 0, fine, wide)


def _mean_of(shares: Float[Tensor, "N 2 1 h w"]) -> Float[Tensor, "N 1 h w"]:
    """Mean label of windows by their shares of foreground and background; `UNKNOWN_SHARE` where both are 0."""
    total = shares.sum(1)
    return torch.where(total > 0, shares[:, 0] / total.clamp(min=1e-6), UNKNOWN_SHARE)


def mean_over_images(labels: Float[Tensor, "B S 1 H W"]) -> Float[Tensor, "B 1 H W"]:
    """Mean of the labels of sets at each pixel, of those images of which it was judged.

    A pixel that was judged in none takes the mean of all that was judged in its set.
    """
    known = judged(labels)
    if known.all():
        return labels.mean(1)
    drawn, counts = torch.where(known, labels, 0), known.sum(1)
    everywhere = drawn.sum((1, 3, 4), keepdim=True)[:, 0] / known.sum((1, 3, 4), keepdim=True)[:, 0].clamp(min=1)
    return torch.where(counts > 0, drawn.sum(1) / counts.clamp(min=1), everywhere)


def readings(labels: Float[Tensor, "N 1 H W"]) -> Float[Tensor, "N channels H W"]:
    """Labels with unknown pixels read as background and as foreground, in two channels; in one if all were judged.

    The mean of what comes of both is a label again, unknown where they differ.
    """
    if judged(labels).all():
        return labels
    return torch.cat([labels > UNKNOWN_SHARE, labels > 0], 1).to(labels)
