"""Tuning of a copy of a network on the labelled images of one task, kept only if images that were not learned gain.

The images are split into a few parts. Each part has a copy of the network, which learns to segment all other parts,
each image with others as its support, as the network was trained. The part that a copy has not learned tells how much
it gained, and after how many steps most. If all parts together gain beyond doubt, the network is moved by the mean of
what the copies have changed; else it stays as it is.

Of one to three images there are no parts to speak of, and the network stays as it is. Where steps are asked for all
the same, one copy learns from augmented copies of them, which are each other's support, and nothing judges it.
"""

import copy
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, Self, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from pydantic import BaseModel, ConfigDict, Field
from rich import progress
from rich.console import Console
from torch import Tensor, nn

from incontext.networks.protocols import Backend, LeaveOneOutNetwork
from incontext.networks.unknown import as_shares
from incontext.networks.weights_delta import Tuned, WeightsDelta
from incontext.training.augment import AugmentConfig, ImageChances, augment
from incontext.training.losses import hard_dice, segmentation_loss

JUDGED = 32
"""Images that are asked to judge a network, of all classes together, but four of each at least."""
JUDGING = 16
"""Images of a class that are the support of those, at most: more would cost time and change little."""
ENCODED_AT_ONCE = 16
"""Images that are encoded at a time."""
STEPS, STEPS_OF_MANY, MANY = 60, 75, 16
"""Steps of a copy, and of one that has more images than so many."""

Positive = Annotated[int, Field(ge=1)]
Step = TypeVar("Step")
Track = Callable[[Sequence[int]], Iterable[int]]
"""Function that passes the numbers of steps on one by one, and may show the progress."""


class TuningConfig(BaseModel):
    """Configuration of the tuning of a network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: Positive | None = None
    """Steps of each copy; by default `STEPS`, of more than `MANY` images `STEPS_OF_MANY`."""
    folds: int = Field(default=4, ge=2)
    """Parts of the images, at most, and copies, each of which learns all parts but one."""
    judge_every: Positive = 10
    """Number of steps between two judgements of the gain."""
    doubt: float = Field(default=0.5, ge=0)
    """Number of its standard errors that the mean gain of the images has to exceed."""
    learned: tuple[str, ...] = ()
    """Beginnings of the names of the parameters that are tuned; none for all."""
    augmentation: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Factor of the chances of augmentation, which changes single images alone and leaves the task the same."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    warm_up: Positive = 5
    """Steps over which the learning rate of Adam rises."""
    gradient_norm: Annotated[float, Field(gt=0)] = 1.0
    """Norm that gradients are clipped to."""
    set_size: int = Field(default=10, ge=2)
    """Images of a step at most: queries and their support."""
    queries: Positive = 4
    """Images of a step that are asked, at most."""
    with_copies: bool = False
    """Whether each step has `set_size` images, further copies among them where there are fewer."""
    least_images: int = Field(default=4, ge=4)
    """Images of different groups that must show a class, for what was learned of it to be judged."""
    unjudged_steps: int = Field(default=0, ge=0)
    """Steps, at most, where no class is shown by `least_images` images. On held-out datasets they gained nothing."""
    unjudged_learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    unjudged_set_size: int = Field(default=6, ge=2)
    """Images of a step that nothing judges, most of which are copies."""

    @property
    def in_task(self) -> AugmentConfig:
        """Chances of augmentation of single images."""
        usual = ImageChances().model_dump()
        return AugmentConfig.only(image={name: self.augmentation * chance for name, chance in usual.items()})

    def steps_of(self, images: int) -> int:
        """Steps of each copy for so many images."""
        return self.steps or (STEPS if images <= MANY else STEPS_OF_MANY)

    @property
    def unjudged(self) -> Self:
        """Configuration for images that are too few to judge by."""
        steps, rate = min(self.steps or STEPS, self.unjudged_steps), self.unjudged_learning_rate
        changes = {"steps": steps, "learning_rate": rate, "set_size": self.unjudged_set_size, "with_copies": True}
        return self.model_copy(update=changes)


DEFAULT = TuningConfig()


@runtime_checkable
class TunableNetwork(LeaveOneOutNetwork, Protocol):
    """A network of which a copy can be tuned, such as any `torch.nn.Module` with the methods of a family."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Iterate over the parameters and their names."""


