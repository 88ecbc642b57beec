"""Processor time per query of the named predictors: `python -m benchmarks.perf.time_predictors [NAME ...]`.

The queries have 128×128 pixels and supports of 16 of their own, all of them discs brighter than the noise around them.
Everything runs on one thread. Training per task is timed by itself.
"""

import sys
import time

import torch
from torch import Tensor

from benchmarks.predictors import NamedPredictor, TaskExamples, TaskPredictor, known_predictors, load_predictor

SIZE_PX, SUPPORT, QUERIES, EXAMPLES = 128, 16, 2, 64


def draw(*shape: int) -> tuple[Tensor, Tensor]:
    """Draw images of noisy discs, (*shape, 1, H, W), and their labels."""
    rows, columns = torch.meshgrid(torch.arange(SIZE_PX), torch.arange(SIZE_PX), indexing="ij")
    centres = torch.randint(SIZE_PX // 4, 3 * SIZE_PX // 4, (*shape, 1, 1, 1, 2))
    distances = (rows - centres[..., 0]) ** 2 + (columns - centres[..., 1]) ** 2
    labels = (distances <= (SIZE_PX // 8) ** 2).float()
    return 0.5 * torch.rand(labels.shape) + 0.3 * labels, labels


def report(named: NamedPredictor) -> None:
    """Measure one predictor and print its line."""
    predict, text = named.predict, ""
    if isinstance(predict, TaskPredictor):
        images, labels = draw(EXAMPLES)
        start = time.process_time()
        predict = predict.for_task("perf", TaskExamples((255 * images).byte(), labels.byte()))
        text = f", after {time.process_time() - start:.1f} s of training (none if kept from before)"
    with torch.inference_mode():
        predict(*episodes(1)[0])  # what happens only once
        start = time.process_time()
        for episode in episodes(QUERIES):
            predict(*episode)
    print(f"{named.name:<16}{(time.process_time() - start) / QUERIES:>8.3f} s per query{text}", flush=True)


def episodes(count: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Draw query images, each with support images and labels of its own."""
    return [(draw(1)[0], *draw(1, SUPPORT)) for _ in range(count)]


def main() -> None:
    """Measure the predictors named as arguments, or all, and print a line for each."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name in sys.argv[1:] or known_predictors():
        report(load_predictor(name))


if __name__ == "__main__":
    main()
