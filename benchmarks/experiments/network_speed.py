"""Time and memory of the networks against UniverSeg's plain definition: `incontext-bench speed`.

The cross-block network holds the same weights as the plain definition (UniverSeg v1 plan, 128×128, batch 1); all run
on one thread. Time is CPU time of the process, the median of several runs taken in turn. Memory is the growth of the
resident set during one prediction, at its peak, with weights and inputs loaded, in a fresh process for each figure.

The support-once network is compared at what it is made for: many queries that share a support, and training, where
each image of a set is a query of all others. The plain definition has to walk through the support with every query.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.experiments.plain_cross_block import PlainCrossBlockNet
from benchmarks.scoring.metering import Meter
from incontext.networks.cross_block import CrossBlockNet
from incontext.networks.support_once import SupportOnceNet
from incontext.networks.universeg import to_official

SUPPORT_SIZES = (1, 8, 32, 64)
TRAINING_SUPPORT_SIZE = 8
SHARED_SUPPORT_SIZE = 32
QUERIES = 200
QUERIES_PER_BATCH = 8
SIZE_PX = 128
RUNS, FEW_RUNS = 5, 3


def build_networks() -> dict[str, nn.Module]:
    """Build the plain definition and our cross-block network with the same random weights."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    ours = CrossBlockNet()
    plain = PlainCrossBlockNet(ours.config.encoder_channels, ours.config.decoder_channels)
    plain.load_state_dict(to_official(ours.state_dict()))
    return {"plain": plain, "ours": ours}


def draw_episode(support_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw a random query image and a random support set."""
    images = torch.rand(1, 1 + 2 * support_size, 1, SIZE_PX, SIZE_PX)
    return images[:, 0], images[:, 1 : support_size + 1], images[:, support_size + 1 :].round()


def predict(network: nn.Module, episode: tuple[Tensor, Tensor, Tensor]) -> None:
    """Predict the query of an episode once, without gradients."""
    with torch.no_grad():
        network(*episode)


def train_step(network: nn.Module, episode: tuple[Tensor, Tensor, Tensor]) -> None:
    """Run a forward and a backward pass on one episode."""
    network.zero_grad()
    network(*episode).square().mean().backward()


def in_turns(works: Sequence[Callable[[], object]], runs: int) -> list[float]:
    """Median CPU seconds of each of several works over some runs, in which they take turns, after a warm-up."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(1 + runs):
        for taken, work in zip(times, works, strict=True):
            start = time.process_time()
            work()
            taken.append(time.process_time() - start)
    return [median(after_warm_up) for _, *after_warm_up in times]


def seconds(step: Callable[..., None], support_size: int, runs: int) -> dict[str, float]:
    """Median CPU seconds of a step, by network."""
    networks, episode = build_networks(), draw_episode(support_size)
    times = in_turns([partial(step, network, episode) for network in networks.values()], runs)
    return dict(zip(networks, times, strict=True))


def seconds_per_query(runs: int) -> dict[str, float]:
    """Median CPU seconds per query when many share a support, by network; encoding the support is included."""
    plain, network = build_networks()["plain"], SupportOnceNet().eval()
    episode = draw_episode(SHARED_SUPPORT_SIZE)
    queries = torch.rand(QUERIES, 1, SIZE_PX, SIZE_PX).split(QUERIES_PER_BATCH)

    @torch.no_grad()
    def ask_all() -> None:
        code = network.encode_support(*episode[1:])
        for batch in queries:
            network.segment(batch, code)

    one, all_queries = in_turns([partial(predict, plain, episode), ask_all], runs)
    return {"plain": one, "ours": all_queries / QUERIES}


def training_seconds_per_query(runs: int) -> dict[str, float]:
    """Median CPU seconds of a forward and backward pass, per query of the batch, by network."""
    plain, network = build_networks()["plain"], SupportOnceNet()
    episode = draw_episode(TRAINING_SUPPORT_SIZE)
    images, labels = torch.rand(2, 1, TRAINING_SUPPORT_SIZE + 1, 1, SIZE_PX, SIZE_PX).unbind()

    def learn_all() -> None:
        network.zero_grad()
        network.leave_one_out(images, labels.round()).square().mean().backward()

    one, whole_set = in_turns([partial(train_step, plain, episode), learn_all], runs)
    return {"plain": one, "ours": whole_set / images.shape[1]}


def peak_growth_mib(name: str, support_size: int) -> float:
    """Growth of this process's resident set during one prediction, at its peak; right only in a fresh process."""
    network, episode = build_networks()[name], draw_episode(support_size)
    with Meter("cpu") as meter:
        predict(network, episode)
    return meter.peak_bytes / 2**20


def peak_growths_mib(support_size: int) -> dict[str, float]:
    """Growth of the peak resident set by network, in MiB, each measured in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as executor:
        return {name: executor.submit(peak_growth_mib, name, support_size).result() for name in ("plain", "ours")}


def table_row(what: str, unit: str, figures: dict[str, float]) -> str:
    """Format one line of the table: both figures, and the ratio of the plain definition's to ours."""
    plain, ours = figures["plain"], figures["ours"]
    return f"{what:<24}{plain:>10.3f} {ours:>10.3f} {unit:<4}{plain / ours:>6.1f}×"


def measure(support_sizes: Sequence[int] = SUPPORT_SIZES, runs: int = RUNS) -> Iterator[str]:
    """Measure time and memory and yield a table by lines.

    Args:
        support_sizes: Numbers of labelled examples.
        runs: Number of runs that times are the median of; at most three of training and of many queries.
    """
    few = min(runs, FEW_RUNS)
    yield f"{'':<24}{'plain':>10} {'ours':>10} {'':<4}{'ratio':>7}"
    for support_size in support_sizes:
        yield table_row(f"peak memory, S = {support_size}", "MiB", peak_growths_mib(support_size))
    for support_size in support_sizes:
        yield table_row(f"prediction, S = {support_size}", "s", seconds(predict, support_size, runs))
    yield table_row(
        f"training step, S = {TRAINING_SUPPORT_SIZE}", "s", seconds(train_step, TRAINING_SUPPORT_SIZE, runs)
    )
    yield ""
    yield f"{'':<24}{'plain':>10} {'once':>10} {'':<4}{'ratio':>7}"
    yield table_row(f"of {QUERIES} queries, S = {SHARED_SUPPORT_SIZE}", "s", seconds_per_query(few))
    yield table_row(f"query learnt, S = {TRAINING_SUPPORT_SIZE}", "s", training_seconds_per_query(few))
