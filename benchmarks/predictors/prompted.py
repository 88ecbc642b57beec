"""Prompted predictors: our networks, of which one corrects the other by prompts, and a user's own."""

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.predictors.episode import content_hash
from benchmarks.predictors.own import object_of
from benchmarks.predictors.protocol import Answer, NamedPrompted, PromptedPredictor
from benchmarks.predictors.source_identity import identity_of
from incontext.networks import checkpoint
from incontext.networks.checkpoint import Checkpoint
from incontext.networks.prompted import PromptedNet, answer, read
from incontext.networks.prompted_weights import load_prompted as load_beside
from incontext.networks.prompted_weights import prompted_beside
from incontext.networks.support_code import ImageCodes, SupportCode
from incontext.networks.support_once import SupportOnceNet
from megamed.files import sha256_of

KEPT = 512
"""Number of labelled images whose codes are kept for further queries; they take about a quarter of a megabyte each."""


@dataclass(frozen=True)
class HashedExample:
    """Labelled image, known by its contents."""

    image: Float[Tensor, "1 1 H W"] = field(compare=False)
    label: Float[Tensor, "1 1 H W"] = field(compare=False)
    fingerprint: str


@dataclass(frozen=True)
class PromptedNetworks:
    """Predictor that encodes every labelled image once, and reads a query once for all prompts on it."""

    network: SupportOnceNet
    prompted: PromptedNet

    def begin(
        self,
        query_images: Float[Tensor, "B 1 H W"],
        support_images: Float[Tensor, "B S 1 H W"],
        support_labels: Float[Tensor, "B S 1 H W"],
    ) -> Answer:
        """Read queries and their supports, of S ≥ 0 images."""
        code = self._code(support_images, support_labels) if support_images.shape[1] else None
        begun = self.prompted.begin(read(self.network, query_images, code))
        return lambda maps, previous: answer(self.network, self.prompted, begun, maps, previous)

    @cached_property
    def _encode(self) -> Any:
        return lru_cache(KEPT)(lambda example: self.network.encode_images(example.image, example.label))

    def _code(self, images: Tensor, labels: Tensor) -> SupportCode:
        pairs = zip(images.flatten(0, 1).split(1), labels.flatten(0, 1).split(1), strict=True)
        codes = ImageCodes.joined([self._encode(HashedExample(*pair, content_hash(*pair))) for pair in pairs])
        return codes.select(torch.arange(images.shape[0] * images.shape[1]).view(images.shape[:2])).pooled()


def load_prompted(name: str, device: str = "cpu") -> NamedPrompted:
    """Load a prompted predictor: `packaged`, the weights of either network, or one of your own as `module:object`.

    Raises:
        FileNotFoundError: If no prompted network stands beside the weights.
        ValueError: If there is none of this name, or the file is damaged.
    """
    if ":" in name and not Path(name).is_file():
        return _own(name)
    return from_weights(None if name == "packaged" else Path(name), device)


def _own(name: str) -> NamedPrompted:
    module, predictor = object_of(name)
    if isinstance(predictor, type) or not isinstance(predictor, PromptedPredictor):
        kind = f"the class {predictor.__name__}" if isinstance(predictor, type) else type(predictor).__name__
        msg = (
            f"{name} takes no prompts: expected an object with `begin`, of query_images, support_images and "
            f"support_labels, got {kind}. Name one."
        )
        raise ValueError(msg)
    return NamedPrompted(name, predictor, identity_of(module, predictor), provenance={})


def from_weights(path: Path | None, device: str = "cpu") -> NamedPrompted:
    """Load the networks of a weights file: the prompted one, or the one that it stands beside.

    Args:
        path: Weights of either; the other's are those packaged beside, or those of the packaged ones that the metadata
            tell. None for the default networks.
        device: Device to compute on.

    Raises:
        FileNotFoundError: If there is no prompted network beside the weights.
        ValueError: If the file is damaged, or the weights that its network stands beside are unknown.
    """
    name, given = ("packaged", checkpoint.PACKAGED) if path is None else (path.stem, path)
    found = Checkpoint.read(given).build().to(device)
    if isinstance(found, PromptedNet):
        base, beside = _base_of(given), given
        network, prompted = checkpoint.load(base, device), found
    else:
        base, beside = given, prompted_beside(given)
        network, prompted = found, load_beside(base, device)
    if not isinstance(network, SupportOnceNet):
        msg = f"{base} takes no prompts: expected a support-once network, got {type(network).__name__}."
        raise ValueError(msg)
    known = [checkpoint.read_metadata(each) for each in (base, beside)]
    datasets = sorted({name for each in known for name in each.get("provenance", {}).get("datasets", ())})
    return NamedPrompted(
        name,
        PromptedNetworks(network, prompted),
        f"{sha256_of(base)} and {sha256_of(beside)}",
        {"provenance": {"datasets": datasets}},
    )


def _base_of(path: Path) -> Path:
    """Packaged weights that a prompted network stands beside, as its metadata tell."""
    beside = checkpoint.read_metadata(path).get("provenance", {}).get("beside") or {}
    base = next((each for each in checkpoint.NAMED.values() if sha256_of(each) == beside.get("sha256")), None)
    if base is None:
        msg = (
            f"{path} stands beside unknown weights: expected one of {', '.join(checkpoint.NAMED)}, got "
            f"{beside.get('file')}. Put it beside them as {prompted_beside(Path('NAME.safetensors')).name}."
        )
        raise ValueError(msg)
    return base
