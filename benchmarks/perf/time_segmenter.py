"""Time and memory of `Segmenter` against UniverSeg's plain definition: `python -m benchmarks.perf.time_segmenter`.

One `predict` call with 200 images of 512×512 and 32 labelled ones, from arrays to masks on their grids, with the
packaged weights on one thread. The plain definition (v1 plan, 128×128) walks through the support with every query, so
it is timed for a few, and only its network: no reading, resizing or thresholding. Time is CPU time of the process;
ratios are taken within a round, their median counts. Memory is the peak of a fresh process, libraries and weights
included, and its growth while `predict` runs. The backend `onnx` is measured where the extra is installed; its graphs
are exported before.
"""

import resource
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from statistics import median

import numpy as np
import torch

from benchmarks.experiments.network_speed import build_networks, draw_episode, predict
from incontext.segmenter import Segmenter

QUERIES = 200
SUPPORT_SIZE = 32
SIZE_PX = 512
ROUNDS = 3
PLAIN_QUERIES = 2


def draw_images(count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Draw images with bright discs on noise, in several sizes and positions, and their labels."""
    rng = np.random.default_rng(0)
    rows, columns = np.ogrid[:SIZE_PX, :SIZE_PX]
    images, labels = [], []
    for _ in range(count):
        (row, column), radius = rng.integers(120, SIZE_PX - 120, 2), rng.integers(40, 110)
        label = ((rows - row) ** 2 + (columns - column) ** 2 < radius**2).astype(np.uint8)
        images.append((rng.integers(0, 120, label.shape) + 100 * label).astype(np.uint8))
        labels.append(label)
    return images, labels


def segment(backend: str, queries: int) -> float:
    """CPU seconds of one `predict` call on a backend, with the encoding of the support."""
    images, labels = draw_images(queries + SUPPORT_SIZE)
    segmenter = Segmenter(device="cpu", backend=backend)
    segmenter.network.eval()
    start = time.process_time()
    masks = segmenter.predict(images[SUPPORT_SIZE:], images[:SUPPORT_SIZE], labels[:SUPPORT_SIZE]).masks
    seconds = time.process_time() - start
    if len(masks) != queries or any(mask.shape != (SIZE_PX, SIZE_PX) for mask in masks):
        msg = f"masks are incomplete: expected {queries} of {SIZE_PX} × {SIZE_PX}, got {len(masks)}. Nothing to time."
        raise ValueError(msg)
    return seconds


def plain_seconds_per_query() -> float:
    """CPU seconds of the plain definition for one query."""
    plain, episode = build_networks()["plain"], draw_episode(SUPPORT_SIZE)
    start = time.process_time()
    for _ in range(PLAIN_QUERIES):
        predict(plain, episode)
    return (time.process_time() - start) / PLAIN_QUERIES


def peak_mib() -> tuple[float, float]:
    """Peak of this process in MiB during one `predict` call, and its growth; right only in a fresh process."""
    torch.set_num_threads(1)
    images, labels = draw_images(QUERIES + SUPPORT_SIZE)
    segmenter = Segmenter(device="cpu")
    segmenter.network.eval()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    segmenter.predict(images[SUPPORT_SIZE:], images[:SUPPORT_SIZE], labels[:SUPPORT_SIZE])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024, (peak - before) / 1024


def rounds(backends: Sequence[str]) -> list[list[float]]:
    """CPU seconds per query of the plain definition and of each backend, measured in turn after a warm-up."""
    torch.set_num_threads(1)
    for backend in backends:
        segment(backend, queries=8)
    return [
        [plain_seconds_per_query(), *(segment(backend, QUERIES) / QUERIES for backend in backends)]
        for _ in range(ROUNDS)
    ]


def main() -> None:
    """Measure memory, in a process of its own, then times, and print a line for each backend."""
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        peak, growth = executor.submit(peak_mib).result()
    print(f"{QUERIES} images of {SIZE_PX}×{SIZE_PX}, S = {SUPPORT_SIZE}, one call, one thread")
    print(f"{'peak memory':<24}{peak:>10.0f} MiB, of which {growth:.0f} during the call", flush=True)
    backends = ["torch", *(["onnx"] if find_spec("onnxruntime") else [])]
    plain, *ours = zip(*rounds(backends), strict=True)
    print(f"{'plain definition':<24}{median(plain):>10.3f} s per query, its network alone")
    for backend, seconds in zip(backends, ours, strict=True):
        ratio = median(slow / fast for slow, fast in zip(plain, seconds, strict=True))
        print(f"{f'Segmenter, {backend}':<24}{median(seconds):>10.3f} s per query, {ratio:.1f}× the throughput")


if __name__ == "__main__":
    main()
