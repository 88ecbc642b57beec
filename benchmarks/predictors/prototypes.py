"""Matching of pixels with prototypes: mean features of what the support labels, from the packaged network's encoder.

It takes 0.07 s per support of 16 images and 0.01 s per query of 128×128 pixels, on one core.
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

LEVELS = (1, 2, 3)
"""Stages of the encoder whose features are joined on the grid of the first; at strides of 4, 8 and 16 pixels."""
SHARPNESS = 20.0
"""What cosine similarities are multiplied by, in both papers."""
WINDOW = 4
"""Side of the window that a local prototype is the mean of, in features."""
PURE = 0.95
"""Share of a window that must be of one kind for it to give a prototype."""

Prototypes = Callable[[Tensor, Tensor], Tensor]
"""What a kind looks like, (P, C), from support features (S, C, h, w) that hold shares (S, 1, h, w) of it."""


def prototype_matching(network: SupportOnceNet, prototypes: Prototypes) -> Predictor:
    """Foreground is what resembles the support's foreground more than its background."""

    def fit(support: Support) -> Fitted:
        features = joined_features(network, support.images)
        shares = F.adaptive_avg_pool2d(support.labels, (features.shape[-2], features.shape[-1]))
        foreground, background = (prototypes(features, share) for share in (shares, 1 - shares))

        def predict(query_image: Float[Tensor, "1 1 H W"]) -> Float[Tensor, "1 1 H W"]:
            query = joined_features(network, query_image)[0]
            logits = (resemblance(query, foreground) - resemblance(query, background))[None, None]
            return F.interpolate(logits, query_image.shape[-2:], mode="bilinear", align_corners=False)

        return predict

    return fitted_once(fit)


def joined_features(network: SupportOnceNet, images: Float[Tensor, "N 1 H W"]) -> Float[Tensor, "N C h w"]:
    """Features of several stages, each of unit length, on the finest grid among them."""
    found = network.features(images)
    stages = [F.normalize(found[level], dim=1) for level in LEVELS]
    return torch.cat([F.interpolate(each, stages[0].shape[-2:], mode="bilinear") for each in stages], 1)


def class_prototypes(features: Float[Tensor, "S C h w"], shares: Float[Tensor, "S 1 h w"]) -> Float[Tensor, "1 C"]:
    """The one prototype of a class: the mean of its features in each image, averaged over images.

    Source:
        Wang et al., PANet, ICCV 2019, without its training.
    """
    return class_prototype(features, shares)[None]


def grid_prototypes(features: Float[Tensor, "S C h w"], shares: Float[Tensor, "S 1 h w"]) -> Float[Tensor, "P C"]:
    """Local prototypes, of windows that hold nearly nothing but the class, beside that of the whole class.

    Source:
        Ouyang et al., Self-supervision with superpixels (ALPNet), ECCV 2020, without its training.
    """
    local = rearrange(F.avg_pool2d(features, WINDOW), "S C h w -> (S h w) C")
    pure = rearrange(F.avg_pool2d(shares, WINDOW), "S 1 h w -> (S h w)") >= PURE
    return torch.cat([class_prototype(features, shares)[None], local[pure]])


def class_prototype(features: Float[Tensor, "S C h w"], shares: Float[Tensor, "S 1 h w"]) -> Float[Tensor, " C"]:
    """The mean over the images that show a class of its mean features there; zero if none does."""
    masses = shares.sum((2, 3))
    means = (features * shares).sum((2, 3)) / masses.clamp(min=1e-6)
    shown = masses > 0
    return (means * shown).sum(0) / shown.sum().clamp(min=1)


def resemblance(query: Float[Tensor, "C h w"], prototypes: Float[Tensor, "P C"]) -> Float[Tensor, "h w"]:
    """Similarity of every feature to the prototypes that it resembles most."""
    similarity = similarities(query, prototypes)
    return (similarity.softmax(0) * similarity).sum(0)


def similarities(query: Float[Tensor, "C h w"], prototypes: Float[Tensor, "P C"]) -> Float[Tensor, "P h w"]:
    """Cosines of every feature with every prototype, sharpened."""
    return SHARPNESS * torch.einsum("chw,pc->phw", F.normalize(query, dim=0), F.normalize(prototypes, dim=1))
