"""Images prompted per second: `python -m benchmarks.perf.time_prompts`.

A hundred invented images of 128×128, one thread, CPU time of the process. Masks to correct are labels that were moved,
or labels with noise.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from incontext.synthesis.tasks import synthetic_set
from incontext.training.prompts import centre_click, corrections, first_prompts

IMAGES, TASKS, SIZE_PX = 100, 25, 128
RUNS = 8


def draw_labels(rng: np.random.Generator) -> Tensor:
    """Draw labels of invented images."""
    labels = [synthetic_set(IMAGES // TASKS, SIZE_PX, rng)[1] for _ in range(TASKS)]
    return torch.from_numpy(np.concatenate(labels)).float().unsqueeze(1)


def images_per_second(work: Callable[[], object]) -> float:
    """Images per CPU second, the median of several runs after a warm-up."""
    rates = []
    for _ in range(1 + RUNS):
        start = time.process_time()
        work()
        rates.append(IMAGES / (time.process_time() - start))
    return float(np.median(rates[1:]))


def main() -> None:
    """Print a line for each kind of prompts."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    labels = draw_labels(rng)
    moved = torch.roll(labels, (5, -4), (2, 3))
    noisy = labels + F.avg_pool2d(torch.randn(IMAGES, 1, SIZE_PX, SIZE_PX), 7, 1, 3) > 0.5
    works: dict[str, Callable[[], Tensor]] = {
        "where to begin": lambda: first_prompts(labels, rng),
        "corrections, moved masks": lambda: corrections(labels, moved, rng),
        "corrections, noisy masks": lambda: corrections(labels, noisy, rng),
        "centre of the largest error": lambda: centre_click(labels, moved),
    }
    for name, work in works.items():
        print(f"{name:<30}{images_per_second(work):>8.0f} images per second")


if __name__ == "__main__":
    main()
