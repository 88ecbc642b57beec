"""How far to trust a mask: where it hangs on the examples that it was made by, and the Dice that it probably has."""

import math
from typing import Any, Protocol, Self, runtime_checkable

import torch
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

LEAST_SHARE = 0.02
"""Shares count as at least so far from 0 and 1, where their logarithmic odds would grow without bounds."""


@runtime_checkable
class Codes(Protocol):
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
    pool: Codes,
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


class QualityModel(BaseModel):
    """Tells the Dice of masks from the probabilities that they come with.

    These promise a precision (`confidence`) and a recall (`coverage`). How far such promises are to be believed is
    fitted on tasks that the network did not learn from: the odds of Dice are a product of powers of theirs. Nothing
    else is looked at, so that no pass of the network is needed. What looks alike to the network looks certain to it:
    a support of another kind of images than the queries makes wrong masks that promise much.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bias: float
    confidence: float
    """Power of the odds of the promised precision."""
    coverage: float
    """Power of the odds of the promised recall."""
    flag_below: float = Field(ge=0, le=1)
    """Masks of a lower predicted Dice are to be looked at first."""
    measured: dict[str, float | None] = {}
    """How well it does on datasets that it was not fitted on; see `incontext.calibration.fit_quality`."""

    def predict(self, probabilities: Float[Tensor, "N *grid"], masks: Bool[Tensor, "N *grid"]) -> Float[Tensor, " N"]:
        """The Dice in (0, 1) that each mask probably has with what a person would draw.

        Args:
            probabilities: Of foreground, of images or volumes on any grid; of logits divided by the temperature.
            masks: What is judged: as a rule, where foreground is more probable than anything else.
        """
        return self.believe(promises(probabilities, masks))

    def believe(self, promised: Float[Tensor, "N 2"]) -> Float[Tensor, " N"]:
        """The Dice that follows from what masks promise; see `promises`."""
        return (promised @ torch.tensor([self.confidence, self.coverage]).to(promised) + self.bias).sigmoid()

    def flags(self, dice: Float[Tensor, " N"]) -> Bool[Tensor, " N"]:
        """Which masks to look at first, by their predicted Dice."""
        return dice < self.flag_below


def promises(probabilities: Float[Tensor, "N *grid"], masks: Bool[Tensor, "N *grid"]) -> Float[Tensor, "N 2"]:
    """Logarithmic odds of the precision and the recall that masks have if their probabilities are true.

    Of n pixels in the mask, a sum p of probabilities is foreground, out of a sum q in the whole image: p / n and p / q.
    A mask without foreground promises nothing.
    """
    return promised_odds(tally(probabilities, masks))


def tally(probabilities: Float[Tensor, "N *grid"], masks: Bool[Tensor, "N *grid"]) -> Float[Tensor, "N 3"]:
    """The p, n and q of `promises`; those of parts of an image add up to its own."""
    truly = (probabilities * masks).flatten(1).sum(1, dtype=torch.float32)
    everywhere = probabilities.flatten(1).sum(1, dtype=torch.float32)
    return torch.stack([truly, masks.flatten(1).sum(1).to(truly), everywhere], dim=1)


def promised_odds(tallies: Float[Tensor, "N 3"]) -> Float[Tensor, "N 2"]:
    """What `promises` makes of p, n and q."""
    truly, pixels, everywhere = tallies.unbind(1)
    shares = torch.stack([truly / pixels.clamp(min=1), truly / everywhere.clamp(min=1e-6)], dim=1)
    return shares.clamp(LEAST_SHARE, 1 - LEAST_SHARE).logit()
