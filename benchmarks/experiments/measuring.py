"""Experiments on other measures than a suite's Dice: whether a network reads its support, and its time per query."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean, median

import torch
from torch import Tensor

from benchmarks.experiments.averages import ranging
from benchmarks.experiments.bench import Bench, Coordinates, Findings, Point
from benchmarks.experiments.network_speed import QUERIES_PER_BATCH, SIZE_PX, build_networks, draw_episode, predict
from benchmarks.experiments.support_probe import SUPPORTS, probe_suite
from benchmarks.predictors import load_network
from benchmarks.scoring.evaluator import exactly
from incontext.networks.checkpoint import PACKAGED
from incontext.networks.protocols import SupportEncoder

SUPPORT_SIZES = (1, 4, 16, 64)
QUERIES = (1, 4, 16, 64, 200)
SINGLE = "1"
"""Key of the times of a single query; keys are numbers of queries, as text because JSON has no others."""
PLAIN = "cross-block, plain definition"


def probing(bench: Bench) -> Findings:
    """Measure Dice with the true support and with supports that were tampered with, for as many seeds as draws."""
    details = bench.claim_weights()
    found = bench.kept_draws("probe", partial(probed, bench))
    true = Coordinates("true")
    points = []
    for kind, what in SUPPORTS.items():
        if all(kind in scores for scores in found):
            values = [scores[kind] for scores in found]
            costs = [scores[kind] - scores["true"] for scores in found]
            point = Point(Coordinates(kind), ranging(values, fmean), about=what)
            points.append(point if kind == "true" else replace(point, reference=true, difference=ranging(costs, fmean)))
    return Findings(points, details)


def probed(bench: Bench, seed: int) -> dict[str, float]:
    """Mean Dice in [0, 1] by kind of support, for queries and supports drawn by one seed."""
    settings, device = replace(bench.settings, seed=seed), bench.execution.device
    scores: dict[str, float] = probe_suite(bench.collection.path, settings, bench.weights, device)["scores"]
    return scores


def cost(bench: Bench) -> Findings:
    """Compare processor time per query of a network that encodes its support once with one that does so every time.

    The plain definition walks through the support with each query, so its time per query, in milliseconds, is the same
    for any number of queries.
    """
    details, weights = bench.claim_weights(), bench.weights
    name = "packaged" if weights == PACKAGED else weights.stem
    points, runs = [], bench.settings.draws
    for size in SUPPORT_SIZES:
        plain = bench.kept(f"plain-S{size}", partial(plain_ms, size, runs))
        ours = bench.kept(f"ours-S{size}", partial(ours_ms, weights, size, runs))
        for queries in QUERIES:
            points.append(Point(Coordinates(queries, name, f"S = {size}"), ranging(ours[str(queries)], median)))
            points.append(Point(Coordinates(queries, PLAIN, f"S = {size}"), ranging(plain[SINGLE], median)))
    return Findings(points, details | {"size_px": SIZE_PX, "runs": runs})


def plain_ms(support_size: int, runs: int) -> dict[str, list[float]]:
    """Measured times of single predictions of the plain definition, in milliseconds, under the key `SINGLE`."""
    network, episode = build_networks()["plain"], draw_episode(support_size)
    return {SINGLE: times_ms(lambda: predict(network, episode), runs)}


def ours_ms(weights: Path, support_size: int, runs: int) -> dict[str, list[float]]:
    """Measured times per query of the network in a weights file, in milliseconds, by the number of queries."""
    network = load_network(weights)
    _, images, labels = draw_episode(support_size)
    return {
        str(queries): [each / queries for each in times_ms(partial(segment, network, images, labels, queries), runs)]
        for queries in QUERIES
    }


def segment(network: SupportEncoder, images: Tensor, labels: Tensor, queries: int) -> None:
    """Encode a support and segment a number of queries by it."""
    code = network.encode_support(images, labels)
    for batch in torch.rand(queries, *images.shape[2:]).split(QUERIES_PER_BATCH):
        network.segment(batch, code)


def times_ms(work: Callable[[], object], runs: int) -> list[float]:
    """Measure processor times of repeated work on one thread, in milliseconds, after a warm-up."""
    times = []
    with exactly():
        for _ in range(1 + runs):
            start = time.process_time()
            work()
            times.append(1000 * (time.process_time() - start))
    return times[1:]
