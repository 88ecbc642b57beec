"""Distance transforms, ours against scipy's, in milliseconds per image: `python -m benchmarks.perf.time_distance`.

The contours are those of smooth blobs in square images; times are CPU times on one thread, the median of several runs.
`transform` finds the distance of every pixel, as `scipy` must; `at contour` only those of another contour's pixels,
which are all that metrics need. `all metrics` is the whole of `measure`.
"""

import time
from collections.abc import Callable
from statistics import median

import torch
from kornia.filters import gaussian_blur2d
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from benchmarks.scoring.metrics import contours, measure
from incontext.networks.distance import distance_transform, distances_at

SIZES_PX = (64, 128, 256)
BATCHES = (1, 16, 64)
RUNS = 5


def draw_blobs(count: int, size_px: int) -> Tensor:
    """Draw masks (B, 1, H, W) of a few smooth shapes each: blurred noise above a threshold."""
    deviation = size_px / 12
    kernel = 2 * int(2 * deviation) + 1
    noise = gaussian_blur2d(torch.randn(count, 1, size_px, size_px), (kernel, kernel), (deviation, deviation))
    return noise > 0.8 * noise.std()


def milliseconds(work: Callable[[], object]) -> float:
    """Median CPU milliseconds of a run, after a warm-up run."""
    work()
    seconds = []
    for _ in range(RUNS):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return 1000 * median(seconds)


def main() -> None:
    """Measure and print every size and batch."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{'':<14}{'scipy':>10}{'transform':>12}{'at contour':>12}{'all metrics':>13}   ms per image")
    for size_px in SIZES_PX:
        for count in BATCHES:
            masks, labels = draw_blobs(count, size_px), draw_blobs(count, size_px)
            outlines = contours(labels).squeeze(1)
            points = contours(masks).squeeze(1).nonzero()
            backgrounds = (~outlines).numpy()
            probabilities = torch.rand(masks.shape)
            works: list[Callable[[], object]] = [
                lambda: [distance_transform_edt(background) for background in backgrounds],  # noqa: B023 - run at once
                lambda: distance_transform(outlines),  # noqa: B023
                lambda: distances_at(points, outlines),  # noqa: B023
                lambda: measure(masks, labels, probabilities),  # noqa: B023
            ]
            scipy, full, partial, metrics = (milliseconds(work) / count for work in works)
            print(
                f"{count:>3} × {size_px:>3}²   {scipy:>10.2f}{full:>12.2f}{partial:>12.2f}{metrics:>13.2f}", flush=True
            )


if __name__ == "__main__":
    main()
