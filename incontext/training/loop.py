"""Training a network on a collection, in one process or several, resumable to the same state."""

import json
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from incontext.networks import checkpoint
from incontext.networks.devices import choose_device
from incontext.networks.protocols import SupportNetwork
from incontext.networks.unknown import readings
from incontext.training.batches import Batch
from incontext.training.config import TrainConfig
from incontext.training.distributed import ALONE, Processes, joined, own_device
from incontext.training.episodes import TrainingData
from incontext.training.loader import StepInput, load_steps
from incontext.training.log import TABLES, TrainingLog, mean
from incontext.training.objectives import Objective, objective_of
from incontext.training.probe import probe
from incontext.training.state import TrainState, union
from megamed.files import claimed, make_folder, replacing
from megamed.source_tree import source_commit

WEIGHTS, BEST = "weights.safetensors", "best.safetensors"
WRITTEN = (WEIGHTS, BEST, *(f"{table}.csv" for table in TABLES))
"""Names of the files that a run writes beside its state."""
DEV_SEED = 0
"""Seed of the queries and supports of the `dev` tasks: the same for every run."""


def train(
    config: TrainConfig,
    collection_path: Path,
    out: Path,
    device: torch.device | str | None = None,
    other_collection: bool = False,
) -> Path:
    """Train on the `train` and `auxiliary` datasets of a collection, or go on where a killed run stopped.

    Writes into `out`: `weights.safetensors` (the averaged weights), `best.safetensors` (those that were best on the
    `dev` datasets), `state.pt` (to resume), and the tables `log.csv`, `dev.csv` and `probe.csv`. Started by `torchrun`,
    the processes share the batches of each step and only the first one writes.

    Args:
        config: Configuration of the training.
        collection_path: A collection that `megamed build` made.
        out: Folder of the run.
        device: Torch device to compute on; by default a GPU if there is one.
        other_collection: Whether a run may go on with another collection than it began with.

    Returns:
        The path of the weights.

    Raises:
        ValueError: If the collection has nothing to train on, `out` holds a run of another configuration or
            collection, a damaged one, or somebody's own files of the same names, another process trains there, or
            device or processes do not fit.
        FloatingPointError: If the loss or its gradient is not finite; the batch is saved in `out`.
    """
    device = own_device(choose_device(device))
    check_precision(config, device)
    objective = objective_of(config, device)
    data = TrainingData.load(collection_path, DEV_SEED, config.episodes)
    make_folder(out)
    with ExitStack() as stack:
        processes = stack.enter_context(joined(device))
        saved = out / "state.pt"
        ledger = stack.enter_context(claimed(out, "train")) if processes.first else None
        state = TrainState.resume(saved, config, device) if saved.exists() else TrainState.start(config, device)
        state.learn_from(data, other_collection)
        if ledger:
            written = [out / name for name in WRITTEN]
            ledger.adopt(saved, *(written if ledger.is_new and saved.exists() else ()))
            ledger.refuse_foreign(written)
        if processes.first:
            record = Record(config, objective, data, out, stack.enter_context(TrainingLog(out, state.step)))
        inputs = load_steps(config, data, state.step, processes, pin_memory=device.type == "cuda")
        while state.progress(config) < 1:
            given = next(inputs)
            with saving_what_diverges(out, config, given, processes):
                figures = training_step(state, config, given, processes, objective)
            if processes.first:
                record.after_step(state, figures)
    return out / WEIGHTS


def training_step(
    state: TrainState,
    config: TrainConfig,
    given: StepInput,
    processes: Processes = ALONE,
    objective: Objective | None = None,
) -> dict[str, float]:
    """One optimiser step on the mean loss over all queries, whichever batch and process they are in.

    Args:
        state: State of the run, which is changed.
        config: Configuration of the training.
        given: Batches of this process.
        processes: Processes that train together.
        objective: What is learned; by default what the configuration says.

    Returns:
        Figures of the step.

    Raises:
        FloatingPointError: If the loss or its gradient is not finite; the state is unchanged then.
    """
    started, started_cpu = time.perf_counter(), time.process_time()
    learning_rate = config.learning_rate_at(state.step, state.progress(config))
    state.optimizer.zero_grad(set_to_none=True)
    small = state.progress(config) < config.small_share
    batches = {i: halved(b) if small and fits_halved(b, config) else b for i, b in given.batches.items()}
    totals = (objective or objective_of(config, next(state.network.parameters()).device)).add_gradients(
        state.network, batches
    )
    gradients = state.gradients()
    processes.add_up(gradients)
    processes.add_up([totals])
    queries = round(totals[-1].item())
    torch._foreach_div_(gradients, queries)
    loss, dice = (totals[:-1] / queries).tolist()
    norm = nn.utils.clip_grad_norm_(state.network.parameters(), config.gradient_norm).item()
    if not math.isfinite(loss + norm):
        msg = (
            f"training diverged at step {state.step}: expected a finite loss and gradient, got a loss of {loss:.4g} "
            f"and a gradient norm of {norm:.4g}. Begin again with a lower learning_rate."
        )
        raise FloatingPointError(msg)
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate
    state.optimizer.step()
    state.step += 1
    state.queries += queries
    state.update_average(config.ema_decay)
    spent = torch.tensor([given.cpu_seconds + time.process_time() - started_cpu], device=totals.device)
    processes.add_up([spent])
    state.cpu_seconds += spent.item()
    return {
        "loss": loss,
        "dice": dice,
        "gradient_norm": norm,
        "learning_rate": learning_rate,
        "seconds": given.waited_seconds + time.perf_counter() - started,
        "waited": given.waited_seconds,
    }


