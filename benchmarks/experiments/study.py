"""Architecture studies: variants of a training configuration, each trained on the same processor time.

One is of the networks that segment by a support, the other of those that answer prompts beside them.

This time is stated in steps of the default configuration. The relative cost of a variant's step is measured beside the
default's, so that neither the machine nor its other load decides for how many steps a variant is trained.
"""

import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from statistics import mean
from typing import Any, Literal, cast

import torch

from benchmarks.experiments.network_variants import install
from benchmarks.experiments.relative_cost import Training, compare_clicks, compare_queries, compare_trainings
from incontext import __version__
from incontext.networks import checkpoint
from incontext.networks.families import SavedNetwork
from incontext.networks.prompted import PromptedNet
from incontext.networks.protocols import SupportNetwork
from incontext.training.config import TrainConfig
from incontext.training.episodes import TrainingData, dev_tasks
from incontext.training.loop import DEV_SEED, train
from incontext.training.objectives import Objective
from incontext.training.prompted import PromptedObjective
from megamed import Collection, manifest
from megamed.executors import local_executor
from megamed.files import claimed, read_json, sha256_of, write_json

SUPPORT_SIZES = (1, 16, 64)
DEV_SUPPORT_SIZE, DEV_DRAWS = 16, 3

DEFAULT = "default"
"""Row of each study that the others differ from."""

Override = dict[str, Any]
Of = Literal["network", "prompts"]
"""Subject of a study."""


@dataclass(frozen=True)
class Trial:
    """Variant of the study, trained and measured once with one seed."""

    row: str
    seed: int
    steps: int
    """Number of steps of the default row whose processor time this trial gets."""
    of: Of = "network"

    def folder(self, out: Path) -> Path:
        """Folder of this trial's files, below that of the study."""
        slug = "".join(letter if letter.isalnum() else "-" for letter in self.row)
        subject = "" if self.of == "network" else f"{self.of}-"
        return out / f"{subject}{slug}-{self.steps}steps-seed{self.seed}"


def rows(of: Of = "network") -> dict[str, Override]:
    """Changes that each row of a study makes to its default row, and this to the default configuration.

    `variant` names a network that is no part of the library: see `network_variants.install`.
    """
    name = "study.toml" if of == "network" else f"study-{of}.toml"
    return tomllib.loads((resources.files("benchmarks.experiments") / name).read_text(encoding="utf-8"))


def configure(trial: Trial) -> TrainConfig:
    """Training configuration of a trial.

    Raises:
        ValueError: If no row of its study has this name; the message lists those there are.
    """
    if trial.row not in (known := rows(trial.of)):
        msg = f"Unknown row {trial.row!r}: expected one of {', '.join(map(repr, known))}."
        raise ValueError(msg)
    default = overridden(known[DEFAULT], trial.seed, trial.steps)
    return _changed(default, {name: value for name, value in known[trial.row].items() if name != "variant"})


def overridden(override: Override, seed: int, steps: int) -> TrainConfig:
    """Change some settings of the default configuration, for a training of a given number of steps."""
    return _changed(TrainConfig(seed=seed, steps=steps, workers=1), override)


def _changed(config: TrainConfig, override: Override) -> TrainConfig:
    return TrainConfig.model_validate(_merged(config.model_dump(mode="json"), override))


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
    config, variant = configure(trial), rows(trial.of)[trial.row].get("variant")
    found = [sha256_of(collection / manifest.NAME), config.model_dump_json(), variant, __version__]
    if trial.of == "prompts":
        found.append(sha256_of(checkpoint.locate(config.prompts.beside)))
    return sha256_of(json.dumps(found).encode())


def measure(collection: Path, out: Path, trial: Trial) -> dict[str, Any]:
    """Train a trial and measure Dice, speed and relative cost of its network; right only in a fresh process."""
    torch.set_num_threads(1)
    config, plain = configure(trial), configure(replace(trial, row=DEFAULT))
    default = Training(plain, TrainingData.load(collection, DEV_SEED, plain.episodes))  # before a variant replaces it
    if variant := rows(trial.of)[trial.row].get("variant"):
        install(variant)
    same = config.episodes == plain.episodes
    data = default.data if same else TrainingData.load(collection, DEV_SEED, config.episodes)
    varied = Training(config, data)
    relative = compare_trainings(varied, default)
    affordable = config.model_copy(update={"steps": max(1, round(trial.steps / relative["cost"]))})
    network = checkpoint.Checkpoint.read(train(affordable, collection, trial.folder(out), "cpu")).build()
    return {
        "row": trial.row,
        "seed": trial.seed,
        "steps": affordable.steps,
        "queries_learnt": relative["queries"] / relative["cost"],
        "parameters": sum(each.numel() for each in network.parameters()),
        "dev_dice": score(varied.objective, network, collection),
        **relative_costs(network, default),
    }


def score(objective: Objective, network: SavedNetwork, collection: Path) -> dict[str, float]:
    """Figures of Dice on dev tasks, each the mean over draws of queries and supports, the same for every trial."""
    tasks = [dev_tasks(Collection(collection), seed, DEV_SUPPORT_SIZE) for seed in range(DEV_DRAWS)]
    draws = [objective.dev_dice(network, drawn) for drawn in tasks]
    return {name: mean(draw[name] for draw in draws) for name in draws[0]}


def relative_costs(network: SavedNetwork, default: Training) -> dict[str, Any]:
    """Processor time of a query, or of a click, by a network, as a multiple of the default's."""
    usual = default.state.network.eval()
    if isinstance(network, PromptedNet):
        beside = cast(PromptedObjective, default.objective).network
        return {"click_cost": compare_clicks(network, cast(PromptedNet, usual), beside)}
    pair = network, cast(SupportNetwork, usual)
    return {"query_cost": {str(size): compare_queries(*pair, size) for size in SUPPORT_SIZES}}
