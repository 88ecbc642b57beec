"""Architecture study: variants of the training configuration, each trained on the same processor time.

This time is stated in steps of the default configuration. The relative cost of a variant's step is measured beside the
default's, so that neither the machine nor its other load decides for how many steps a variant is trained.
"""

import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from statistics import mean
from typing import Any, cast

import torch

from benchmarks.experiments.network_variants import install
from benchmarks.experiments.relative_cost import MANY_QUERIES, Training, compare_queries, compare_trainings
from incontext import __version__
from incontext.networks import checkpoint
from incontext.networks.protocols import SupportNetwork
from incontext.training.config import TrainConfig
from incontext.training.episodes import TrainingData, dev_tasks
from incontext.training.loop import DEV_SEED, train
from incontext.training.objectives import dev_dice
from megamed import Collection, manifest
from megamed.executors import local_executor
from megamed.files import claimed, read_json, sha256_of, write_json

SUPPORT_SIZES = (1, 16, 64)
DEV_SUPPORT_SIZE, DEV_DRAWS = 16, 3

Override = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """Variant of the study, trained and measured once with one seed."""

    row: str
    seed: int
    steps: int
    """Number of steps of the default configuration whose processor time this trial gets."""

    def folder(self, out: Path) -> Path:
        """Folder of this trial's files, below that of the study."""
        slug = "".join(letter if letter.isalnum() else "-" for letter in self.row)
        return out / f"{slug}-{self.steps}steps-seed{self.seed}"


def rows() -> dict[str, Override]:
    """Changes that each row of `study.toml` makes to the default configuration; `variant` is a key of `VARIANTS`."""
    return tomllib.loads((resources.files("benchmarks.experiments") / "study.toml").read_text(encoding="utf-8"))


def configure(row: str, seed: int, steps: int) -> TrainConfig:
    """Training configuration of a row of the study.

    Raises:
        ValueError: If no row has this name; the message lists those there are.
    """
    if row not in (known := rows()):
        msg = f"Unknown row {row!r}: expected one of {', '.join(map(repr, known))}."
        raise ValueError(msg)
    return overridden({k: v for k, v in known[row].items() if k != "variant"}, seed, steps)


def overridden(override: Override, seed: int, steps: int) -> TrainConfig:
    """Change some settings of the default configuration, for a training of a given number of steps."""
    plain = TrainConfig(seed=seed, steps=steps, workers=1).model_dump(mode="json")
    return TrainConfig.model_validate(_merged(plain, override))


def _merged(base: dict[str, Any], override: Override) -> dict[str, Any]:
    """Merge changes into nested settings; those of a network of another family replace all of the network's."""
    if override.get("family", base.get("family")) != base.get("family"):
        return override
    nested = {k: _merged(base[k], v) for k, v in override.items() if isinstance(v, dict) and isinstance(base[k], dict)}
    return base | override | nested


def run_study(collection: Path, out: Path, trials: Iterable[Trial]) -> list[dict[str, Any]]:
    """Train and measure the trials that have no result yet, one by one, each in a process and on a core of its own.

    Returns:
        The result of each trial, as in its `result.json`.

    Raises:
        ValueError: If a row is unknown, a result is damaged or of another collection, configuration or version, or
            another study is at work in the folder.
    """
    with claimed(out, "study"):
        return [_result(collection, out, trial) for trial in trials]


def _result(collection: Path, out: Path, trial: Trial) -> dict[str, Any]:
    """Read the result of a trial, or run the trial in a fresh process."""
    path, of = trial.folder(out) / "result.json", _made_of(collection, trial)
    if not path.is_file():
        with local_executor(1) as executor:
            result = executor.submit(measure, collection, out, trial).result()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, result | {"made_of": of}, indent=1)
    result = read_json(path, "Delete it, and the same command measures the trial again.")
    if result.get("made_of") != of:
        msg = (
            f"{path} is the result of another trial: expected one of this collection, configuration and version, got "
            "another. Choose another --out, or delete the folder of the trial."
        )
        raise ValueError(msg)
    return result


