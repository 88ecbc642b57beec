"""Labels that are not drawn out: scribbles, clicks and boxes, or one part of the image; all else is unknown."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from incontext.training.prompts import first_prompts, partial_labels
from incontext.training.windows import corner_at
from megamed.unknown import UNKNOWN_SHARE

PARTIAL = 0.7
"""Chance of each label of a set that some are partial in."""
CROPPED = 0.3
"""Share of the partial labels that are drawn out in one part of the image; the others are prompts."""
SIDES = (0.3, 0.8)
"""Range of the side of that part, as a share of the image's."""


def partly_known(labels: Float[Tensor, "n 1 H W"], rng: np.random.Generator) -> Float[Tensor, "n 1 H W"]:
    """Make some labels of a set partial, as a person leaves them who draws in haste.

    Args:
        labels: Labels in {0, 1}, and `UNKNOWN_SHARE` where nobody judged.
        rng: Source of randomness.
    """
    kinds = rng.random((2, len(labels)))
    is_partial, is_cropped = kinds[0] < PARTIAL, kinds[1] < CROPPED
    shown = labels.clone()
    prompted = torch.from_numpy(np.flatnonzero(is_partial & ~is_cropped))
    if len(prompted):
        shown[prompted] = partial_labels(first_prompts(labels[prompted], rng))
    for index in np.flatnonzero(is_partial & is_cropped):
        shown[index] = _cropped(labels[index], rng)
    return shown


def _cropped(label: Float[Tensor, "1 H W"], rng: np.random.Generator) -> Float[Tensor, "1 H W"]:
    """Keep a window of a label, around a pixel of its structure if there is one."""
    sides = np.array(label.shape[1:])
    window = np.round(rng.uniform(*SIDES, size=2) * sides).astype(int)
    top, left = corner_at(label[0].numpy() > UNKNOWN_SHARE, window, rng)
    kept = torch.full_like(label, UNKNOWN_SHARE)
    place = (..., slice(top, top + window[0]), slice(left, left + window[1]))
    kept[place] = label[place]
    return kept
