"""Looks of images, as vectors by which a great many tasks are compared with an unlabelled image at once."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32
from torch.nn import functional as F

from incontext.images.contrast import QUANTILES
from incontext.images.normalisation import choose
from incontext.images.source_image import SourceImage
from incontext.images.tiling import Tiling
from incontext.inference.network_estimator import NetworkEstimator
from incontext.inference.selection import image_features
from incontext.inference.support_pool import Preparation
from incontext.networks.protocols import FeatureEncoder

SIZE_PX = 128
"""Side of the square on which images are looked at."""
MOST_PLANES = 32
"""Planes that are looked at."""
CONTRAST_WEIGHT = 0.3
"""Weight of the quantiles of grey values beside the features, both of unit length: the best of 0, 0.3, 1 and 2."""


@torch.inference_mode()
def look(cases: Sequence[SourceImage], estimator: NetworkEstimator) -> Float32[np.ndarray, " C"]:
    """Describe images by the mean features of whole planes, and the mean quantiles of their grey values.

    The inner product of two descriptions is the greater, the more alike the images are; that of one with itself is 1.

    Args:
        cases: Images, of which evenly spread planes are looked at.
        estimator: Estimator of a network that computes features.

    Raises:
        ValueError: If it computes none.
    """
    network = estimator.network
    if not isinstance(network, FeatureEncoder):
        msg = f"network cannot look at images: expected one that computes features, got {type(network).__name__}."
        raise ValueError(msg)
    preparation = Preparation(choose(cases, "auto"), Tiling(None, "whole images"), SIZE_PX)
    squares = [square for case in cases for square in preparation.squares(case)]
    planes = torch.from_numpy(np.stack(squares[:: -(-len(squares) // MOST_PLANES)]))[:, None]
    device = next(network.parameters()).device
    features = F.normalize(image_features(network, planes.to(device)).mean(0), dim=0).cpu().numpy()
    quantiles = np.quantile(planes.flatten(1).numpy(), QUANTILES, axis=1).mean(1).astype(np.float32)
    return _unit(np.concatenate([features, CONTRAST_WEIGHT * _unit(quantiles - 0.5)]))


def _unit(vector: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
    return vector / max(float(np.linalg.norm(vector)), np.finfo(np.float32).tiny)
