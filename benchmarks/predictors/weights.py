"""Predictors made of networks from weights files: ours, packaged or not, and UniverSeg's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from benchmarks.predictors.protocol import NamedPredictor
from incontext.networks import checkpoint
from incontext.networks.families import Network
from incontext.networks.sealed import Damaged, read_sealed_metadata
from incontext.networks.support_code import ImageCodes
from incontext.networks.support_once import SupportOnceNet
from incontext.networks.universeg import load_universeg
from megamed.files import sha256_of


def from_weights(path: Path | None, device: str = "cpu") -> NamedPredictor:
    """Load the network in a weights file, named after the file, or the packaged network if no path is given.

    The logits are divided by the temperature that the file states, if any, since ensembles average probabilities.
    """
    name, path = ("packaged", checkpoint.PACKAGED) if path is None else (path.stem, path)
    metadata = _metadata(path)
    network = load_network(path, device)
    temperature = metadata.get("calibration", {}).get("temperature", 1.0)

    def predict(query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
        return network(query_images, support_images, support_labels) / temperature

    sharing = SupportOncePredictor(network, temperature) if isinstance(network, SupportOnceNet) else None
    return NamedPredictor(name, sharing or predict, sha256_of(path), metadata)


@dataclass(frozen=True)
class SupportOncePredictor:
    """Predictor of a network that encodes labelled images before it is known which supports they belong to."""

    network: SupportOnceNet
    temperature: float

    def __call__(
        self,
        query_images: Float[Tensor, "B 1 H W"],
        support_images: Float[Tensor, "B S 1 H W"],
        support_labels: Float[Tensor, "B S 1 H W"],
    ) -> Float[Tensor, "B 1 H W"]:
        """Return one logit per query pixel."""
        return self.network(query_images, support_images, support_labels) / self.temperature

    def encode_images(self, images: Float[Tensor, "N 1 H W"], labels: Float[Tensor, "N 1 H W"]) -> ImageCodes:
        """Encode images one by one, so that no other image changes the last digits of a code."""
        pairs = zip(images.split(1), labels.split(1), strict=True)
        return ImageCodes.joined([self.network.encode_images(*pair) for pair in pairs])

    def segment(self, query_images: Float[Tensor, "B 1 H W"], supports: ImageCodes) -> Float[Tensor, "B 1 H W"]:
        """Return one logit per query pixel."""
        return self.network.segment(query_images, supports.pooled()) / self.temperature


def load_network(path: Path, device: str = "cpu") -> Network:
    """Load the network in a weights file, ours or UniverSeg's, ready to predict.

    Raises:
        ValueError: If the file holds no network.
    """
    network = checkpoint.load(path) if _is_ours(path) else load_universeg(path)
    return network.to(device).eval()


def _metadata(path: Path) -> dict[str, Any]:
    """Metadata of a weights file of ours; empty if it is UniverSeg's."""
    return checkpoint.read_metadata(path) if _is_ours(path) else {}


def _is_ours(path: Path) -> bool:
    """Whether a file is one of ours, as far as it can be read: what is damaged is told of where ours are read."""
    if path.suffix == ".pt":
        return False
    try:
        return not path.is_file() or "config" in read_sealed_metadata(path)
    except Damaged:
        return True
