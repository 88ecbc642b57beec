"""Time and memory of the cross-block network against its plain definition: `python -m benchmarks.perf.network`.

Both hold the same weights (UniverSeg v1 plan, 128×128, batch 1) and run on one thread. Time is CPU time of the process,
the median of several runs taken in turn. Memory is the growth of the peak resident set while one prediction is made,
weights and inputs being in place, in a fresh process for each figure.
"""

import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.perf.plain_crossblock import PlainCrossBlockNet
from incontext.model import CrossBlockNet
from incontext.universeg import to_official

SUPPORT_SIZES = (1, 8, 32, 64)
TRAINING_SUPPORT_SIZE = 8
SIZE_PX = 128
RUNS = 5


def build_networks() -> dict[str, nn.Module]:
    """The plain definition and ours, with the same random weights."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    ours = CrossBlockNet()
    plain = PlainCrossBlockNet(ours.config.encoder_channels, ours.config.decoder_channels)
    plain.load_state_dict(to_official(ours.state_dict()))
    return {"plain": plain, "ours": ours}


def draw_episode(support_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """A random query image and a random support set."""
    images = torch.rand(1, 1 + 2 * support_size, 1, SIZE_PX, SIZE_PX)
    return images[:, 0], images[:, 1 : support_size + 1], images[:, support_size + 1 :].round()


def predict(network: nn.Module, episode: tuple[Tensor, Tensor, Tensor]) -> None:
    """One prediction."""
    with torch.no_grad():
        network(*episode)


def train_step(network: nn.Module, episode: tuple[Tensor, Tensor, Tensor]) -> None:
    """One forward and backward pass."""
    network.zero_grad()
    network(*episode).square().mean().backward()


def seconds(step: Callable[..., None], support_size: int) -> dict[str, float]:
    """Median CPU seconds of a step, by network."""
    networks, episode = build_networks(), draw_episode(support_size)
    times: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(1 + RUNS):
        for name, network in networks.items():
            start = time.process_time()
            step(network, episode)
            times[name].append(time.process_time() - start)
    return {name: median(after_warm_up) for name, (_, *after_warm_up) in times.items()}


def peak_growth_mib(name: str, support_size: int) -> float:
    """Growth of this process's peak resident set during one prediction; right only in a fresh process."""
    network, episode = build_networks()[name], draw_episode(support_size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    predict(network, episode)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def peak_growths_mib(support_size: int) -> dict[str, float]:
    """Memory growth by network, each measured in its own process."""
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as executor:
        return {name: executor.submit(peak_growth_mib, name, support_size).result() for name in ("plain", "ours")}


def print_row(what: str, unit: str, figures: dict[str, float]) -> None:
    """One line: both figures and how many times smaller ours is."""
    plain, ours = figures["plain"], figures["ours"]
    print(f"{what:<24}{plain:>10.2f} {ours:>10.2f} {unit:<4}{plain / ours:>6.1f}×", flush=True)


def main() -> None:
    """Measure and print everything; memory first, since a child starts with its parent's peak."""
    print(f"{'':<24}{'plain':>10} {'ours':>10} {'':<4}{'ratio':>7}")
    for support_size in SUPPORT_SIZES:
        print_row(f"peak memory, S = {support_size}", "MiB", peak_growths_mib(support_size))
    for support_size in SUPPORT_SIZES:
        print_row(f"prediction, S = {support_size}", "s", seconds(predict, support_size))
    print_row(f"training step, S = {TRAINING_SUPPORT_SIZE}", "s", seconds(train_step, TRAINING_SUPPORT_SIZE))


if __name__ == "__main__":
    main()
