"""Costs are compared in turns, on a clock that the tests set."""

import time

import pytest
import torch
from torch import Tensor, nn

from benchmarks.experiments import relative_cost
from benchmarks.experiments.relative_cost import STEPS, Training, compare_clicks, compare_queries, compare_trainings
from incontext.networks.prompted import PromptedConfig, PromptedNet
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from incontext.training.config import TrainConfig
from incontext.training.episodes import TrainingData

NOTHING = TrainingData([], frozenset(), [], {})
SMALL = SupportOnceConfig(channels=(8, 8, 8, 8), heads=1, head_channels=8)


class Clock:
    """Processor time that passes only where somebody works."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "process_time", clock)
    return clock


class Worker(nn.Module):
    """A network whose every image costs so many seconds to read, and so many to ask about."""

    def __init__(self, clock: Clock, reading: float, asking: float) -> None:
        super().__init__()
        self.clock, self.reading, self.asking = clock, reading, asking

    def encode_support(self, images: Tensor, labels: Tensor) -> None:
        self.clock.seconds += self.reading * images.shape[1]

    def segment(self, queries: Tensor, code: None) -> Tensor:
        self.clock.seconds += self.asking * len(queries)
        return queries


def test_many_queries_share_the_cost_of_their_support(clock: Clock) -> None:
    found = compare_queries(Worker(clock, reading=4.0, asking=1.0), Worker(clock, reading=1.0, asking=2.0), 8)
    assert found == pytest.approx({"1": (32 + 1) / (8 + 2), "200": (32 / 200 + 1) / (8 / 200 + 2)})


def test_a_click_costs_what_follows_the_beginning(clock: Clock) -> None:
    class Slow(PromptedNet):
        def __init__(self, asking: float) -> None:
            super().__init__(PromptedConfig(read_channels=SMALL.channels, channels=SMALL.channels))
            self.asking = asking

        def correct(self, *given: object) -> Tensor:
            clock.seconds += self.asking
            return super().correct(*given)  # type: ignore[arg-type]

    assert compare_clicks(Slow(3.0), Slow(2.0), SupportOnceNet(SMALL).eval()) == pytest.approx(1.5)


def test_trainings_take_turns_over_their_whole_course(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def step(state: object, config: TrainConfig, given: int, processes: object, objective: object) -> None:
        taken.append((config.seed, state.step, given))  # type: ignore[attr-defined]
        state.cpu_seconds += config.seed  # type: ignore[attr-defined]
        state.queries += 3 * config.seed  # type: ignore[attr-defined]

    monkeypatch.setattr(relative_cost, "training_step", step)
    monkeypatch.setattr(relative_cost, "load_steps", lambda config, *_: iter(range(100)))
    one, other = (Training(TrainConfig(network=SMALL, seed=seed, steps=480), NOTHING) for seed in (1, 2))
    assert compare_trainings(one, other) == {"cost": 0.5, "queries": 0.5}
    assert taken[:2] == [(1, 0, 0), (2, 0, 0)]  # to warm up
    assert taken[2:6] == [(1, 10, 1), (2, 10, 1), (2, 30, 2), (1, 30, 2)]
    assert len(taken) == 2 + 2 * STEPS
    assert taken[-1][1] == 470


def test_networks_are_drawn_from_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relative_cost, "load_steps", lambda *_: iter(()))
    one, other = (Training(TrainConfig(network=SMALL, seed=4), NOTHING).state.network for _ in range(2))
    assert all(map(torch.equal, one.parameters(), other.parameters()))