@dataclass(frozen=True, eq=False)
class TuningImages:
    """Labelled images of a task to tune on.

    Attributes:
        images: Grey values in [0, 1].
        labels: Labels in {0, 1} and `megamed.unknown.UNKNOWN`, a layer for each class.
        annotated: Whether an image was annotated for a class.
        groups: Number of the plane, volume or subject that an image comes from; images of one group never judge each
            other.
    """

    images: Float32[Tensor, "n 1 H W"]
    labels: UInt8[Tensor, "n C H W"]
    annotated: Bool[Tensor, "n C"]
    groups: Int64[Tensor, " n"]

    @property
    def shown(self) -> Bool[Tensor, "n C"]:
        """Whether an image shows a class."""
        return self.annotated & (self.labels == 1).flatten(2).any(-1)

    def select(self, indices: Sequence[int], class_index: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Images (indices, 1, H, W) and their labels of a class, in the same shape, on a device."""
        labels = as_shares(self.labels[indices, class_index, None].to(device))
        return self.images[indices].to(device), labels


def tune(
    network: TunableNetwork,
    data: TuningImages,
    config: TuningConfig = DEFAULT,
    seed: int = 0,
    track: Track = iter,
) -> Tuned:
    """Tune copies of a network on labelled images of a task; the network itself stays as it is.

    Equal arguments give an equal outcome on the same machine, whatever was drawn before. An interruption leaves nothing
    behind.

    Args:
        network: Network to tune copies of, on the device to compute on.
        data: Labelled images of the task.
        config: Steps, learning rate and the like.
        seed: Seed of all that is drawn.
        track: Wraps the steps, to show progress; not all of them need be taken.
    """
    with learning(seed):
        plans = _plans(data, config)
        return _tune(network, data, plans, config, track) if plans else _tune_unjudged(network, data, config, track)


@contextmanager
def learning(seed: int) -> Iterator[None]:
    """Let gradients flow and draw from torch's global generator, seeded, leaving no trace on it.

    Tensors that were made in inference mode have to be cloned inside.
    """
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def shown_on_terminal(steps: Sequence[Step], what: str = "Tuning") -> Iterable[Step]:
    """Pass steps on, and show on a terminal how many are done and how long the others will take."""
    return progress.track(steps, what, console=Console(stderr=True), disable=not sys.stderr.isatty())


def _tune(
    network: TunableNetwork, data: TuningImages, plans: "Sequence[_ClassPlan]", config: TuningConfig, track: Track
) -> Tuned:
    folds = range(len(plans[0].folds))
    learners = [_Learner(network, data, plans, fold, config) for fold in folds]
    # What a copy is worth is told by the part that it does not learn.
    before = torch.cat([_judge(network, data, plans, fold) for fold in folds])
    gained, steps, kept, most = 0.0, 0, dict[str, Tensor](), config.steps_of(len(data.images))
    for step in track(range(1, most + 1)):
        for learner in learners:
            learner.step()
        if step % config.judge_every and step < most:
            continue
        after = torch.cat([_judge(learner.network, data, plans, learner.fold) for learner in learners])
        gain, error = _mean_and_error(after - before)
        if gain > max(gained, config.doubt * error):
            gained, steps, kept = gain, step, _mean_difference(network, learners)
    mean = before.mean().item()
    if not kept:
        told = f"leave-one-out Dice {mean:.2f} does not rise beyond doubt on images that were not learned"
        return Tuned(None, f"not tuned: {told}")
    told = f"leave-one-out Dice {mean:.2f} → {mean + gained:.2f} on images that were not learned"
    return Tuned(WeightsDelta.of(kept), f"tuned {steps} steps: {told}")


def _mean_and_error(gains: Float[Tensor, " judged"]) -> tuple[float, float]:
    """Mean gain of images, and its standard error."""
    return gains.mean().item(), gains.std().item() / len(gains) ** 0.5


def _tune_unjudged(network: TunableNetwork, data: TuningImages, config: TuningConfig, track: Track) -> Tuned:
    if not config.unjudged_steps:
        return Tuned(None, f"not tuned: expected {config.least_images} images of a class to judge by, got fewer")
    few, annotated = config.unjudged, data.annotated.T
    plans = [
        _ClassPlan(index, [[], _indices(shown)], _indices(annotated[index]))
        for index, shown in enumerate(data.shown.T)
        if shown.any()
    ]
    if not plans:
        return Tuned(None, "not tuned: no labelled image shows a class")
    learner = _Learner(network, data, plans, 0, few)
    steps = few.steps_of(len(data.images))
    for _ in track(range(1, steps + 1)):
        learner.step()
    told = f"{steps} steps on augmented copies: labelled images are too few to judge by"
    return Tuned(WeightsDelta.of(_mean_difference(network, [learner])), f"tuned {told}")


@dataclass(frozen=True)
class _ClassPlan:
    """Images of a class that are learned and judged, by their indices.

    Attributes:
        index: Index of the class.
        folds: Images that show the class, by part.
        annotated: Images that were annotated for it.
    """

    index: int
    folds: list[list[int]]
    annotated: list[int]

    def learned(self, fold: int) -> list[int]:
        """Images of all parts but one."""
        return [index for number, each in enumerate(self.folds) if number != fold for index in each]


def _plans(data: TuningImages, config: TuningConfig) -> list[_ClassPlan]:
    """Split the groups of images into parts, and list the images of each class that enough groups show."""
    shown, groups = data.shown, data.groups.tolist()
    counts = [len(data.groups[each].unique()) for each in shown.T]
    classes = [index for index, count in enumerate(counts) if count >= config.least_images]
    # Groups that show the rarest class take turns first, so that each part has its share of them.
    rarest = {
        group: min((counts[c] for c in classes if shown[data.groups == group, c].any()), default=0) for group in groups
    }
    order = sorted(_shuffled(sorted(rarest)), key=rarest.__getitem__)
    count = min(config.folds, sum(map(bool, rarest.values())))  # each part has a group that shows a class
    folds = [set(order[first::count]) for first in range(count)]
    plans = [
        _ClassPlan(
            index,
            [[i for i in _indices(shown[:, index]) if groups[i] in fold] for fold in folds],
            _indices(data.annotated[:, index]),
        )
        for index in classes
    ]
    return [plan for plan in plans if sum(map(bool, plan.folds)) > 1]


def _indices(chosen: Bool[Tensor, " n"]) -> list[int]:
    return chosen.nonzero()[:, 0].tolist()


class _Learner:
    """A copy of a network that learns all parts of the images but one."""

    def __init__(
        self,
        network: TunableNetwork,
        data: TuningImages,
        plans: Sequence[_ClassPlan],
        fold: int,
        config: TuningConfig,
    ) -> None:
        self.network = copy.deepcopy(network)
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(name.startswith(config.learned or ""))
        self.fold = fold
        self._data, self._plans, self._config = data, plans, config
        self._turns = _Turns(range(len(plans)))
        self._queries = [_Turns(plan.learned(fold)) for plan in plans]
        self._optimizer = torch.optim.Adam(self.network.parameters(), config.learning_rate)
        self._warming = torch.optim.lr_scheduler.LinearLR(self._optimizer, 1 / config.warm_up, 1, config.warm_up - 1)

    def step(self) -> None:
        """Learn some images of the class whose turn it is, augmented, each with the others as its support."""
        device = next(self.network.parameters()).device
        (number,) = self._turns.take(1)
        plan, queries = self._plans[number], self._queries[number].take(self._config.queries)
        others = in_rounds(_shuffled(set(plan.annotated) - set(queries)), self._data.groups.tolist(), queries)
        if self._config.with_copies:
            others += self._config.set_size * queries
            queries = (self._config.queries * queries)[: self._config.queries]
        chosen = [*queries, *others][: max(self._config.set_size, len(queries) + 1)]
        images, labels = self._data.select(chosen, plan.index, device)
        images, labels = augment(images[None], labels[None], self._config.in_task)
        self._optimizer.zero_grad(set_to_none=True)
        logits = self.network.leave_one_out(images, labels, len(queries))
        segmentation_loss(logits.float(), labels[:, : len(queries)]).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self._config.gradient_norm)
        self._optimizer.step()
        self._warming.step()


class _Turns:
    """Items that are taken in turn, in endless rounds, each shuffled anew."""

    def __init__(self, items: Sequence[int]) -> None:
        self._items = list(items)
        self._waiting: list[int] = []

    def take(self, count: int) -> list[int]:
        """Take the next different items, at most all of them."""
        taken: list[int] = []
        while len(taken) < min(count, len(self._items)):
            self._waiting = self._waiting or _shuffled(self._items)
            item = self._waiting.pop()
            if item not in taken:
                taken.append(item)
        return taken


def in_rounds(indices: Iterable[int], groups: Sequence[int], taken: Iterable[int] = ()) -> list[int]:
    """Order images in rounds, one of every group before a second; those taken already count, too."""
    seen = Counter(groups[index] for index in taken)
    turns = {}
    for index in indices:
        turns[index] = seen[groups[index]]
        seen[groups[index]] += 1
    return sorted(turns, key=turns.__getitem__)


@torch.inference_mode()
def _judge(
    network: TunableNetwork, data: TuningImages, plans: Sequence[_ClassPlan], fold: int
) -> Float[Tensor, " judged"]:
    """Dice of the images of a part, of every class, when those of other groups are their support."""
    count = max(2, JUDGED // (len(plans[0].folds) * len(plans)))
    found = [_judge_class(network, data, plan, fold, count) for plan in plans if plan.folds[fold]]
    return torch.cat([torch.zeros(0), *found])  # a part may show nothing that is judged


def _judge_class(network: TunableNetwork, data: TuningImages, plan: _ClassPlan, fold: int, count: int) -> Tensor:
    groups = data.groups.tolist()
    asked = in_rounds(plan.folds[fold], groups)[:count]
    shown = in_rounds([index for each in plan.folds for index in each], groups)
    rest = in_rounds(set(plan.annotated) - set(shown), groups)
    pool = [*shown, *rest][:JUDGING]
    device = next(network.parameters()).device
    images, labels = data.select(pool, plan.index, device)
    encode = _encoder(network, images, labels)
    found = []
    for index in asked:
        query, label = data.select([index], plan.index, device)
        others = [place for place, each in enumerate(pool) if groups[each] != groups[index]]
        found.append(hard_dice(network.segment(query, encode(others)), label).view(1))
    return torch.cat(found).cpu()


def _encoder(network: TunableNetwork, images: Tensor, labels: Tensor) -> Callable[[list[int]], Any]:
    """Function that encodes some labelled images as a support set; each image is encoded once if the network can."""
    if not isinstance(network, Backend):
        return lambda chosen: network.encode_support(images[chosen][None], labels[chosen][None])
    pairs = zip(images.split(ENCODED_AT_ONCE), labels.split(ENCODED_AT_ONCE), strict=True)
    parts = [network.encode_images(*pair) for pair in pairs]
    codes = type(parts[0]).joined(parts)
    return lambda chosen: codes.select(torch.tensor([chosen], device=images.device)).pooled()


@torch.no_grad()
def _mean_difference(network: TunableNetwork, learners: Sequence[_Learner]) -> dict[str, Tensor]:
    """Mean of what the copies have changed, by parameter."""
    tuned = [dict(learner.network.named_parameters()) for learner in learners]
    return {
        name: torch.stack([each[name] - before for each in tuned]).mean(0)
        for name, before in network.named_parameters()
    }


def _shuffled(items: Iterable[int]) -> list[int]:
    """Items in a random order."""
    listed = sorted(items)
    return [listed[place] for place in torch.randperm(len(listed)).tolist()]
