"""Time to prepare batches, and the wait of training for them: `python -m benchmarks.perf.time_episodes COLLECTION`.

Each stage is CPU time of one thread, the mean over the same batches of the default configuration: drawing sets from
memory, drawing synthetic sets instead, augmenting. Then the default network trains on batches that a worker of the
loader prepares; waiting is the share of the wall time that passes between asking for a batch and having it.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from incontext.networks.support_once import SupportOnceNet
from incontext.training.augment import AugmentConfig
from incontext.training.batches import Batch, StepBatches
from incontext.training.episodes import EpisodeConfig, TrainingData
from incontext.training.losses import segmentation_loss

BATCHES = 40
STEPS = 12
WARM_UP_STEPS = 3


def stages(data: TrainingData) -> dict[str, Callable[[int], object]]:
    """Functions from the number of a batch to a worker's preparation of it, by the stages that they include."""

    def batches(config: EpisodeConfig) -> StepBatches:
        return StepBatches(config, AugmentConfig(), data, seed=0, count=BATCHES)

    def draw(config: EpisodeConfig) -> Callable[[int], object]:
        made = batches(config)
        return lambda number: made.draw(np.random.default_rng((0, number)))

    return {
        "drawing": draw(EpisodeConfig()),
        "drawing, all synthetic": draw(EpisodeConfig(synthetic_share=1)),
        "drawing, all superpixels": draw(EpisodeConfig(superpixel_share=1)),
        "drawing and augmenting": batches(EpisodeConfig()).__getitem__,
    }


def cpu_ms(work: Callable[[int], object]) -> float:
    """Mean CPU milliseconds per batch of some work, which is given the number of the batch."""
    work(0)
    start = time.process_time()
    for number in range(BATCHES):
        work(number)
    return (time.process_time() - start) / BATCHES * 1e3


def waiting(data: TrainingData, workers: int) -> tuple[float, float]:
    """Mean wall seconds of a training step without and with its wait for the batch."""
    batches = StepBatches(EpisodeConfig(), AugmentConfig(), data, seed=0, count=WARM_UP_STEPS + STEPS)
    loader, network = iter(DataLoader(batches, batch_size=None, num_workers=workers)), SupportOnceNet()
    for _ in range(WARM_UP_STEPS):
        train_step(network, next(loader))
    start, busy = time.perf_counter(), 0.0
    for batch in loader:
        step = time.perf_counter()
        train_step(network, batch)
        busy += time.perf_counter() - step
    return busy / STEPS, (time.perf_counter() - start) / STEPS


def train_step(network: SupportOnceNet, batch: Batch) -> None:
    """Run a forward and a backward pass on a batch."""
    network.zero_grad()
    logits = network.leave_one_out(batch.images, batch.labels, batch.queries)
    segmentation_loss(logits, batch.labels[:, : batch.queries]).backward()


def main() -> None:
    """Measure the stages and the waiting on the collection named as an argument, and print a line for each."""
    torch.set_num_threads(1)
    data = TrainingData.load(Path(sys.argv[1]), seed=0)
    for name, work in stages(data).items():
        spent = cpu_ms(work)
        print(f"{name:<26}{spent:>8.1f} ms per batch {1e3 / spent:>8.1f} batches/s", flush=True)
    for workers in (0, 1):
        busy, whole = waiting(data, workers)
        print(f"{workers} workers: {busy * 1e3:>6.0f} ms per step, waiting {1 - busy / whole:.1%}", flush=True)


if __name__ == "__main__":
    main()