def _made_of(collection: Path, trial: Trial) -> str:
    """Hash of all that decides the result of a trial; an unknown row is refused before anything is trained."""
    config = configure(trial.row, trial.seed, trial.steps).model_dump_json()
    found = [sha256_of(collection / manifest.NAME), config, rows()[trial.row].get("variant"), __version__]
    return sha256_of(json.dumps(found).encode())


def measure(collection: Path, out: Path, trial: Trial) -> dict[str, Any]:
    """Train a trial and measure Dice, speed and relative cost of its network; right only in a fresh process."""
    torch.set_num_threads(1)
    config, plain = configure(trial.row, trial.seed, trial.steps), overridden({}, trial.seed, trial.steps)
    default = Training(plain, TrainingData.load(collection, DEV_SEED, plain.episodes))  # before a variant replaces it
    if variant := rows()[trial.row].get("variant"):
        install(variant)
    same = config.episodes == plain.episodes
    data = default.data if same else TrainingData.load(collection, DEV_SEED, config.episodes)
    relative = compare_trainings(Training(config, data), default)
    affordable = config.model_copy(update={"steps": max(1, round(trial.steps / relative["cost"]))})
    weights = train(affordable, collection, trial.folder(out), "cpu")
    network, usual = checkpoint.load(weights), cast(SupportNetwork, default.state.network.eval())
    return {
        "row": trial.row,
        "seed": trial.seed,
        "steps": affordable.steps,
        "queries_learnt": relative["queries"] / relative["cost"],
        "parameters": sum(each.numel() for each in network.parameters()),
        "dev_dice": score(network, collection),
        "query_cost": {str(size): compare_queries(network, usual, size) for size in SUPPORT_SIZES},
    }


def score(network: SupportNetwork, collection: Path) -> dict[str, float]:
    """Mean Dice of each dev dataset over draws of queries and supports, which are the same for every trial."""
    draws = [dev_dice(network, dev_tasks(Collection(collection), seed, DEV_SUPPORT_SIZE)) for seed in range(DEV_DRAWS)]
    return {dataset: mean(draw[dataset] for draw in draws) for dataset in draws[0]}


def table(results: Iterable[dict[str, Any]], command: str) -> str:
    """Write a Markdown table with a line per row of the study, averaged over its seeds, the best first.

    Args:
        results: Results of trials with the same processor time; their costs and speeds are multiples of the default's.
        command: Command that measures a row, up to the row's name.
    """
    by_row: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        by_row.setdefault(result["row"], []).append(result)
    heads = ["row", "dev Dice", "steps", "queries learnt", "cost of a query, S = 1 / 16 / 64", "with 200 queries"]
    lines = [(_mean_dice(found), _line(row, found, command)) for row, found in by_row.items()]
    lines.sort(key=lambda scored: -scored[0])
    return "\n".join([_join(heads), _join(["---"] * len(heads)), *(line for _, line in lines)]) + "\n"


def _line(row: str, found: list[dict[str, Any]], command: str) -> str:
    each = [100 * mean(result["dev_dice"].values()) for result in found]
    dice = f"{mean(each):.1f}" + (f" ({', '.join(f'{value:.1f}' for value in each)})" if len(each) > 1 else "")
    steps, speed = (mean(result[name] for result in found) for name in ("steps", "queries_learnt"))
    costs = [
        " / ".join(f"{mean(r['query_cost'][str(size)][count] for r in found):.2f}" for size in SUPPORT_SIZES)
        for count in ("1", str(MANY_QUERIES))
    ]
    return _join([f'`{command} "{row}"`', dice, f"{steps:.0f}", f"{speed:.2f}", *costs])


def _mean_dice(found: list[dict[str, Any]]) -> float:
    return mean(mean(result["dev_dice"].values()) for result in found)


def _join(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
