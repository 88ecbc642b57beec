"""Selection of images to label or to condition on, by their features: the nearest to a query, or a diverse set."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from incontext.networks.protocols import FeatureEncoder

COARSEST = 3
"""Number of stages whose features tell how an image looks."""
REGION_STAGE = 1
"""Stage whose features tell best how a region looks: whether a class is there, on images of eleven datasets."""


@torch.inference_mode()
def image_features(
    network: FeatureEncoder, images: Float[Tensor, "N 1 H W"], stages: int = COARSEST
) -> Float[Tensor, "N C"]:
    """Features of whole images: the coarsest stages of a network, averaged over the image, each of unit length."""
    return looks_of(network.features(images)[-stages:])


def looks_of(stages: Sequence[Float[Tensor, "N _ _ _"]]) -> Float[Tensor, "N C"]:
    """Features of whole images: those of some stages, averaged over the image, each of unit length."""
    return torch.cat([F.normalize(stage.mean((2, 3)), dim=1) for stage in stages], 1)


def unit_looks(stages: Sequence[Float[Tensor, "N _ _ _"]]) -> Float[Tensor, "N C"]:
    """Features of whole images by the coarsest of all stages, of unit length together."""
    return F.normalize(looks_of(stages[-COARSEST:]), dim=1)


def region_features(
    stages: Sequence[Float[Tensor, "N _ _ _"]], weights: Float[Tensor, "N C H W"]
) -> Float[Tensor, "N C F"]:
    """Features of regions of images: a fine stage of a network, averaged with weights, of unit length."""
    fine = stages[min(REGION_STAGE, len(stages) - 1)]
    height, width = fine.shape[-2:]
    shares = F.adaptive_avg_pool2d(weights.to(fine), (height, width))
    return F.normalize(torch.einsum("NChw,NFhw->NCF", shares, fine), dim=-1)


def region_brightness(images: Float[Tensor, "N 1 H W"], regions: Bool[Tensor, "N C H W"]) -> Float[Tensor, "N C"]:
    """Mean grey values of regions of images; NaN where a region is empty."""
    return (images * regions).sum((2, 3)) / regions.sum((2, 3))


def nearest(
    queries: Float[Tensor, "Q C"], candidates: Float[Tensor, "N C"], count: int | None = None
) -> Int64[Tensor, "Q count"]:
    """Indices of the candidates that are nearest to each query, the nearest first; of equally near ones the first.

    Args:
        queries: Features of images to segment.
        candidates: Features of images to choose from.
        count: Number of candidates to select; by default all.

    Raises:
        ValueError: If there are fewer candidates.
    """
    _check_count(count, len(candidates))
    distances = torch.cdist(queries, candidates, compute_mode="donot_use_mm_for_euclid_dist")
    return distances.argsort(dim=1, stable=True)[:, :count]


def diverse(
    candidates: Float[Tensor, "N C"], count: int | None = None, generator: torch.Generator | None = None
) -> Int64[Tensor, " count"]:
    """Indices of candidates that are far from each other: a random one, then always the farthest from all chosen.

    Args:
        candidates: Features of images to choose from.
        count: Number of candidates to select; by default all, in an order of which any beginning is diverse.
        generator: Random generator that draws the first candidate; by default torch's global one.

    Raises:
        ValueError: If there are fewer candidates.

    Source:
        Gonzalez, Clustering to minimize the maximum intercluster distance, 1985.
    """
    _check_count(count, len(candidates))
    chosen = [int(torch.randint(len(candidates), (), generator=generator))] if len(candidates) else []
    apart = torch.full((len(candidates),), torch.inf, device=candidates.device)
    while 0 < len(chosen) < (len(candidates) if count is None else count):
        apart = torch.minimum(apart, (candidates - candidates[chosen[-1]]).norm(dim=1))
        apart[chosen] = -1
        chosen.append(int(apart.argmax()))
    return torch.tensor(chosen, dtype=torch.long, device=candidates.device)


def _check_count(count: int | None, candidates: int) -> None:
    """Make sure that a number of candidates can be chosen.

    Raises:
        ValueError: If there are fewer.
    """
    if count is not None and not 0 < count <= candidates:
        msg = f"count does not fit the candidates: expected 1 to {candidates}, got {count}. Choose others."
        raise ValueError(msg)
