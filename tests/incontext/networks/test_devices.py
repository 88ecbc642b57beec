"""A device that exists is chosen, and its free memory is told."""

from pathlib import Path

import pytest
import torch

from incontext.networks.devices import choose_device, free_bytes
from megamed.readers import memory

CPU = torch.device("cpu")


def test_what_is_asked_for_is_chosen() -> None:
    assert choose_device("cpu") == choose_device(CPU) == CPU
    assert choose_device().type in ("cpu", "cuda")


@pytest.mark.parametrize("name", ["abacus", "cpu:x"])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"Device {name!r} cannot be used: .* Choose another, such as cpu\."):
        choose_device(name)


def test_memory_that_can_be_had_counts_as_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "FACTS", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemFree:  1 kB\nMemAvailable:   2000 kB\n")
    assert free_bytes(CPU) == 2048e3


def test_some_memory_is_free_on_any_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "FACTS", tmp_path / "none")
    assert free_bytes(CPU) > 0
