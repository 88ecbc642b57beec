"""Loading of batches: prefetched, shared among processes, grouped into steps, with the time that they took."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from torch.utils.data import DataLoader, Dataset

from incontext.training.batches import Batch, StepBatches
from incontext.training.config import TrainConfig
from incontext.training.distributed import Processes
from incontext.training.episodes import TrainingData

Item = TypeVar("Item")

ENDLESS = 2**48
"""Number of batches that no training reaches."""
NOTICE_S = 2.0
"""Seconds within which torch tells that a worker was killed, of which a broken connection may be the first sign."""


@dataclass(frozen=True)
class StepInput:
    """The batches that one process contributes to an optimiser step, and the time that they took."""

    batches: dict[int, Batch]
    """Batches by their number in the run."""
    cpu_seconds: float
    """Processor time that making the batches took, in whichever process."""
    waited_seconds: float
    """Seconds that the network waited for the batches."""


class Timed(Dataset[tuple[Batch, float]]):
    """Batches, each with the processor seconds that it took to make."""

    def __init__(self, batches: StepBatches) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> tuple[Batch, float]:
        started = time.process_time()
        return self._batches[index], time.process_time() - started


def load_steps(
    config: TrainConfig, data: TrainingData, first_step: int, processes: Processes, pin_memory: bool = False
) -> Iterator[StepInput]:
    """Yield the batches of this process for every step from the first on, without end.

    Batch i belongs to step `i // batches_per_step`, and of several processes to that of rank `i % count`.

    Raises:
        ValueError: If the batches of a step do not divide among the processes.
    """
    share = processes.share(range(config.batches_per_step))
    numbers = range(first_step * config.batches_per_step + processes.rank, ENDLESS, processes.count)
    batches = StepBatches(config.episodes, config.augmentation, data, config.seed, ENDLESS)
    loader = DataLoader(
        Timed(batches), batch_size=None, sampler=numbers, num_workers=config.workers, pin_memory=pin_memory
    )
    arriving = zip(numbers, loader, strict=True)
    while True:
        started = time.perf_counter()
        step = _next_of(arriving, len(share))
        yield StepInput(
            batches={number: batch for number, (batch, _) in step},
            cpu_seconds=sum(seconds for _, (_, seconds) in step),
            waited_seconds=time.perf_counter() - started,
        )


def _next_of(arriving: Iterator[Item], count: int) -> list[Item]:
    try:
        return list(itertools.islice(arriving, count))
    except (EOFError, OSError):
        time.sleep(NOTICE_S)  # torch raises its error as soon as the signal of a worker's end comes
        raise
