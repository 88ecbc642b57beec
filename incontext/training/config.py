"""Configuration of a training run as one frozen model, read from TOML."""

import math
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from incontext.networks.families import NetworkTable
from incontext.networks.support_once import SupportOnceConfig
from incontext.training.augment import AugmentConfig
from incontext.training.episodes import EpisodeConfig
from incontext.training.losses import LossConfig
from incontext.training.prompts import PromptConfig

SHIPPED = ("default", "open", "prompted")
"""Configurations that come with the package."""


class PromptTraining(BaseModel):
    """Configuration of what a prompted network is asked in its training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    beside: str = "default"
    """Weights of the support-once network that it stands beside: a name or a file."""
    rounds: int = Field(default=4, gt=0)
    """Rounds of prompts on each query, each with a loss."""
    unsupported_share: float = Field(default=0.2, ge=0, le=1)
    """Chance that a query is asked without any support."""
    own_mask_share: float = Field(default=0.2, ge=0, le=1)
    """Chance that the labels of a batch's supports are masks of the network, as those are that somebody accepted."""
    first_share: float = Field(default=0.5, ge=0, le=1)
    """Chance that a supported query's first prompts do not look at its mask; those of an unsupported one never do."""
    centre_share: float = Field(default=0.3, ge=0, le=1)
    """Chance that a round of a query is a single click at the centre of the largest error."""
    obedience: float = Field(default=0.1, ge=0)
    """Weight of the cross-entropy of prompted pixels beside the other losses."""
    simulation: PromptConfig = PromptConfig()


class TrainConfig(BaseModel):
    """Everything that decides the weights, saved with them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: NetworkTable = SupportOnceConfig()
    episodes: EpisodeConfig = EpisodeConfig()
    augmentation: AugmentConfig = AugmentConfig()
    init_from: Path | None = None
    """Weights to start from instead of random ones; what does not fit is left random, see `checkpoint.adopt`."""
    seed: int = 0
    """Seed of the weights, the episodes and their augmentation."""

    steps: int = Field(default=8000, gt=0)
    """Optimiser steps; a run can be resumed with more."""
    minutes: float | None = Field(default=None, gt=0)
    """Processor time to train for instead, in minutes of all processes together, with the making of batches included.
    The learning rate follows the clock then, so that runs of networks of different cost compare."""
    batches_per_step: int = Field(default=1, gt=0)
    """Batches whose queries make up one optimiser step; processes share them."""

    loss: LossConfig = LossConfig()
    prompts: PromptTraining = PromptTraining()
    """Prompts by which a network of the family `prompted` is asked; without effect on others."""
    learning_rate: float = Field(default=1.5e-3, gt=0)
    schedule: Literal["plateau", "cosine"] = "plateau"
    """A plateau with a linear fall to zero at its end can be extended; a cosine falls to zero all along."""
    warmup_steps: int = Field(default=150, ge=0)
    decay_share: float = Field(default=0.35, ge=0, le=1)
    """Share of the training, at its end, over which a plateau falls to zero."""
    small_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the training, at its beginning, on images of half their size, where the network takes that: it costs a
    third, so that with a limit of processor time most steps are of this kind."""
    weight_decay: float = Field(default=0.01, ge=0)
    gradient_norm: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient; a larger one is scaled down to it."""
    ema_decay: float = Field(default=0.995, ge=0, lt=1)
    """Decay of the moving average of the weights, which is what is validated and saved."""
    mixed_precision: bool = False
    """Compute in bfloat16 where that is safe; on a GPU only, since processors are slower with it."""

    log_every: int = Field(default=50, gt=0)
    """Steps that a line of the log sums up."""
    dev_every: int = Field(default=250, gt=0)
    """Steps between two measurements of Dice on the datasets of the role `dev`."""
    probe_every: int = Field(default=2000, gt=0)
    """Steps between two probes of whether the network reads its support."""
    checkpoint_every: int = Field(default=100, gt=0)
    """Steps between two saved states."""
    workers: int = Field(default=1, ge=0)
    """Processes that prepare batches, per training process; they do not change the result."""

    def learning_rate_at(self, step: int, progress: float) -> float:
        """The learning rate of a step: a linear warm-up, then the schedule."""
        if self.schedule == "cosine":
            share = (1 + math.cos(math.pi * min(progress, 1))) / 2
        else:
            share = min(1, (1 - progress) / self.decay_share) if self.decay_share else 1
        return self.learning_rate * max(0.0, min((step + 1) / (self.warmup_steps + 1), share))


def read_config(source: str, **overrides: object) -> TrainConfig:
    """Read a configuration from TOML; what it leaves out stays at its default.

    Args:
        source: One of `SHIPPED`, or the path of a file.
        overrides: Settings that take the place of the file's; None leaves it as it is.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not TOML, or not a training configuration.
    """
    path = resources.files("incontext.training") / "configs" / f"{source}.toml" if source in SHIPPED else Path(source)
    if not path.is_file():
        msg = f"configuration is missing: expected {', '.join(SHIPPED)} or a TOML file, got {source}. Check the path."
        raise FileNotFoundError(msg)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return TrainConfig.model_validate(table | {k: v for k, v in overrides.items() if v is not None})
    except ValidationError as error:
        msg = f"{path.name} is not a training configuration: {'; '.join(map(_fault, error.errors()))}. Correct it."
        raise ValueError(msg) from error
    except ValueError as error:
        msg = f"{path.name} is not readable: expected TOML, got: {error}. Correct the file."
        raise ValueError(msg) from error


def _fault(error: Any) -> str:
    setting = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"{setting} is no setting"
    return f"{setting}: {error['msg'].removeprefix('Value error, ').removesuffix('.')}"
