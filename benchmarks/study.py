"""The architecture study: variants of the training configuration, each trained on the same processor time."""

import json
import time
import tomllib
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import resources
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.variants import install
from incontext import checkpoint
from incontext.episodes import dev_tasks
from incontext.train import dev_dice, train
from incontext.train_config import TrainConfig
from megamed import Collection

SUPPORT_SIZES = (1, 16, 64)
DEV_SUPPORT_SIZE, DEV_DRAWS = 16, 3
MANY_QUERIES, QUERIES_PER_BATCH = 200, 8
RUNS = 3

Override = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """One variant, trained and measured once."""

    row: str
    seed: int
    minutes: float
    """Of processor time."""

    def folder(self, out: Path) -> Path:
        """Where this trial is kept."""
        slug = "".join(letter if letter.isalnum() else "-" for letter in self.row)
        return out / f"{slug}-{self.minutes:g}min-seed{self.seed}"


def rows() -> dict[str, Override]:
    """What each row changes in the default configuration, and by `variant` in the network's code."""
    return tomllib.loads((resources.files("benchmarks") / "study.toml").read_text(encoding="utf-8"))


def configure(row: str, seed: int, minutes: float) -> TrainConfig:
    """The configuration of a trial.

    Raises:
        ValueError: If there is no such row.
    """
    if row not in (known := rows()):
        msg = f"Unknown row {row!r}: expected one of {', '.join(map(repr, known))}."
        raise ValueError(msg)
    return overridden({k: v for k, v in known[row].items() if k != "variant"}, seed, minutes)


def overridden(override: Override, seed: int, minutes: float) -> TrainConfig:
    """The default configuration with some settings changed, for a training of so much processor time."""
    plain = TrainConfig(seed=seed, minutes=minutes, workers=1).model_dump(mode="json")
    return TrainConfig.model_validate(_merged(plain, override))


def _merged(base: dict[str, Any], override: Override) -> dict[str, Any]:
    """Change some settings; the settings of another family take the place of all of a network's."""
    if override.get("family", base.get("family")) != base.get("family"):
        return override
    nested = {k: _merged(base[k], v) for k, v in override.items() if isinstance(v, dict) and isinstance(base[k], dict)}
    return base | override | nested


def run_study(collection: Path, out: Path, trials: Iterable[Trial]) -> list[dict[str, Any]]:
    """Train and measure what is not yet measured, each trial in a process and on a core of its own, in turn.

    Returns:
        The result of each trial, as in its `result.json`.
    """
    results = []
    for trial in trials:
        path = trial.folder(out) / "result.json"
        if not path.is_file():
            configure(trial.row, trial.seed, trial.minutes)  # refused before anything is trained
            with ProcessPoolExecutor(1, get_context("spawn")) as executor:
                result = executor.submit(measure, collection, out, trial).result()
            path.write_text(json.dumps(result, indent=1), encoding="utf-8")
        results.append(json.loads(path.read_text(encoding="utf-8")))
    return results


def measure(collection: Path, out: Path, trial: Trial) -> dict[str, Any]:
    """Train a trial and measure how well, how fast and how costly it became; right only in a fresh process."""
    torch.set_num_threads(1)
    if variant := rows()[trial.row].get("variant"):
        install(variant)
    folder = trial.folder(out)
    weights = train(configure(trial.row, trial.seed, trial.minutes), collection, folder, "cpu")
    network, source = checkpoint.load(weights), checkpoint.read_metadata(weights)["provenance"]
    return {
        "row": trial.row,
        "seed": trial.seed,
        "minutes": trial.minutes,
        "steps": source["steps"],
        "queries_per_second": source["queries"] / source["cpu_seconds"],
        "parameters": sum(each.numel() for each in network.parameters()),
        "dev_dice": score(network, collection),
        "query_ms": {str(size): query_ms(network, size) for size in SUPPORT_SIZES},
    }


def score(network: nn.Module, collection: Path) -> dict[str, float]:
    """Dice of each dev dataset, averaged over draws of queries and supports; the same draws for every trial."""
    draws = [dev_dice(network, dev_tasks(Collection(collection), seed, DEV_SUPPORT_SIZE)) for seed in range(DEV_DRAWS)]
    return {dataset: mean(draw[dataset] for draw in draws) for dataset in draws[0]}


@torch.inference_mode()
def query_ms(network: nn.Module, support_size: int) -> dict[str, float]:
    """Processor milliseconds per query at 128×128, for one query and for many that share a support."""
    images, labels = torch.rand(2, 1, support_size, 1, 128, 128).unbind()

    def encode() -> Any:
        return network.encode_support(images, labels.round())  # type: ignore[operator]

    code = encode()

    def segment(count: int) -> Tensor:
        return network.segment(torch.rand(count, 1, 128, 128), code)  # type: ignore[operator]

    encoding_ms = cpu_ms(encode)
    alone_ms = encoding_ms + cpu_ms(partial(segment, 1))
    together_ms = encoding_ms / MANY_QUERIES + cpu_ms(partial(segment, QUERIES_PER_BATCH)) / QUERIES_PER_BATCH
    return {"1": alone_ms, str(MANY_QUERIES): together_ms}


def cpu_ms(work: Callable[[], object]) -> float:
    """Median processor time of some work."""
    times = []
    for _ in range(RUNS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1000 * median(times)


def table(results: Iterable[dict[str, Any]], command: str) -> str:
    """A Markdown table, a line per row of the study and its seeds together, the best first.

    Args:
        results: Of trials with the same processor time.
        command: What measures a row, up to the row's name.
    """
    by_row: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        by_row.setdefault(result["row"], []).append(result)
    heads = ["row", "dev Dice", "steps", "queries learnt per s", "ms per query, S = 1 / 16 / 64", "with 200 queries"]
    lines = [(_mean_dice(found), _line(row, found, command)) for row, found in by_row.items()]
    lines.sort(key=lambda scored: -scored[0])
    return "\n".join([_join(heads), _join(["---"] * len(heads)), *(line for _, line in lines)]) + "\n"


def _line(row: str, found: list[dict[str, Any]], command: str) -> str:
    each = [100 * mean(result["dev_dice"].values()) for result in found]
    dice = f"{mean(each):.1f}" + (f" ({', '.join(f'{value:.1f}' for value in each)})" if len(each) > 1 else "")
    steps, speed = (mean(result[name] for result in found) for name in ("steps", "queries_per_second"))
    costs = [
        " / ".join(f"{mean(r['query_ms'][str(size)][count] for r in found):.0f}" for size in SUPPORT_SIZES)
        for count in ("1", str(MANY_QUERIES))
    ]
    return _join([f'`{command} "{row}"`', dice, f"{steps:.0f}", f"{speed:.1f}", *costs])


def _mean_dice(found: list[dict[str, Any]]) -> float:
    return mean(mean(result["dev_dice"].values()) for result in found)


def _join(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
