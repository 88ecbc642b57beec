"""Batches fit the budget."""

import pytest
import torch

from incontext.inference import memory
from incontext.inference.memory import BYTES_PER_PIXEL, batch_size

CPU = torch.device("cpu")


@pytest.mark.parametrize(("squares", "expected"), [(0.5, 1), (1.0, 1), (3.9, 3), (12.5, 12), (1000.0, 16)])
def test_as_many_as_fit_and_are_of_use(squares: float, expected: int) -> None:
    budget_gb = squares * 128**2 * BYTES_PER_PIXEL / 1e9
    assert batch_size(128**2, 0, budget_gb, CPU) == expected


def test_a_support_that_is_read_with_every_query_takes_memory() -> None:
    assert 1 <= batch_size(128**2, 64, 1.0, CPU) < batch_size(128**2, 8, 1.0, CPU)


def test_the_usual_budget_is_half_of_what_is_free_up_to_a_gigabyte(monkeypatch: pytest.MonkeyPatch) -> None:
    square_gb = 128**2 * BYTES_PER_PIXEL / 1e9
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10e9 * square_gb)
    assert batch_size(128**2, 0, None, CPU) == 5
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1e15)
    assert batch_size(1024**2, 0, None, CPU) == 1
