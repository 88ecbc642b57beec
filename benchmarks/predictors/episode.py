"""Predictors that take one episode at a time, so that neither batch nor order of the support can change a result."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.predictors.protocol import Predictor

KEPT = 16
"""Number of supports whose fitted models are kept for further queries: as many as an ensemble may have draws."""


@dataclass(frozen=True)
class Support:
    """Support set sorted by the hashes of its contents, so that its order changes nothing."""

    images: Float[Tensor, "S 1 H W"] = field(compare=False)
    labels: Float[Tensor, "S 1 H W"] = field(compare=False)
    fingerprint: str
    """Hash of the contents, in hexadecimal."""

    @classmethod
    def of(cls, images: Float[Tensor, "S 1 H W"], labels: Float[Tensor, "S 1 H W"]) -> Self:
        """Sort labelled images by the hashes of their contents."""
        hashes = [content_hash(image, label) for image, label in zip(images, labels, strict=True)]
        order = sorted(range(len(hashes)), key=hashes.__getitem__)
        fingerprint = hashlib.sha256("".join(sorted(hashes)).encode()).hexdigest()
        return cls(images[order], labels[order], fingerprint)

    @property
    def seed(self) -> int:
        """Seed below 2³², from the contents, for all that a predictor draws at random."""
        return int(self.fingerprint[:8], 16)


EpisodePredictor = Callable[[Tensor, Support], Tensor]
"""Function from a query image (1, 1, H, W) and its support to logits (1, 1, H, W)."""
Fitted = Callable[[Tensor], Tensor]
"""Function from a query image (1, 1, H, W) to logits (1, 1, H, W), by a support that it was fitted to."""


def one_by_one(predict: EpisodePredictor) -> Predictor:
    """Make a predictor of batches out of one of single episodes."""

    def predictor(
        query_images: Float[Tensor, "B 1 H W"],
        support_images: Float[Tensor, "B S 1 H W"],
        support_labels: Float[Tensor, "B S 1 H W"],
    ) -> Float[Tensor, "B 1 H W"]:
        supports = map(Support.of, support_images, support_labels)
        return torch.cat([predict(query, each) for query, each in zip(query_images.split(1), supports, strict=True)])

    return predictor


def fitted_once(fit: Callable[[Support], Fitted]) -> Predictor:
    """Make a predictor out of a function that fits a support; further queries with the same support cost no fit."""
    remembered = lru_cache(KEPT)(fit)
    return one_by_one(lambda query_image, support: remembered(support)(query_image))


def content_hash(*tensors: Tensor) -> str:
    """SHA-256 of the values of some tensors, in hexadecimal."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()
