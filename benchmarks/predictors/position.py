"""Moves labelled images aside with their labels, so that objects lie elsewhere than in the query."""

import torch
from jaxtyping import Float
from torch import Tensor

MOVED = "moved"
"""Kind of alteration that moves a support; its strength is the distance in pixels."""
SIDES = ((-2, 1), (-2, -1), (-1, 1), (-1, -1))
"""Axis and sign of the ways that an image may be moved."""


def moved(
    images: Float[Tensor, "B S 1 H W"], labels: Float[Tensor, "B S 1 H W"], distance_px: int
) -> tuple[Float[Tensor, "B S 1 H W"], Float[Tensor, "B S 1 H W"]]:
    """Move each labelled image, and its label with it, along that axis and to that side where most of the label stays.

    The edge that moves inwards is repeated, of the label as of the image. Distances end at the opposite edge.
    """
    ways = [(aside(images, axis, sign * distance_px), aside(labels, axis, sign * distance_px)) for axis, sign in SIDES]
    kept = torch.stack([remaining(labels, axis, sign * distance_px) for axis, sign in SIDES])
    best = kept.argmax(0)[None, ..., None, None, None]
    shown = [torch.stack(some).take_along_dim(best, 0)[0] for some in zip(*ways, strict=True)]
    return shown[0], shown[1]


def aside(images: Float[Tensor, "*any H W"], axis: int, offset_px: int) -> Float[Tensor, "*any H W"]:
    """Move images along an axis, -2 or -1, by an offset, and repeat the edge behind them."""
    side = images.shape[axis]
    sources = torch.arange(side, device=images.device) - offset_px
    return images.index_select(axis, sources.clamp(0, side - 1))


def remaining(labels: Float[Tensor, "B S 1 H W"], axis: int, offset_px: int) -> Float[Tensor, "B S"]:
    """Foreground of each label that is inside the image after a move, in pixels."""
    side = labels.shape[axis]
    length = max(0, side - abs(offset_px))
    return labels.narrow(axis, max(0, min(-offset_px, side)), length).sum((-3, -2, -1))
