"""Matching of pixels with prototypes: mean features of the labelled regions, from the packaged network's encoder.

A support of 16 images takes 0.07 s and a query of 128×128 pixels 0.01 s, on one core.
"""

from collections.abc import Callable

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from benchmarks.predictors.episode import Fitted, Support, fitted_once
from benchmarks.predictors.protocol import Predictor
from incontext.networks.support_once import SupportOnceNet
from incontext.networks.unknown import judged, kinds

LEVELS = (1, 2, 3)
"""Stages of the encoder whose features are joined on the grid of the first; at strides of 4, 8 and 16 pixels."""
SHARPNESS = 20.0
"""Factor of the cosine similarities, the same in both papers."""
WINDOW = 4
"""Side of the window whose mean is a local prototype, in features."""
PURE = 0.95
"""Minimum share of a window that must belong to one class for its mean to be a prototype."""

Prototypes = Callable[[Tensor, Tensor], Tensor]
"""Function from support features (S, C, h, w) and the share of a class in each, (S, 1, h, w), to prototypes (P, C)."""


def prototype_matching(network: SupportOnceNet, prototypes: Prototypes) -> Predictor:
    """Make a predictor of foreground where features are more similar to foreground than to background prototypes."""

    def fit(support: Support) -> Fitted:
        features = joined_features(network, support.images)
        shares = kinds(support.labels, judged(support.labels), features.shape[-2:])
        foreground, background = (prototypes(features, share) for share in shares.unbind(1))

        def predict(query_image: Float[Tensor, "1 1 H W"]) -> Float[Tensor, "1 1 H W"]:
            query = joined_features(network, query_image)[0]
            logits = (resemblance(query, foreground) - resemblance(query, background))[None, None]
            return F.interpolate(logits, query_image.shape[-2:], mode="bilinear", align_corners=False)

        return predict

    return fitted_once(fit)


def joined_features(network: SupportOnceNet, images: Float[Tensor, "N 1 H W"]) -> Float[Tensor, "N C h w"]:
    """Concatenated features of several stages, each of unit length, on the finest grid among them."""
    found = network.features(images)
    stages = [F.normalize(found[level], dim=1) for level in LEVELS]
    return torch.cat([F.interpolate(each, stages[0].shape[-2:], mode="bilinear") for each in stages], 1)


def class_prototypes(features: Float[Tensor, "S C h w"], shares: Float[Tensor, "S 1 h w"]) -> Float[Tensor, "1 C"]:
    """Single prototype of a class: the mean of its features in each image, averaged over images.

    Source:
        Wang et al., PANet, ICCV 2019, without its training.
    """
    return class_prototype(features, shares)[None]


def grid_prototypes(features: Float[Tensor, "S C h w"], shares: Float[Tensor, "S 1 h w"]) -> Float[Tensor, "P C"]:
    """Local prototypes, the means of windows that hold nearly nothing but the class, and that of the whole class.

    Source:
        Ouyang et al., Self-supervision with superpixels (ALPNet), ECCV 2020, without its training.
    """
    local = rearrange(F.avg_pool2d(features, WINDOW), "S C h w -> (S h w) C")
    pure = rearrange(F.avg_pool2d(shares, WINDOW), "S 1 h w -> (S h w)") >= PURE
    return torch.cat([class_prototype(features, shares)[None], local[pure]])


def class_prototype(features: Float[Tensor, "S C h w"], shares: Float[Tensor, "S 1 h w"]) -> Float[Tensor, " C"]:
    """Mean, over the images that show a class, of its mean features in each; zero if none shows it."""
    masses = shares.sum((2, 3))
    means = (features * shares).sum((2, 3)) / masses.clamp(min=1e-6)
    shown = masses > 0
    return (means * shown).sum(0) / shown.sum().clamp(min=1)


def resemblance(query: Float[Tensor, "C h w"], prototypes: Float[Tensor, "P C"]) -> Float[Tensor, "h w"]:
    """Similarity of every feature to the prototypes, weighted towards those that are most similar."""
    similarity = similarities(query, prototypes)
    return (similarity.softmax(0) * similarity).sum(0)


def similarities(query: Float[Tensor, "C h w"], prototypes: Float[Tensor, "P C"]) -> Float[Tensor, "P h w"]:
    """Cosine similarities of every feature with every prototype, times `SHARPNESS`."""
    return SHARPNESS * torch.einsum("chw,pc->phw", F.normalize(query, dim=0), F.normalize(prototypes, dim=1))
