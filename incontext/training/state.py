"""State of a training run, from its start to the file that a killed run goes on from."""

import logging
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from incontext.networks import checkpoint
from incontext.networks.families import SavedNetwork, build
from incontext.training.config import TrainConfig
from incontext.training.episodes import TrainingData
from incontext.training.saved_state import FIX, read_state, write_state

logger = logging.getLogger(__name__)

FREE = {"steps", "minutes", "workers", "log_every", "dev_every", "probe_every", "checkpoint_every"}
"""Settings that may change when a run goes on."""
AND = " | "
"""Separator of licences under which the same dataset was learned from."""


@dataclass
class TrainState:
    """State of a run: everything that changes from step to step."""

    network: SavedNetwork
    average: SavedNetwork
    """Network whose weights are the moving average."""
    optimizer: torch.optim.Optimizer
    step: int = 0
    queries: int = 0
    """Number of images that were segmented and learnt from."""
    cpu_seconds: float = 0.0
    """Processor time spent on training so far, of all processes together."""
    best_dev: float = 0.0
    pending: dict[str, list[float]] = field(default_factory=dict)
    """Figures of the steps since the last line of the log."""
    origin: dict[str, Any] | None = None
    """File, hash and provenance of the weights that the run began with."""
    content: dict[str, str] = field(default_factory=dict)
    """Hash of each dataset that the run learns from now."""
    licenses: dict[str, str] = field(default_factory=dict)
    """Licence of each dataset that the run has ever learned from."""

    @classmethod
    def start(cls, config: TrainConfig, device: torch.device) -> "TrainState":
        """Networks drawn from the seed, or begun from the weights that the configuration names.

        Raises:
            FileNotFoundError: If those weights are missing.
            ValueError: If they do not fit, or were trained on data that this run may not use.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = build(config.network)
        origin = None
        if config.init_from is not None:
            origin = describe_origin(config.init_from, config)
            if random := checkpoint.adopt(network, config.init_from):
                logger.warning("not in %s, hence random: %s", config.init_from, ", ".join(random))
        network = network.to(device)
        average = deepcopy(network).requires_grad_(False)
        return cls(network, average, optimizer_of(network, config), origin=origin)

    def save(self, path: Path, config: TrainConfig) -> None:
        """Replace the saved state at once or not at all."""
        state = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("network", "average", "optimizer"):
            state[name] = state[name].state_dict()
        write_state(path, state | {"config": config.model_dump_json()})

    @classmethod
    def resume(cls, path: Path, config: TrainConfig, device: torch.device) -> "TrainState":
        """Continue from a saved state.

        Raises:
            ValueError: If it is damaged, or was saved under another configuration; only those of `FREE` may differ.
        """
        saved = read_state(path, device)
        names = {field.name for field in fields(cls)} | {"config"}
        if saved.keys() != names:
            differing = ", ".join(sorted(map(str, saved.keys() ^ names)))
            msg = f"{path} is of another version: expected all that a state has, got it other in {differing}. {FIX}"
            raise ValueError(msg)
        check_same_training(path, saved.pop("config"), config)
        state = cls.start(config.model_copy(update={"init_from": None}), device)
        for name in ("network", "average", "optimizer"):
            getattr(state, name).load_state_dict(saved.pop(name))
        return replace(state, **saved)

    def learn_from(self, data: TrainingData, other_collection: bool = False) -> None:
        """Note what the run learns from, which must be what it began with.

        Args:
            data: Data to go on with.
            other_collection: Whether they may be others; licences of both are kept then.

        Raises:
            ValueError: If they are others and may not be.
        """
        before, now = self.content, data.content
        if before and before != now and not other_collection:
            changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
            msg = (
                f"collection is another than the run began with: expected the same content, got {', '.join(changed)} "
                "changed, added or taken away. Train on that one, or choose another output folder; with "
                "--other-collection the run goes on, and its weights name the data of both."
            )
            raise ValueError(msg)
        self.content, self.licenses = dict(now), union(self.licenses, data.licenses)

    def progress(self, config: TrainConfig) -> float:
        """Share of the training that is done; 1 or more at its end."""
        return self.step / config.steps if config.minutes is None else self.cpu_seconds / (60 * config.minutes)

    def update_average(self, decay: float) -> None:
        """Move the averaged weights towards the network's; early on closely, lest they keep the random start."""
        decay = min(decay, self.step / (self.step + 10))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)

    def gradients(self) -> list[Tensor]:
        """The gradient of every parameter that has one."""
        return [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]


def union(*licenses: Mapping[str, str]) -> dict[str, str]:
    """The licences of datasets in several tables; where these differ, all of them."""
    found: dict[str, list[str]] = {}
    for dataset, licence in (item for table in licenses for item in table.items()):
        known = found.setdefault(dataset, [])
        known += [each for each in licence.split(AND) if each not in known]
    return {dataset: AND.join(several) for dataset, several in found.items()}


def optimizer_of(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW, whose weight decay spares biases, norms and temperatures."""
    decayed = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() <= 1]
    return torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
    )


def describe_origin(path: Path, config: TrainConfig) -> dict[str, Any]:
    """Name, hash and provenance of weights to begin with.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a training on open data would begin with weights that know other data.
    """
    origin = origin_of(checkpoint.Checkpoint.read(path))
    licence = licence_of(origin["provenance"])
    if config.episodes.licence == "open" and licence != "open":
        msg = (
            f"{path} may not be the start of open weights: expected weights trained with episodes.licence open, got "
            f"{licence}. Begin with random weights, or with open ones."
        )
        raise ValueError(msg)
    return origin


def origin_of(weights: checkpoint.Checkpoint) -> dict[str, Any]:
    """Name, hash and provenance of weights, as those tell of them that come of them."""
    return {"file": weights.path.name, "sha256": weights.sha256, "provenance": weights.metadata.get("provenance", {})}


def licence_of(provenance: Mapping[str, Any]) -> str:
    """Licences of the data that weights have learned from: `open`, or `any`."""
    return provenance.get("training", {}).get("episodes", {}).get("licence", "any")


def check_same_training(path: Path, saved: str, config: TrainConfig) -> None:
    """Make sure that a saved state belongs to this training.

    Raises:
        ValueError: If a setting that is not `FREE` differs.
    """
    try:
        before = TrainConfig.model_validate_json(saved)
    except ValidationError as error:
        msg = f"{path} is of another version: expected the settings of this one, got: {saved}. Choose another folder."
        raise ValueError(msg) from error
    changed = [
        name for name in TrainConfig.model_fields if name not in FREE and getattr(config, name) != getattr(before, name)
    ]
    if changed:
        msg = (
            f"{path} was trained differently: expected the same {', '.join(changed)}, "
            f"got {[getattr(config, name) for name in changed]}. Choose another output folder to start anew."
        )
        raise ValueError(msg)
