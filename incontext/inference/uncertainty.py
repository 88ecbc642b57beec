"""How far a mask hangs on the examples that made it: the entropy of its probabilities over resampled supports."""

import math
from typing import Any, Protocol, Self, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class SelectableCodes(Protocol):
    """Labelled images that a network has encoded one by one; see `support_once.ImageCodes`."""

    @property
    def labels(self) -> Tensor:
        """Their labels (B, S, 1, H, W)."""

    def select(self, places: Tensor) -> Self:
        """Form support sets from the images of one set, each named by their places in it (sets, size)."""

    def pooled(self) -> Any:
        """The sets' codes, as `Network.segment` takes them."""


@runtime_checkable
class Network(Protocol):
    """What segments by a support that is encoded already, such as `SupportOnceNet`."""

    def segment(self, query_images: Tensor, code: Any) -> Tensor:
        """Logits of queries (N, 1, H, W)."""


@torch.inference_mode()
def uncertainty(
    network: Network,
    query_images: Float[Tensor, "N 1 H W"],
    pool: SelectableCodes,
    draws: int = 8,
    seed: int = 0,
    temperature: float = 1.0,
) -> Float[Tensor, "N 1 H W"]:
    """How undecided each pixel is, had other examples been labelled: the entropy of its mean probability, in bits.

    A support is drawn anew by taking as many images as the pool has, with replacement. Each draw costs one prediction,
    for the images are encoded already. A pool of one image knows no other support: only the doubt within its prediction
    remains.

    Args:
        network: What segments.
        query_images: In [0, 1].
        pool: One set of labelled images.
        draws: Supports.
        seed: Decides them; all queries are asked by the same ones.
        temperature: Divides the logits.

    Returns:
        Values in [0, 1]: 0 where all are sure of the same, 1 where foreground is as probable as background.

    Raises:
        ValueError: If there are no draws.

    Source:
        Efron, Bootstrap methods: another look at the jackknife, 1979.
    """
    if draws < 1:
        msg = f"draws are too few: expected at least 1, got {draws}. Use 8."
        raise ValueError(msg)
    generator, size = torch.Generator().manual_seed(seed), pool.labels.shape[1]
    total = torch.zeros_like(query_images)
    for _ in range(draws):
        places = torch.randint(size, (1, size), generator=generator).to(query_images.device)
        total += (network.segment(query_images, pool.select(places).pooled()) / temperature).sigmoid()
    return binary_entropy(total / draws)


def binary_entropy(probabilities: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Entropy of tosses of a coin in bits: 1 at a probability of a half, 0 where the outcome is certain."""
    return (torch.special.entr(probabilities) + torch.special.entr(1 - probabilities)) / math.log(2)
