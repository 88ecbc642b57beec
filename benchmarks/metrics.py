"""Agreement of masks with labels, in batches, under one empty-mask policy."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def dice(masks: Bool[Tensor, "B 1 H W"], labels: Bool[Tensor, "B 1 H W"]) -> Float[Tensor, " B"]:
    """Twice the overlap over the sum of both areas.

    Returns:
        A value in [0, 1] per image; 1 if both are empty, 0 if only one is (the empty-mask policy).
    """
    overlap = areas_px(masks & labels)
    total = areas_px(masks) + areas_px(labels)
    return torch.where(total == 0, 1.0, 2 * overlap / total.clamp(min=1))


def areas_px(masks: Bool[Tensor, "B 1 H W"]) -> Int[Tensor, " B"]:
    """Number of foreground pixels per image."""
    return masks.sum(dim=(1, 2, 3))
