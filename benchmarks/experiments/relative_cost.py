"""Relative cost of a network in training and prediction: it takes turns with the default, so other load slows both."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from benchmarks.experiments.network_speed import QUERIES_PER_BATCH, SIZE_PX, in_turns
from incontext.networks.prompted import INSIDE, PromptedNet, read
from incontext.networks.protocols import SupportEncoder
from incontext.networks.support_once import SupportOnceNet
from incontext.training.config import TrainConfig
from incontext.training.distributed import ALONE
from incontext.training.episodes import TrainingData
from incontext.training.loader import StepInput, load_steps
from incontext.training.loop import training_step
from incontext.training.objectives import Objective, objective_of
from incontext.training.state import TrainState

STEPS = 24
"""Number of training steps that are timed, spread over the course of the training."""
RUNS = 5
CLICKS = 25
"""Number of clicks that are timed."""
MANY_QUERIES = 200


@dataclass
class Training:
    """Training of which a few steps are taken, to time them."""

    config: TrainConfig
    data: TrainingData
    state: TrainState = field(init=False)
    inputs: Iterator[StepInput] = field(init=False)
    objective: Objective = field(init=False)

    def __post_init__(self) -> None:
        device = torch.device("cpu")
        self.state, self.objective = TrainState.start(self.config, device), objective_of(self.config, device)
        self.inputs = load_steps(self.config.model_copy(update={"workers": 0}), self.data, 0, ALONE)

    def step_at(self, progress: float) -> None:
        """Take the step that the training would take at a share of its course, in [0, 1]."""
        self.state.step = int(progress * self.config.steps)
        training_step(self.state, self.config, next(self.inputs), ALONE, self.objective)


def compare_trainings(one: Training, other: Training) -> dict[str, float]:
    """Relative cost of one training's steps: `cost` in processor time and `queries`, as multiples of another's."""
    pair = [one, other]
    for training in pair:
        training.step_at(0.0)  # the first one is slower
        training.state.cpu_seconds, training.state.queries = 0.0, 0
    for index in range(STEPS):
        for training in pair:
            training.step_at((index + 0.5) / STEPS)
        pair.reverse()
    return {
        "cost": one.state.cpu_seconds / other.state.cpu_seconds,
        "queries": one.state.queries / other.state.queries,
    }


@torch.inference_mode()
def compare_queries(one: SupportEncoder, other: SupportEncoder, support_size: int) -> dict[str, float]:
    """Relative cost of a query by two networks: of a single query, and of each of many that share a support."""
    networks = one, other
    images, labels = torch.rand(2, 1, support_size, 1, SIZE_PX, SIZE_PX).unbind()
    encode = [partial(network.encode_support, images, labels.round()) for network in networks]
    codes = [work() for work in encode]

    def segment(count: int) -> list[Callable[[], Tensor]]:
        queries = torch.rand(count, 1, SIZE_PX, SIZE_PX)
        return [partial(network.segment, queries, code) for network, code in zip(networks, codes, strict=True)]

    encoding, alone, batch = (in_turns(works, RUNS) for works in (encode, segment(1), segment(QUERIES_PER_BATCH)))
    single = [read + asked for read, asked in zip(encoding, alone, strict=True)]
    shared = [read / MANY_QUERIES + asked / QUERIES_PER_BATCH for read, asked in zip(encoding, batch, strict=True)]
    return {"1": single[0] / single[1], str(MANY_QUERIES): shared[0] / shared[1]}


@torch.inference_mode()
def compare_clicks(one: PromptedNet, other: PromptedNet, beside: SupportOnceNet) -> float:
    """Relative cost of the answer to a click by two prompted networks, once they have begun with the image."""
    reading = read(beside, torch.rand(1, 1, SIZE_PX, SIZE_PX))
    maps = torch.zeros(1, 3, SIZE_PX, SIZE_PX)
    maps[:, INSIDE, SIZE_PX // 2, SIZE_PX // 2] = 1
    works = [partial(network.refine, network.begin(reading), maps) for network in (one, other)]
    taken = in_turns(works, CLICKS)
    return taken[0] / taken[1]
