"""Experiments that measure something else than the suite's Dice: whether a network reads its support, what it costs."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean, median

import torch
from torch import Tensor

from benchmarks.analysis.statistics import Interval
from benchmarks.experiments.bench import Bench, Coordinates, Findings, Point
from benchmarks.experiments.network_speed import build_networks, draw_episode, predict
from benchmarks.experiments.support_probe import SUPPORTS, probe_suite
from benchmarks.predictors import load_network
from benchmarks.scoring.evaluator import exactly
from incontext.networks.checkpoint import PACKAGED
from incontext.networks.protocols import SupportEncoder
from megamed.files import sha256_of

SUPPORT_SIZES = (1, 4, 16, 64)
QUERIES = (1, 4, 16, 64, 200)
QUERIES_PER_BATCH = 8
RUNS = 3
SINGLE = "1"
"""The number of queries, as JSON names it, of a network that is asked one by one."""
PLAIN = "cross-block, plain definition"


def probing(bench: Bench) -> Findings:
    """Dice with the support as it is, and with supports that were tampered with; with as many seeds as draws."""
    weights = weights_of(bench)
    bench.claim({"weights": sha256_of(weights)})
    seeds = range(bench.settings.seed, bench.settings.seed + bench.settings.draws)
    found = [bench.kept(f"probe-seed{seed}", partial(probed, bench, weights, seed)) for seed in seeds]
    true = Coordinates("true")
    points = []
    for kind, what in SUPPORTS.items():
        if all(kind in scores for scores in found):
            values = [scores[kind] for scores in found]
            costs = [scores[kind] - scores["true"] for scores in found]
            point = Point(Coordinates(kind), ranging(values, fmean), about=what)
            points.append(point if kind == "true" else replace(point, reference=true, difference=ranging(costs, fmean)))
    return Findings(points, {"fingerprints": {"weights": sha256_of(weights)}})


def probed(bench: Bench, weights: Path, seed: int) -> dict[str, float]:
    """The scores of one probe."""
    settings = replace(bench.settings, seed=seed)
    scores: dict[str, float] = probe_suite(bench.collection.path, settings, weights, bench.execution.device)["scores"]
    return scores


def weights_of(bench: Bench) -> Path:
    """The weights file of the one predictor to look into.

    Raises:
        ValueError: If there are several, or it is none.
    """
    names = bench.options.predictors
    path = PACKAGED if names == ("packaged",) else Path(names[0])
    if len(names) > 1 or not path.is_file():
        msg = f"The experiment looks into one network: expected packaged or a weights file, got {', '.join(names)}."
        raise ValueError(msg)
    return path


def cost(bench: Bench) -> Findings:
    """Processor milliseconds per query: of a network that reads its support once, and of one that reads it every time.

    A plain prediction walks through the support with its query, so that it costs the same however many there are.
    """
    weights = weights_of(bench)
    bench.claim({"weights": sha256_of(weights)})
    name = "packaged" if weights == PACKAGED else weights.stem
    points = []
    for size in SUPPORT_SIZES:
        plain = bench.kept(f"plain-S{size}", partial(plain_ms, size))
        ours = bench.kept(f"ours-S{size}", partial(ours_ms, weights, size))
        for queries in QUERIES:
            points.append(Point(Coordinates(queries, name, f"S = {size}"), ranging(ours[str(queries)], median)))
            points.append(Point(Coordinates(queries, PLAIN, f"S = {size}"), ranging(plain[SINGLE], median)))
    return Findings(points, {"fingerprints": {"weights": sha256_of(weights)}, "size_px": 128, "runs": RUNS})


def plain_ms(support_size: int) -> dict[str, list[float]]:
    """Times of single predictions of the plain definition, in milliseconds, under `SINGLE`."""
    network, episode = build_networks()["plain"], draw_episode(support_size)
    return {SINGLE: times_ms(lambda: predict(network, episode))}


def ours_ms(weights: Path, support_size: int) -> dict[str, list[float]]:
    """Times per query of the network in a weights file, in milliseconds, by the number of queries."""
    network = load_network(weights)
    _, images, labels = draw_episode(support_size)
    return {
        str(queries): [each / queries for each in times_ms(partial(segment, network, images, labels, queries))]
        for queries in QUERIES
    }


def segment(network: SupportEncoder, images: Tensor, labels: Tensor, queries: int) -> None:
    """Read a support and segment so many queries by it."""
    code = network.encode_support(images, labels)
    for batch in torch.rand(queries, *images.shape[2:]).split(QUERIES_PER_BATCH):
        network.segment(batch, code)


def times_ms(work: Callable[[], object]) -> list[float]:
    """Processor times of some work on one thread, after a first one."""
    times = []
    with exactly():
        for _ in range(1 + RUNS):
            start = time.process_time()
            work()
            times.append(1000 * (time.process_time() - start))
    return times[1:]


def ranging(values: Sequence[float], middle: Callable[[Iterable[float]], float]) -> Interval:
    """The middle of some values between the lowest and the highest."""
    return Interval(middle(values), min(values), max(values))
