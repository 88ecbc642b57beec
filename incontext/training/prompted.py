"""Training of a prompted network beside a support-once network, whose weights stay as they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from incontext.networks import checkpoint, prompted
from incontext.networks.families import describe
from incontext.networks.prompted import BOX, INSIDE, PromptedNet, Reading, obeying
from incontext.networks.support_once import SupportOnceNet
from incontext.networks.unknown import judged
from incontext.training.batches import Batch
from incontext.training.config import TrainConfig
from incontext.training.episodes import DevTask
from incontext.training.losses import hard_dice, segmentation_loss
from incontext.training.prompts import centre_click, corrections, first_prompts, join
from incontext.training.state import describe_origin

CLICKS = (0, 1, 3, 5)
"""Numbers of clicks after which Dice is measured on the datasets of the role `dev`."""
DEV_SUPPORT = 4
"""Size of the support there, beside none."""


class Asked(NamedTuple):
    """Queries, what the frozen network has read of them, and their labels."""

    reading: Reading
    labels: Tensor


@dataclass(frozen=True)
class PromptedObjective:
    """Objective of a prompted network: the losses of every query after each of several rounds of prompts.

    The rounds follow on one another as a person's would. No gradient flows from one to the next.
    """

    network: SupportOnceNet
    """The network that it stands beside."""
    config: TrainConfig
    origin: Mapping[str, Any]
    """File, hash and provenance of that network's weights."""
    probed = False

    @classmethod
    def beside(cls, config: TrainConfig, device: torch.device) -> Self:
        """Load the network that a configuration names.

        Raises:
            FileNotFoundError: If its weights are missing.
            ValueError: If they are of another family or shape, or trained on data that the run may not use.
        """
        path = checkpoint.locate(config.prompts.beside)
        origin, network = describe_origin(path, config), checkpoint.load(path, device)
        wanted = getattr(config.network, "read_channels", None)
        if not isinstance(network, SupportOnceNet) or network.config.channels != wanted:
            msg = (
                f"{path} does not fit the prompted network: expected a support-once network of channels {wanted}, got "
                f"{describe(network.config)}. Set read_channels to its channels, or name other weights as beside."
            )
            raise ValueError(msg)
        return cls(network.requires_grad_(False), config, origin)

    def provenance(self) -> dict[str, Any]:
        """The weights that the trained ones stand beside."""
        return {"beside": dict(self.origin)}

    def add_gradients(self, network: PromptedNet, batches: Mapping[int, Batch]) -> Tensor:
        """Add up the gradients of the losses of all queries, averaged over their rounds.

        Args:
            network: Network to train.
            batches: Batches by their number in the run, which together with the seed decides all that is drawn.

        Returns:
            The sums over the queries of loss and of Dice after the last round, and their number.
        """
        device = next(network.parameters()).device
        totals = torch.zeros(3, dtype=torch.float64, device=device)
        for number, batch in batches.items():
            rng = np.random.default_rng((self.config.seed, number, 1))
            asked = self._ask(batch.to(device), rng)
            totals += self._learn(network, asked, rng)
        return totals

    @torch.no_grad()
    def _ask(self, batch: Batch, rng: np.random.Generator) -> Asked:
        images, labels, shown, queries = batch
        features, code = self.network.left_out(images, shown, queries)
        asked, truth = images[:, :queries].flatten(0, 1), labels[:, :queries].flatten(0, 1)
        reading = prompted.reading_of(self.network, asked, features, code)
        if queries == images.shape[1] and rng.random() < self.config.prompts.own_mask_share:
            masks = (reading.automatic > 0).to(labels).view_as(labels)
            features, code = self.network.left_out(images, torch.where(judged(labels), masks, labels), queries)
            reading = prompted.reading_of(self.network, asked, features, code)
        supported = torch.from_numpy(rng.random(len(asked)) >= self.config.prompts.unsupported_share).to(asked)
        return Asked(without_support(reading, supported), truth)

    def _learn(self, network: PromptedNet, asked: Asked, rng: np.random.Generator) -> Tensor:
        reading, labels = asked
        count, rounds = len(labels), self.config.prompts.rounds
        maps, logits, total = labels.new_zeros(count, 3, *labels.shape[-2:]), reading.automatic, 0.0
        for turn in range(rounds):
            maps = join(maps, self._prompts(labels, logits, reading.supported.flatten() > 0, turn, rng))
            given = network.correct(network.begin(reading), maps, logits)
            loss = segmentation_loss(given, labels, self.config.loss) + self.config.prompts.obedience * disobedience(
                given, maps
            )
            (loss * count / rounds).backward()
            logits = obeying(given.detach(), maps)
            total += loss.item() / rounds
        dice = hard_dice(logits, labels).mean().item()
        return count * torch.tensor([total, dice, 1.0], dtype=torch.float64, device=labels.device)

    def _prompts(
        self, labels: Tensor, logits: Tensor, supported: Tensor, turn: int, rng: np.random.Generator
    ) -> Tensor:
        """Prompts of one round, of one kind for each query."""
        by_centre, by_label = (
            torch.from_numpy(rng.random(len(labels)) < share).to(labels.device)
            for share in (self.config.prompts.centre_share, self.config.prompts.first_share)
        )
        first = (by_label | ~supported) & ~by_centre if turn == 0 else torch.zeros_like(by_centre)
        masks, drawn = logits > 0, labels.new_zeros(len(labels), 3, *labels.shape[-2:])
        further = ~(by_centre | first)
        if by_centre.any():
            drawn[by_centre] = centre_click(labels[by_centre], masks[by_centre])
        if first.any():
            drawn[first] = first_prompts(labels[first], rng, self.config.prompts.simulation)
        if further.any():
            drawn[further] = corrections(labels[further], masks[further], rng, self.config.prompts.simulation)
        return drawn

    @torch.inference_mode()
    def dev_dice(self, network: PromptedNet, tasks: Sequence[DevTask]) -> dict[str, float]:
        """Mean Dice over datasets, with and without a support, after some clicks at the centre of the largest error."""
        device = next(network.parameters()).device
        found: dict[str, dict[str, list[float]]] = {}
        for task in tasks:
            images, labels = task.query_images.to(device), task.query_labels.to(device)
            supports = (each[:, :DEV_SUPPORT].to(device) for each in (task.support_images, task.support_labels))
            for name, code in {"s0": None, f"s{DEV_SUPPORT}": self.network.encode_support(*supports)}.items():
                after = dice_after_clicks(network, prompted.read(self.network, images, code), labels, CLICKS)
                for clicks, dice in after.items():
                    found.setdefault(f"{name}_clicks{clicks}", {}).setdefault(task.dataset, []).append(dice)
        return {name: float(np.mean([np.mean(each) for each in sets.values()])) for name, sets in found.items()}


