"""The distance of each pixel from the edge of a structure, by which shapes are interpolated and pull at logits."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from incontext.networks.distance import distance_transform

DEPTH = 0.16
"""Distance from a structure's edge, as a share of a plane's side, from which on it pulls no harder."""


def signed_distance(label: Float[Tensor, "1 H W"]) -> Float[Tensor, "1 H W"]:
    """Distance from a structure's edge in sides of the plane, within ±`DEPTH`: above 0 inside, below 0 outside."""
    inside = label[0] > 0.5
    pixels = torch.where(inside, _distances(~inside) - 0.5, 0.5 - _distances(inside))
    return (pixels / max(inside.shape)).clamp(-DEPTH, DEPTH)[None]


def _distances(targets: Bool[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    """Pixels from each pixel to the nearest target (Euclid), or a plane's height and width if there is none."""
    return distance_transform(targets[None])[0].clamp(max=sum(targets.shape))
