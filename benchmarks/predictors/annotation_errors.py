"""Annotation errors of support labels: too small, too large, out of place, with blots, of another image, or scribbled.

Each function takes labels in {0, 1}, a strength, and `names`: fingerprints of the labelled images, which seed all that
is random.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from benchmarks.predictors.chance import uniform
from incontext.training.augment import dilate, erode, has_lost
from incontext.training.prompts import PromptConfig, first_prompts, partial_labels

AnnotationError = Callable[[Tensor, float, Tensor], Tensor]
"""Function from labels (B, S, 1, H, W), a strength and the images' fingerprints (B, S) to labels."""

BLOT_SHARE = 1 / 16
"""Radius of a blot, as a share of the image's side."""


def eroded(
    labels: Float[Tensor, "B S 1 H W"], reach_px: float, names: Int64[Tensor, "B S"]
) -> Float[Tensor, "B S 1 H W"]:
    """Erode each label by a number of pixels, but stop before it would be empty."""
    for _ in range(int(reach_px)):
        smaller = erode(labels, reach_px=1)
        lost = has_lost(smaller.flatten(0, 2), labels.flatten(0, 2)).view(names.shape)
        labels = torch.where(lost[..., None, None, None], labels, smaller)
    return labels


def dilated(
    labels: Float[Tensor, "B S 1 H W"], reach_px: float, names: Int64[Tensor, "B S"]
) -> Float[Tensor, "B S 1 H W"]:
    """Dilate each label by a number of pixels."""
    return dilate(labels, int(reach_px))


def shifted(
    labels: Float[Tensor, "B S 1 H W"], distance_px: float, names: Int64[Tensor, "B S"]
) -> Float[Tensor, "B S 1 H W"]:
    """Shift each label by a distance in pixels, in a direction of its own; the part that leaves the image is lost."""
    angles = 2 * torch.pi * uniform(names, 1).flatten()
    offsets = (distance_px * torch.stack([angles.sin(), angles.cos()], 1)).round().long()
    for axis, sides in enumerate(offsets.T, start=-2):
        labels = _moved(labels.flatten(0, 1), sides, axis).view_as(labels)
    return labels


def _moved(labels: Float[Tensor, "N 1 H W"], offsets: Int64[Tensor, " N"], axis: int) -> Float[Tensor, "N 1 H W"]:
    """Move each label along an axis, -2 or -1, by an offset of its own."""
    side = labels.shape[axis]
    sources = torch.arange(side, device=labels.device) - offsets[:, None]
    shape = (len(labels), 1, -1, 1) if axis == -2 else (len(labels), 1, 1, -1)
    inside = ((sources >= 0) & (sources < side)).view(shape)
    return labels.gather(axis, sources.clamp(0, side - 1).view(shape).expand_as(labels)) * inside


def blotted(
    labels: Float[Tensor, "B S 1 H W"], count: float, names: Int64[Tensor, "B S"]
) -> Float[Tensor, "B S 1 H W"]:
    """Exchange foreground and background inside discs, `count` of them in each image, at random positions."""
    height, width = labels.shape[-2:]
    radius = BLOT_SHARE * max(height, width)
    down, along = uniform(names, 2 * int(count)).unflatten(-1, (2, -1, 1)).unbind(-3)
    rows, columns = (torch.arange(side, device=labels.device) + 0.5 for side in (height, width))
    distances = (rows - height * down).square()[..., None] + (columns - width * along).square()[..., None, :]
    blots = (distances < radius**2).any(-3).unsqueeze(-3)
    return torch.where(blots, 1 - labels, labels)


def exchanged(
    labels: Float[Tensor, "B S 1 H W"], share: float, names: Int64[Tensor, "B S"]
) -> Float[Tensor, "B S 1 H W"]:
    """Pass a share of each support's labels on to the next of their images; fewer than two labels stay in place."""
    count = round(share * names.shape[1])
    if count < 2:
        return labels
    chosen = uniform(names, 1).squeeze(-1).argsort(1)[:, :count]
    sets = torch.arange(len(labels), device=labels.device)[:, None]
    passed = labels.clone()
    passed[sets, chosen] = labels[sets, chosen.roll(1, dims=1)]
    return passed


def scribbled(
    labels: Float[Tensor, "B S 1 H W"], count: float, names: Int64[Tensor, "B S"]
) -> Float[Tensor, "B S 1 H W"]:
    """Let no more be known of each label than `count` scribbles inside and as many outside; the rest is unknown."""
    number = int(count)
    config = PromptConfig(kinds=("scribbles",), inside=(number, number), outside=(number, number))
    seeds = (name % 2**63 for name in names.flatten().tolist())
    known = [
        partial_labels(first_prompts(label, np.random.default_rng(seed), config))
        for label, seed in zip(labels.flatten(0, 1).split(1), seeds, strict=True)
    ]
    return torch.cat(known).view_as(labels)


ANNOTATION_ERRORS: dict[str, AnnotationError] = {
    "eroded": eroded,
    "dilated": dilated,
    "shifted": shifted,
    "blotted": blotted,
    "exchanged": exchanged,
    "scribbled": scribbled,
}
"""Annotation errors by the name that an alteration states."""
OF_SETS = ("exchanged",)
"""Names of the annotation errors by which a label depends on the other images of its support."""
