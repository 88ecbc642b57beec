"""Training the support-once network on a collection, in one process, resumable to the same state."""

import json
import logging
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from incontext import checkpoint
from incontext.augment import augment
from incontext.episodes import DevTask, TaskSampler, TrainingData, draw_rows
from incontext.files import replacing
from incontext.losses import dice_bce_loss, hard_dice
from incontext.support_once import SupportOnceConfig, SupportOnceNet

logger = logging.getLogger(__name__)


class TrainConfig(BaseModel):
    """Everything that decides the weights, saved with them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: SupportOnceConfig = SupportOnceConfig()
    steps: int = Field(default=8000, gt=0)
    """Optimizer steps; a run can be resumed with more."""
    images_per_step: int = Field(default=24, gt=1)
    """Images in a step, in as many sets as fit: each image is a query with the rest of its set as the support."""
    set_sizes: tuple[int, ...] = (2, 3, 4, 6, 9, 13)
    """Images per set, drawn per step; the support size is one less."""
    learning_rate: float = Field(default=1.5e-3, gt=0)
    warmup_steps: int = Field(default=150, ge=0)
    decay_share: float = Field(default=0.35, ge=0, le=1)
    """The last share of the steps, over which the learning rate falls to zero."""
    weight_decay: float = Field(default=0.01, ge=0)
    gradient_norm: float = Field(default=1.0, gt=0)
    """Larger gradients are scaled down to this norm."""
    ema_decay: float = Field(default=0.995, ge=0, lt=1)
    """Of the moving average of the weights, which is what is validated and saved."""
    auxiliary_share: float = Field(default=0.12, ge=0, le=1)
    """Share of the sets that come from datasets of the role `auxiliary`."""
    seed: int = 0
    dev_every: int = Field(default=250, gt=0)
    """Steps between two measurements of Dice on the datasets of the role `dev`."""
    checkpoint_every: int = Field(default=100, gt=0)
    """Steps between two saved states."""
    workers: int = Field(default=1, ge=0)
    """Processes that prepare batches; they do not change the result."""

    def learning_rate_at(self, step: int) -> float:
        """Linear warm-up, a plateau, and a linear fall to zero; the plateau lets a run be extended."""
        decay_steps = max(1, round(self.decay_share * self.steps))
        return self.learning_rate * min(1.0, (step + 1) / (self.warmup_steps + 1), (self.steps - step) / decay_steps)


class StepBatches(Dataset[tuple[Tensor, Tensor]]):
    """The augmented batch of each step, a function of the seed and the step alone."""

    def __init__(self, config: TrainConfig, data: TrainingData) -> None:
        self._config = config
        self._sampler = TaskSampler(data.tasks, data.auxiliary, config.auxiliary_share)

    def __len__(self) -> int:
        return self._config.steps

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """Images and labels (B, n, 1, H, W) of one step."""
        rng = np.random.default_rng((self._config.seed, step))
        size = int(rng.choice(self._config.set_sizes))
        sets = []
        for _ in range(max(1, self._config.images_per_step // size)):
            task = self._sampler.draw(rng, at_least=size)
            sets.append(task.pick(draw_rows(task.subjects, size, rng)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**63)))
            return augment(torch.stack([images for images, _ in sets]), torch.stack([labels for _, labels in sets]))


@dataclass
class TrainState:
    """What a resumed run needs: everything that changes from step to step."""

    network: SupportOnceNet
    average: SupportOnceNet
    optimizer: torch.optim.Optimizer
    step: int = 0

    @classmethod
    def start(cls, config: TrainConfig, device: torch.device) -> "TrainState":
        """Networks drawn from the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = SupportOnceNet(config.network).to(device)
        decayed = [p for p in network.parameters() if p.dim() > 1]
        others = [p for p in network.parameters() if p.dim() <= 1]
        optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": config.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ]
        )
        return cls(network, deepcopy(network).requires_grad_(False), optimizer)

    def save(self, path: Path, config: TrainConfig) -> None:
        """Replace the saved state at once or not at all."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "config": config.model_dump_json(),
        }
        with replacing(path) as partial:
            torch.save(state, partial)

    def restore(self, path: Path, config: TrainConfig) -> None:
        """Continue from a saved state.

        Raises:
            ValueError: If it was saved under another configuration; only steps and workers may differ.
        """
        saved = torch.load(path, weights_only=True)
        free = {"steps", "workers"}
        before = TrainConfig.model_validate_json(saved["config"]).model_dump(exclude=free)
        changed = [name for name, value in config.model_dump(exclude=free).items() if value != before[name]]
        if changed:
            msg = (
                f"{path} was trained differently: expected the same {', '.join(changed)}, "
                f"got {[getattr(config, name) for name in changed]}. Choose another output folder to start anew."
            )
            raise ValueError(msg)
        self.network.load_state_dict(saved["network"])
        self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step = saved["step"]


def train(config: TrainConfig, collection_path: Path, out: Path, device: torch.device | str | None = None) -> Path:
    """Train on the `train` and `auxiliary` datasets of a collection, or go on where a killed run stopped.

    Writes `state.pt` (to resume), `weights.safetensors` (the averaged weights) and `log.jsonl` into `out`.

    Args:
        config: What to train and how.
        collection_path: A collection that `megamed build` made.
        out: Folder of the run.
        device: Where to compute; by default a GPU if there is one.

    Returns:
        The path of the weights.

    Raises:
        ValueError: If the collection has nothing to train on, or `out` holds a run of another configuration.
    """
    out.mkdir(parents=True, exist_ok=True)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    state = TrainState.start(config, device)
    if (out / "state.pt").exists():
        state.restore(out / "state.pt", config)
    data = TrainingData.load(collection_path, config.seed)
    source = provenance(config, data)
    loader = DataLoader(
        StepBatches(config, data), batch_size=None, sampler=range(state.step, config.steps), num_workers=config.workers
    )
    log = TrainingLog(out / "log.jsonl")
    with progress_bar() as bar:
        row = bar.add_task("training", total=config.steps, completed=state.step, note="")
        for images, labels in loader:
            log.add(training_step(state, config, images.to(device), labels.to(device)))
            due = state.step == config.steps
            if due or state.step % config.dev_every == 0:
                log.write(state.step, dev_dice(state.average, data.dev))
                checkpoint.save(out / "weights.safetensors", state.average, source | {"steps": state.step})
            if due or state.step % config.checkpoint_every == 0:
                state.save(out / "state.pt", config)
            bar.update(row, completed=state.step, note=log.note)
    return out / "weights.safetensors"


def training_step(state: TrainState, config: TrainConfig, images: Tensor, labels: Tensor) -> dict[str, float]:
    """One optimizer step on sets of images (B, n, 1, H, W), every image a query of the others."""
    for group in state.optimizer.param_groups:
        group["lr"] = config.learning_rate_at(state.step)
    logits = state.network.leave_one_out(images, labels)
    loss = dice_bce_loss(logits, labels)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(state.network.parameters(), config.gradient_norm, error_if_nonfinite=True)
    state.optimizer.step()
    state.step += 1
    # Early on the average follows closely, lest it keep the random start.
    decay = min(config.ema_decay, state.step / (state.step + 10))
    torch._foreach_lerp_(list(state.average.parameters()), list(state.network.parameters()), 1 - decay)
    return {"loss": loss.item(), "dice": hard_dice(logits.detach(), labels).mean().item()}


@torch.inference_mode()
def dev_dice(network: SupportOnceNet, tasks: Sequence[DevTask]) -> dict[str, float]:
    """Mean Dice of each dataset: over its tasks, of the mean over their queries."""
    device = next(network.parameters()).device
    by_dataset = defaultdict(list)
    for task in tasks:
        code = network.encode_support(task.support_images.to(device), task.support_labels.to(device))
        dice = hard_dice(network.segment(task.query_images.to(device), code), task.query_labels.to(device))
        by_dataset[task.dataset].append(dice.mean().item())
    return {dataset: float(np.mean(values)) for dataset, values in by_dataset.items()}


class TrainingLog:
    """Averages training figures between two lines of a JSON-lines file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._figures: dict[str, list[float]] = defaultdict(list)
        self._dev = ""

    @property
    def note(self) -> str:
        """The latest figures, for a progress bar."""
        recent = [f"{name} {np.mean(values[-50:]):.3f}" for name, values in self._figures.items()]
        return " ".join([*recent, self._dev])

    def add(self, figures: dict[str, float]) -> None:
        """Remember one step's figures."""
        for name, value in figures.items():
            self._figures[name].append(value)

    def write(self, step: int, dev: dict[str, float]) -> None:
        """Append a line with the averages since the last one and Dice on dev."""
        line: dict[str, Any] = {"step": step} | {name: float(np.mean(v)) for name, v in self._figures.items()}
        if dev:
            line |= {"dev": float(np.mean(list(dev.values()))), "dev_datasets": dev}
            self._dev = f"dev {line['dev']:.3f}"
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        logger.info("%s", line)
        self._figures.clear()


def provenance(config: TrainConfig, data: TrainingData) -> dict[str, Any]:
    """Where weights come from: data with licences, code, and configuration."""
    return {
        "seed": config.seed,
        "commit": _commit(),
        "torch": torch.__version__,
        "training": config.model_dump(mode="json"),
        "datasets": data.licenses,
    }


def _commit() -> str | None:
    """The commit of the source tree that runs, marked if changed; None for an installed package."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None


def progress_bar() -> Progress:
    """A bar with counts, the latest figures, elapsed time and ETA."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
