"""What can be scored: the predictor protocol, two baselines that learn nothing, and networks from weights."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from incontext import checkpoint
from incontext.universeg import load_universeg

CONFIDENT_LOGIT = 10.0
"""Logit for a pixel copied from an annotation."""


@runtime_checkable
class Predictor(Protocol):
    """Anything that segments queries by the example of supports; a logit ≥ 0 is foreground."""

    def __call__(
        self,
        query_images: Float[Tensor, "B 1 H W"],
        support_images: Float[Tensor, "B S 1 H W"],
        support_labels: Float[Tensor, "B S 1 H W"],
    ) -> Float[Tensor, "B 1 H W"]:
        """Return one logit per query pixel."""
        ...


@dataclass(frozen=True)
class NamedPredictor:
    """A predictor as results know it."""

    name: str
    predict: Predictor
    fingerprint: str
    """Tells two predictors of one name apart: the weights' SHA-256, or the baseline's name."""
    provenance: dict[str, Any]
    """Where the weights come from, as their file says."""


def mean_mask(
    query_images: Float[Tensor, "B 1 H W"],
    support_images: Float[Tensor, "B S 1 H W"],
    support_labels: Float[Tensor, "B S 1 H W"],
) -> Float[Tensor, "B 1 H W"]:
    """Foreground where at least half of the support labels are: what position alone tells."""
    return torch.logit(support_labels.mean(dim=1), eps=1e-4)


def nearest_copy(
    query_images: Float[Tensor, "B 1 H W"],
    support_images: Float[Tensor, "B S 1 H W"],
    support_labels: Float[Tensor, "B S 1 H W"],
) -> Float[Tensor, "B 1 H W"]:
    """The label of the support image nearest to the query, in L2 distance of the intensities at 32×32."""
    queries = adaptive_avg_pool2d(query_images, 32).unsqueeze(1)
    supports = adaptive_avg_pool2d(support_images.flatten(0, 1), 32).unflatten(0, support_images.shape[:2])
    nearest = (queries - supports).square().sum(dim=(2, 3, 4)).argmin(dim=1)
    copied = support_labels[torch.arange(len(nearest), device=nearest.device), nearest]
    return (2 * copied - 1) * CONFIDENT_LOGIT


BASELINES: dict[str, Predictor] = {"mean-mask": mean_mask, "nearest-copy": nearest_copy}
"""Predictors without weights, by name."""


def load_predictor(name: str, device: str = "cpu") -> NamedPredictor:
    """A baseline by name, the `packaged` network, or that of a weights file (ours or UniverSeg's).

    Raises:
        ValueError: If the name is none of these, or the file holds no network.
    """
    if name in BASELINES:
        return NamedPredictor(name, BASELINES[name], fingerprint=name, provenance={})
    if name == "packaged":
        return from_weights(None, device)
    if Path(name).is_file():
        return from_weights(Path(name), device)
    msg = f"Unknown predictor: expected {', '.join(BASELINES)}, packaged or a weights file, got {name!r}."
    raise ValueError(msg)


def from_weights(path: Path | None, device: str = "cpu") -> NamedPredictor:
    """The network in a weights file, named after the file; the packaged network if there is no path.

    Its logits are divided by the temperature that the file states, if any, since ensembles average probabilities.
    """
    name, path = ("packaged", checkpoint.PACKAGED) if path is None else (path.stem, path)
    metadata = _metadata(path)
    network = load_network(path, device)
    temperature = metadata.get("calibration", {}).get("temperature", 1.0)

    def predict(query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
        return network(query_images, support_images, support_labels) / temperature

    return NamedPredictor(name, predict, hashlib.sha256(path.read_bytes()).hexdigest(), metadata)


def load_network(path: Path, device: str = "cpu") -> nn.Module:
    """The network in a weights file, ours or UniverSeg's, ready to predict.

    Raises:
        ValueError: If the file holds no network.
    """
    network = checkpoint.load(path) if _metadata(path) else load_universeg(path)
    return network.to(device).eval()


def _metadata(path: Path) -> dict[str, Any]:
    """What a weights file of ours says about itself; nothing if it is not one."""
    try:
        return checkpoint.read_metadata(path)
    except ValueError:
        return {}


def load_predictors(names: Sequence[str], device: str = "cpu") -> list[NamedPredictor]:
    """Load several predictors.

    Raises:
        ValueError: If two of them would carry the same name in the results.
    """
    loaded = [load_predictor(name, device) for name in names]
    labels = [predictor.name for predictor in loaded]
    if len(set(labels)) < len(labels):
        msg = f"Predictors share a name: expected distinct names, got {', '.join(labels)}. Rename a file."
        raise ValueError(msg)
    return loaded
