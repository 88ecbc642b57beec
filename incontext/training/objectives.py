"""Objectives that networks are trained for: gradients of losses on batches, and Dice on tasks to watch."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from incontext.networks.prompted import PromptedConfig
from incontext.networks.protocols import LeaveOneOutNetwork, SupportNetwork
from incontext.training.batches import Batch
from incontext.training.config import TrainConfig
from incontext.training.episodes import DevTask
from incontext.training.losses import hard_dice, segmentation_loss
from incontext.training.prompted import PromptedObjective


@runtime_checkable
class Objective(Protocol):
    """Objective that a network is trained for."""

    @property
    def probed(self) -> bool:
        """Whether it is probed how the network depends on its support."""

    def add_gradients(self, network: Any, batches: Mapping[int, Batch], /) -> Tensor:
        """Add up the gradients of the losses of all queries.

        Args:
            network: Network to train.
            batches: Batches by their number in the run.

        Returns:
            The sums over the queries of loss and Dice, and their number.
        """

    def dev_dice(self, network: Any, tasks: Sequence[DevTask], /) -> dict[str, float]:
        """Figures of Dice by their names; the weights of the highest mean are the best."""

    def provenance(self) -> dict[str, Any]:
        """Tell what the weights depend on beside the training."""


@dataclass(frozen=True)
class LeaveOneOutObjective:
    """Objective of a network that segments each image of a set by the others."""

    config: TrainConfig
    probed = True

    def add_gradients(self, network: LeaveOneOutNetwork, batches: Mapping[int, Batch]) -> Tensor:
        """Add up the gradients of the losses of all queries: see `Objective.add_gradients`."""
        device = next(network.parameters()).device
        totals = torch.zeros(3, dtype=torch.float64, device=device)
        for images, labels, shown, queries in (batch.to(device) for batch in batches.values()):
            with torch.autocast(device.type, torch.bfloat16, enabled=self.config.mixed_precision):
                logits = network.leave_one_out(images, shown, queries)
            asked = labels[:, :queries]
            loss = segmentation_loss(logits.float(), asked, self.config.loss)
            count = len(images) * queries
            (loss * count).backward()
            dice = hard_dice(logits.detach(), asked).mean()
            totals += count * torch.stack([loss.detach(), dice, torch.ones_like(dice)])
        return totals

    def dev_dice(self, network: SupportNetwork, tasks: Sequence[DevTask]) -> dict[str, float]:
        """Mean Dice of each dataset: see `dev_dice`."""
        return dev_dice(network, tasks)

    def provenance(self) -> dict[str, Any]:
        """Nothing that the configuration does not say."""
        return {}


@torch.inference_mode()
def dev_dice(network: SupportNetwork, tasks: Sequence[DevTask]) -> dict[str, float]:
    """Mean Dice of each dataset: over its tasks, of the mean over their queries."""
    device = next(network.parameters()).device
    by_dataset = defaultdict(list)
    for task in tasks:
        code = network.encode_support(task.support_images.to(device), task.support_labels.to(device))
        logits = network.segment(task.query_images.to(device), code)
        by_dataset[task.dataset].append(hard_dice(logits, task.query_labels.to(device)).mean().item())
    return {dataset: float(np.mean(values)) for dataset, values in by_dataset.items()}


def objective_of(config: TrainConfig, device: torch.device) -> Objective:
    """Choose the objective that the network of a configuration is trained for.

    Raises:
        FileNotFoundError: If the weights that a prompted network stands beside are missing.
        ValueError: If they do not fit, or were trained on data that the run may not use.
    """
    if isinstance(config.network, PromptedConfig):
        return PromptedObjective.beside(config, device)
    return LeaveOneOutObjective(config)