def fits_halved(batch: Batch, config: TrainConfig) -> bool:
    """Whether the network takes images of half the size."""
    return all(side % (2 * config.network.stride_px) == 0 for side in batch.images.shape[-2:])


def halved(batch: Batch) -> Batch:
    """A batch at half its size; a pixel belongs to the label if half of it does."""
    shape = batch.images.shape[:2]
    images = F.avg_pool2d(batch.images.flatten(0, 1), 2).unflatten(0, shape)
    return Batch(images, _halved(batch.labels), _halved(batch.shown), batch.queries)


def _halved(labels: Float[Tensor, "B n 1 H W"]) -> Float[Tensor, "B n 1 h w"]:
    halves = F.avg_pool2d(readings(labels.flatten(0, 1)), 2) >= 0.5
    return halves.to(labels.dtype).mean(1, keepdim=True).unflatten(0, labels.shape[:2])


@dataclass(frozen=True)
class Record:
    """Files that the first process keeps of a run: tables, weights, and the state to resume from."""

    config: TrainConfig
    objective: Objective
    data: TrainingData
    out: Path
    log: TrainingLog

    def after_step(self, state: TrainState, figures: dict[str, float]) -> None:
        """Log, validate and save whatever is due at this step, the state last."""
        config, step = self.config, state.step
        finished = state.progress(config) >= 1
        notes: dict[str, float] = {}
        for name, value in figures.items():
            state.pending.setdefault(name, []).append(value)
        if finished or step % config.log_every == 0:
            notes = self._summarise(state)
        if finished or step % config.dev_every == 0:
            notes |= self._validate(state)
        if self.objective.probed and self.data.dev and (finished or step % config.probe_every == 0):
            self.log.write("probe", step, probe(cast(SupportNetwork, state.average), self.data.dev))
        if finished or step % config.checkpoint_every == 0:
            state.save(self.out / "state.pt", config)
        self.log.advance(state.progress(config), step, notes)

    def _summarise(self, state: TrainState) -> dict[str, float]:
        """Write a line on the steps since the last one."""
        figures = mean(state.pending)
        figures["waiting"] = figures.pop("waited") / figures["seconds"]
        self.log.write("log", state.step, {"cpu_minutes": state.cpu_seconds / 60} | figures)
        state.pending = {}
        return {name: figures[name] for name in ("loss", "dice", "waiting")}

    def _validate(self, state: TrainState) -> dict[str, float]:
        """Save the averaged weights, and once more if they are the best so far on dev."""
        source = provenance(self.config, self.data, state) | self.objective.provenance()
        checkpoint.save(self.out / WEIGHTS, state.average, source)
        if not self.data.dev:
            return {}
        found = self.objective.dev_dice(state.average, self.data.dev)
        dice = float(np.mean(list(found.values())))
        self.log.write("dev", state.step, {"cpu_minutes": state.cpu_seconds / 60, "mean": dice} | found)
        if dice > state.best_dev:
            state.best_dev = dice
            checkpoint.save(self.out / BEST, state.average, source | {"dev_dice": dice})
        return {"dev": dice}


@contextmanager
def saving_what_diverges(out: Path, config: TrainConfig, given: StepInput, processes: Processes) -> Iterator[None]:
    """Save this process's batches of a step whose loss or gradient is not finite, as `failed_batch.safetensors`."""
    try:
        yield
    except FloatingPointError as error:
        path = out / f"failed_batch{'' if processes.first else processes.rank}.safetensors"
        tensors = {f"images.{i}": batch.images.contiguous() for i, batch in given.batches.items()}
        tensors |= {f"labels.{i}": batch.labels.contiguous() for i, batch in given.batches.items()}
        queries = {number: batch.queries for number, batch in given.batches.items()}
        with replacing(path) as partial:
            save_file(tensors, partial, {"seed": str(config.seed), "queries": json.dumps(queries)})
        msg = f"{error} Its batch is in {path}."
        raise FloatingPointError(msg) from error


def check_precision(config: TrainConfig, device: torch.device) -> None:
    """Make sure that mixed precision is asked for on a GPU only.

    Raises:
        ValueError: If it is not.
    """
    if config.mixed_precision and device.type != "cuda":
        msg = f"mixed_precision does not fit the device: expected cuda, got {device.type}. Leave it out: it is slower."
        raise ValueError(msg)


def provenance(config: TrainConfig, data: TrainingData, state: TrainState) -> dict[str, Any]:
    """Provenance of weights: data with licences, code, configuration, effort, and the weights begun with."""
    before = (state.origin or {}).get("provenance", {}).get("datasets", {})
    return {
        "seed": config.seed,
        "steps": state.step,
        "queries": state.queries,
        "cpu_seconds": round(state.cpu_seconds, 3),
        "commit": source_commit(),
        "torch": torch.__version__,
        "training": config.model_dump(mode="json", exclude={"init_from"}),
        "datasets": union(before, state.licenses, data.licenses),
        "init_from": state.origin,
    }
