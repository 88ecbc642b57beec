"""Memory is measured, and batches keep to what there is."""

import pytest
import torch

from benchmarks.scoring import metering
from benchmarks.scoring.metering import BatchSize, Meter, memory_share

MIB = 2**20


def test_a_meter_sees_the_peak_after_it_was_freed() -> None:
    meter = Meter("cpu")
    with meter, meter.timing():
        torch.zeros(100 * MIB // 4).add_(1)
    assert 90 * MIB < meter.peak_bytes < 200 * MIB
    assert meter.seconds > 0


def test_batches_double_until_the_budget_is_used() -> None:
    size, seen = BatchSize(budget_bytes=100.0, most=512), []
    for _ in range(6):
        seen.append(size.queries)
        size.learn(size.queries, peak_bytes=9 * size.queries)
    assert seen == [1, 2, 4, 8, 11, 11]


def test_batches_grow_no_further_than_they_gain_and_shrink_when_they_do_not_fit() -> None:
    size = BatchSize(budget_bytes=1e12, most=16)
    for _ in range(6):
        size.learn(size.queries, peak_bytes=1)
    assert size.queries == 16
    assert size.shrink()
    size.learn(8, peak_bytes=1)
    assert size.queries == 8
    assert [size.shrink() for _ in range(4)] == [True, True, True, False]


def test_a_small_last_batch_shrinks_nothing() -> None:
    size = BatchSize(budget_bytes=1e12, most=16)
    size.learn(8, peak_bytes=8)
    size.learn(1, peak_bytes=1)
    assert size.queries == 16


def test_processes_share_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory_share("cpu", 1) > 0
    monkeypatch.setattr(metering, "free_bytes", lambda device: 8.0 * MIB)  # which may change between two calls
    assert memory_share("cpu", 1) == 2 * memory_share("cpu", 2)
