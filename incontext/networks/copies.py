"""Changed copies of a few labelled images, which show a network what may differ between images of a task.

One labelled image does not say that the next may be turned, larger or smaller. Copies of it, turned and resized with
their labels, do. None is mirrored: a left lung that is shown on either side is found on both.
"""

import math

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

FEW = 3
"""Largest number of labelled images that is few: more gain nothing by copies; see docs/findings.md."""
MIRRORED = (-1,)
"""Axes that are reversed in the second view of query and support, whose logits are averaged with those of the first."""
CHANGES: tuple[tuple[float, float], ...] = ((1.0, 0.0), (1.25, 0.0), (0.8, 0.0), (1.0, 15.0), (1.0, -15.0))
"""Size and degrees of each copy."""
COPIES = len(CHANGES)
"""Number of copies of an image, with the image itself."""


def copies_of(images: Float[Tensor, "N K H W"], labels: Shaped[Tensor, "N C H W"]) -> tuple[Tensor, Tensor]:
    """Copy labelled images: all as they are, then all in each change.

    Args:
        images: Grey values.
        labels: Labels, of which each pixel keeps one of its values.

    Returns:
        Images and labels, `COPIES` times as many.
    """
    changed = [(_resampled(images, *change, "bilinear"), _resampled(labels, *change, "nearest")) for change in CHANGES]
    copied_images, copied_labels = (torch.cat(each) for each in zip(*changed, strict=True))
    return copied_images, copied_labels


def _resampled(maps: Tensor, size: float, degrees: float, mode: str) -> Tensor:
    """Resize and turn maps about their middle; what comes into sight is mirrored at the border."""
    if (size, degrees) == CHANGES[0] or not len(maps):
        return maps
    along, across = (f(math.radians(degrees)) / size for f in (math.cos, math.sin))
    turned = torch.tensor([[along, -across, 0.0], [across, along, 0.0]], device=maps.device)
    grid = F.affine_grid(turned.expand(len(maps), 2, 3), list(maps.shape), align_corners=False)
    return F.grid_sample(maps.float(), grid, mode, padding_mode="reflection", align_corners=False).to(maps.dtype)
