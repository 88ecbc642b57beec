"""Distances along paths: how dear it is to get from a pixel to a prompt if edges cost more than flat ground."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

FAR = 50.0
"""Distance where there is no prompt, and the largest one."""
SWEEPS = 4
"""Number of times that distances run along all columns and rows, there and back; paths with more turns are missed."""


def geodesic_distances(
    maps: Float[Tensor, "N C H W"], down: Float[Tensor, "N 1 H-1 W"], along: Float[Tensor, "N 1 H W-1"]
) -> Float[Tensor, "N C H W"]:
    """Cost of the cheapest path from each pixel to one of each map, from neighbour to neighbour in rows and columns.

    On a line of pixels, with c the cost from its beginning on, the cheapest way that comes from before pixel j costs
    c_j + min over i ≤ j of (d_i − c_i): one cumulative minimum settles a whole line. Sweeps alternate between columns
    and rows, so that a path with k turns is found after k sweeps.

    Args:
        maps: Pixels of which the distance is 0, in {0, 1}.
        down: Costs of the steps from each pixel to the next one below, (N, 1, H − 1, W).
        along: Costs of the steps from each pixel to the next one on the right, (N, 1, H, W − 1).
    """
    found = torch.where(maps > 0, 0.0, FAR)
    climbs = {-2: F.pad(down.cumsum(-2), (0, 0, 1, 0)), -1: F.pad(along.cumsum(-1), (1, 0))}
    for _ in range(SWEEPS):
        for axis, climb in climbs.items():
            there = (found - climb).cummin(axis).values + climb
            back = (found + climb).flip(axis).cummin(axis).values.flip(axis) - climb
            found = torch.minimum(there, back)
    return found
