"""Masks of the field of view: what a camera shows, on black."""

import numpy as np
from jaxtyping import Bool, Float

LEAST_SHOWN, MOST_SHOWN = 0.4, 0.98
"""Shares of its image that a field of view covers."""
DARK = 0.1
"""Largest grey value of nearly all that lies around it, as a share of the usual one within."""
NEARLY_ALL = 95
COVER = (
    "cover just what is not black in their images, as a field of view does: expected a structure. If another one is "
    "meant, give its labels in their place."
)
"""Warning on such masks, behind what they are."""


def is_field_of_view(image: Float[np.ndarray, "*axes"], mask: Bool[np.ndarray, "*axes"]) -> bool:
    """Whether a mask covers a large part of an image, around which nearly all is black and within hardly anything."""
    if not LEAST_SHOWN <= np.mean(mask) <= MOST_SHOWN:
        return False
    inside, outside = image[mask] - image.min(), image[~mask] - image.min()
    limit = DARK * np.median(inside)
    return bool(np.percentile(outside, NEARLY_ALL) <= limit < np.percentile(inside, 100 - NEARLY_ALL))
