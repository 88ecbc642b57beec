"""The speed of networks: which sizes and how many runs are asked for is what is measured."""

from collections.abc import Callable

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.experiments import network_speed


def test_sizes_and_runs_are_those_that_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int, int]] = []

    def timed(step: Callable[..., None], support_size: int, runs: int) -> dict[str, float]:
        asked.append((step.__name__, support_size, runs))
        return {"plain": 2.0, "ours": 1.0}

    def of_many(runs: int) -> dict[str, float]:
        return {"plain": 6.0, "ours": float(runs)}

    monkeypatch.setattr(network_speed, "seconds", timed)
    monkeypatch.setattr(network_speed, "peak_growths_mib", lambda size: {"plain": 8.0 * size, "ours": 2.0 * size})
    for name in ("seconds_per_query", "training_seconds_per_query"):
        monkeypatch.setattr(network_speed, name, of_many)
    result = CliRunner().invoke(app, ["speed", "--support-size", "4", "--runs", "2"])
    assert result.exit_code == 0, result.output
    assert asked == [("predict", 4, 2), ("train_step", network_speed.TRAINING_SUPPORT_SIZE, 2)]
    assert "peak memory, S = 4          32.000      8.000 MiB    4.0×" in result.output
    assert "of 200 queries, S = 32       6.000      2.000 s      3.0×" in result.output


def test_the_networks_are_timed_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first round warms up, and the median of the others counts."""
    clock = iter([0, 50, 50, 90, 100, 101, 101, 105, 200, 203, 203, 205, 300, 302, 302, 305])
    monkeypatch.setattr(network_speed.time, "process_time", lambda: float(next(clock)))
    monkeypatch.setattr(network_speed, "build_networks", lambda: {"plain": None, "ours": None})
    assert network_speed.seconds(lambda network, episode: None, 1, 3) == {"plain": 2.0, "ours": 3.0}


def test_an_interruption_of_one_run_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, order = [0.0], []

    def work(name: str, seconds: float) -> None:
        clock[0] += seconds * (100 if len(order) == 2 else 1)
        order.append(name)

    monkeypatch.setattr(network_speed.time, "process_time", lambda: clock[0])
    found = network_speed.in_turns([lambda: work("a", 1.0), lambda: work("b", 3.0)], 5)
    assert found == pytest.approx([1, 3])
    assert order == ["a", "b"] * 6


def test_memory_is_what_a_prediction_adds_whatever_the_process_held_before(monkeypatch: pytest.MonkeyPatch) -> None:
    np.ones(2**26)  # half a GiB, given back at once
    kept: list[np.ndarray] = []
    monkeypatch.setattr(network_speed, "build_networks", lambda: {"ours": None})
    monkeypatch.setattr(network_speed, "predict", lambda *_: kept.append(np.ones(2**23)))
    assert network_speed.peak_growth_mib("ours", 1) == pytest.approx(64, abs=8)