def dice_after_clicks(
    network: PromptedNet, reading: Reading, labels: Tensor, clicks: Sequence[int]
) -> dict[int, float]:
    """Mean Dice of queries after these numbers of clicks, each at the centre of the largest error."""
    begun, logits = network.begin(reading), reading.automatic
    maps, found = labels.new_zeros(len(labels), 3, *labels.shape[-2:]), {}
    for count in range(max(clicks) + 1):
        if count:
            maps = join(maps, centre_click(labels, logits > 0))
            logits = network.refine(begun, maps, logits)
        if count in clicks:
            found[count] = hard_dice(logits, labels).mean().item()
    return found


def without_support(reading: Reading, supported: Tensor) -> Reading:
    """A reading of which some queries have lost their support: `supported` (N,) tells in {0, 1} which have kept it."""
    kept = supported[:, None, None, None]
    halves = (stage.chunk(2, 1) for stage in reading.stages)
    stages = tuple(torch.cat([features, decoded * kept], 1) for features, decoded in halves)
    return Reading(reading.images, reading.automatic * kept, stages, reading.supported * kept)


def disobedience(logits: Tensor, maps: Tensor) -> Tensor:
    """Cross-entropy of the prompted pixels, of each query averaged, then over all queries."""
    prompts = maps[:, :BOX].amax(1, keepdim=True)
    losses = F.binary_cross_entropy_with_logits(logits, maps[:, INSIDE, None], reduction="none") * prompts
    return (losses.sum((1, 2, 3)) / prompts.sum((1, 2, 3)).clamp(min=1)).mean()
