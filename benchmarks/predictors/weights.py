"""Predictors made of networks from weights files: ours, packaged or not, and UniverSeg's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from benchmarks.plans.task_plans import stable_hash
from benchmarks.predictors.episode import KEPT
from benchmarks.predictors.protocol import NamedPredictor
from incontext.networks import checkpoint
from incontext.networks.copies import CHANGES, COPIES, FEW, MIRRORED, copies_of
from incontext.networks.families import Network
from incontext.networks.sealed import Damaged, read_sealed_metadata
from incontext.networks.support_code import ImageCodes, SupportCode
from incontext.networks.support_once import SupportOnceNet
from incontext.networks.universeg import load_universeg
from incontext.networks.weights_metadata import Calibration
from megamed.files import sha256_of

VIEWS: tuple[tuple[int, ...], ...] = ((), MIRRORED)
"""Axes that are reversed in each view of query and support, where these are few."""


def from_weights(path: Path | None, device: str = "cpu", few: int = FEW) -> NamedPredictor:
    """Load the network in a weights file, named after the file, or the packaged network if no path is given.

    The logits are divided by the temperature that the file states, if any, since ensembles average probabilities.

    Args:
        path: The file.
        device: Device to compute on.
        few: Largest support of which a support-once network is shown changed copies, too, as by `incontext.Segmenter`.
    """
    name, path = ("packaged", checkpoint.PACKAGED) if path is None else (path.stem, path)
    metadata = _metadata(path)
    network = load_network(path, device)
    temperature = Calibration.of(metadata).temperature
    fingerprint = sha256_of(path)
    if isinstance(network, SupportOnceNet):
        shown = f"-{stable_hash(few, CHANGES):016x}" if few else ""
        return NamedPredictor(name, SupportOncePredictor(network, temperature, few), fingerprint + shown, metadata)

    def predict(query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
        return network(query_images, support_images, support_labels) / temperature

    return NamedPredictor(name, predict, fingerprint, metadata)


@dataclass(frozen=True)
class SupportOncePredictor:
    """Predictor of a network that encodes labelled images before it is known which supports they belong to."""

    network: SupportOnceNet
    temperature: float
    few: int = FEW
    """Largest support of which the network is shown changed copies, too."""

    def __call__(
        self,
        query_images: Float[Tensor, "B 1 H W"],
        support_images: Float[Tensor, "B S 1 H W"],
        support_labels: Float[Tensor, "B S 1 H W"],
    ) -> Float[Tensor, "B 1 H W"]:
        """Return one logit per query pixel."""
        if support_images.shape[1] > self.few:
            return self.network(query_images, support_images, support_labels) / self.temperature
        shown = with_copies(support_images, support_labels)
        codes = [self.network.encode_support(*(each.flip(axes) for each in shown)) for axes in VIEWS]
        return self._mean_of_views(query_images, codes)

    def encode_images(self, images: Float[Tensor, "N 1 H W"], labels: Float[Tensor, "N 1 H W"]) -> "SharedImages":
        """Take over labelled images, which are encoded when supports of them are asked."""
        return SharedImages(EncodedImages(self.network, images, labels))

    def segment(self, query_images: Float[Tensor, "B 1 H W"], supports: "SharedImages") -> Float[Tensor, "B 1 H W"]:
        """Return one logit per query pixel."""
        assert supports.indices is not None
        if supports.indices.shape[1] > self.few:
            code = supports.images.codes.select(supports.indices).pooled()
            return self.network.segment(query_images, code) / self.temperature
        return self._mean_of_views(query_images, supports.images.codes_with_copies(supports.indices))

    def _mean_of_views(self, query_images: Tensor, codes: Sequence[SupportCode]) -> Tensor:
        """Mean logits of queries as they are and mirrored, by a code of their supports for each of `VIEWS`."""
        segment = self.network.segment
        views = [segment(query_images.flip(axes), each).flip(axes) for axes, each in zip(VIEWS, codes, strict=True)]
        return torch.stack(views).mean(0) / self.temperature


class EncodedImages:
    """Labelled images, encoded one by one, so that no other image changes the last digits of a code.

    Args:
        network: Network that encodes them, when that is first needed.
        images: Grey values in [0, 1].
        labels: Labels in {0, 1} and `UNKNOWN_SHARE`.
    """

    def __init__(
        self, network: SupportOnceNet, images: Float[Tensor, "N 1 H W"], labels: Float[Tensor, "N 1 H W"]
    ) -> None:
        self._network, self._images, self._labels = network, images, labels
        self._copied = lru_cache(KEPT)(self._encode_copies)

    @cached_property
    def codes(self) -> ImageCodes:
        """Codes of all images, as one set."""
        pairs = zip(self._images.split(1), self._labels.split(1), strict=True)
        return ImageCodes.joined([self._network.encode_images(*pair) for pair in pairs])

    def codes_with_copies(self, indices: Int[Tensor, "sets size"]) -> list[SupportCode]:
        """Codes of supports with the changed copies of their images, in each of `VIEWS`; only the latest are kept."""
        sets = [[self._copied(index) for index in row] for row in indices.tolist()]
        return [
            SupportCode.stacked([ImageCodes.joined([of_image[view] for of_image in each]).pooled() for each in sets])
            for view in range(len(VIEWS))
        ]

    def _encode_copies(self, index: int) -> list[ImageCodes]:
        shown = copies_of(self._images[index, None], self._labels[index, None])
        return [self._network.encode_images(*(each.flip(axes) for each in shown)) for axes in VIEWS]


@dataclass(frozen=True)
class SharedImages:
    """Labelled images of which supports are formed.

    Attributes:
        images: All images.
        indices: Images of each support; None before any was formed.
    """

    images: EncodedImages
    indices: Int[Tensor, "sets size"] | None = None

    def select(self, indices: Int[Tensor, "sets size"]) -> Self:
        """Form supports, of which each row of indices names the images."""
        return replace(self, indices=indices)


def with_copies(
    images: Float[Tensor, "B S 1 H W"], labels: Float[Tensor, "B S 1 H W"]
) -> tuple[Float[Tensor, "B more 1 H W"], Float[Tensor, "B more 1 H W"]]:
    """Supports with the changed copies of their images."""
    copied = copies_of(images.flatten(0, 1), labels.flatten(0, 1))
    shown = [rearrange(each, "(K B S) one H W -> B (K S) one H W", B=len(images), K=COPIES) for each in copied]
    return shown[0], shown[1]


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
