"""Contrast of images, by quantiles of their scaled grey values."""

import numpy as np
from jaxtyping import Float

QUANTILES = np.linspace(0.05, 0.95, 19)
"""Quantiles of grey values by which contrast is judged."""

CONTRAST, CONTRAST_OF_FEW = 0.15, 0.25
"""Mean difference of quantiles above which images differ in contrast, from many examples or from few.

Of 100 public datasets none exceeds the first between six and six of its images, two thirds do from their negatives.
"""

FEW = 4
"""Number of examples below which contrast is judged less strictly."""


def most_apart(examples: int) -> float:
    """Largest distance of images that are alike in contrast, by the number of examples."""
    return CONTRAST if examples >= FEW else CONTRAST_OF_FEW


def distances(
    ours: Float[np.ndarray, "images quantiles"], theirs: Float[np.ndarray, "others quantiles"]
) -> Float[np.ndarray, " images"]:
    """Mean difference in quantiles of each image from the most similar one of others."""
    return np.abs(ours[:, None] - theirs).mean(axis=2).min(axis=1)
