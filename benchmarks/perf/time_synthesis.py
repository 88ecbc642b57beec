"""Synthetic images per second, by family: `python -m benchmarks.perf.time_synthesis`.

Sets of 16 images of 128×128 are drawn by one thread. Seconds are CPU time of the process; the figure is the median over
the sets. `all` draws families by their probabilities; `superpixels` makes each set from one synthetic image.
"""

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
import torch

from incontext.synthesis.anatomies import FAMILIES
from incontext.synthesis.tasks import superpixel_set, synthetic_set

COUNT = 16
SIZE_PX = 128
SETS = 40


def images_per_second(draw_set: Callable[[np.random.Generator], object]) -> float:
    """Median images per CPU second over sets of different seeds, after a first set to warm up."""
    speeds = []
    for seed in range(1 + SETS):
        start = time.process_time()
        draw_set(np.random.default_rng(seed))
        speeds.append(COUNT / (time.process_time() - start))
    return median(speeds[1:])


def main() -> None:
    """Measure every family of synthetic images and print a line for each."""
    torch.set_num_threads(1)
    image = synthetic_set(1, SIZE_PX, np.random.default_rng(0))[0][0]
    draws: dict[str, Callable[[np.random.Generator], object]] = {
        **{family: partial(synthetic_set, COUNT, SIZE_PX, family=family) for family in FAMILIES},
        "all": partial(synthetic_set, COUNT, SIZE_PX),
        "superpixels": partial(superpixel_set, image, COUNT),
    }
    for name, draw_set in draws.items():
        print(f"{name:<12}{images_per_second(draw_set):>8,.0f} images/s", flush=True)


if __name__ == "__main__":
    main()
