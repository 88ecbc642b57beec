"""Small U-Net trained per task: on the support alone, or on all examples of the task, as a bound on what to expect."""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.plans.task_plans import stable_hash
from benchmarks.predictors.episode import Fitted, Support, content_hash, fitted_once, one_by_one
from benchmarks.predictors.protocol import Predictor, TaskExamples
from incontext.networks.stages import Stage
from incontext.networks.unknown import as_shares
from incontext.training.augment import AugmentConfig, ImageChances, augment
from incontext.training.losses import segmentation_loss
from incontext.training.tuning import learning
from megamed.files import replacing

logger = logging.getLogger(__name__)

STEM_PX = 2  # the side of the patch that the stem folds into channels
GROUPS = 4
IN_TASK = AugmentConfig.only(image=ImageChances().model_dump())
"""Augmentation of single images alone, which leaves the task the same."""


@dataclass(frozen=True)
class UNetSettings:
    """Settings of a U-Net's architecture and training."""

    channels: tuple[int, ...] = (8, 16, 32, 64)
    """Channels of each stage, fine to coarse; image sides must be multiples of the coarsest stage's stride."""
    steps: int = 100
    batch_size: int = 8
    learning_rate: float = 3e-3
    """Learning rate of Adam at the first step, from which it falls as a half cosine."""
    seconds: float = 120.0
    """Maximum processor time of a training in seconds, which other load on the machine does not change."""


FEW_SHOT = UNetSettings()
"""Settings for training on a support set."""
FULL = UNetSettings(channels=(16, 24, 32, 48), steps=600, seconds=300.0)
"""Settings for training on all examples of a task."""


class UNet(nn.Module):
    """Encoder–decoder network with skip connections."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        entering = (STEM_PX**2, *channels[:-1])
        self.down = nn.ModuleList(Stage(*widths, GROUPS) for widths in zip(entering, channels, strict=True))
        rising = list(zip(channels[1:], channels[:-1], strict=True))[::-1]
        self.up = nn.ModuleList(Stage(below + here, here, GROUPS) for below, here in rising)
        self.head = nn.Conv2d(channels[0], STEM_PX**2, 1)

    def forward(self, images: Float[Tensor, "N 1 H W"]) -> Float[Tensor, "N 1 H W"]:
        """Compute logits of images in [0, 1]."""
        features = F.pixel_unshuffle(images - 0.5, STEM_PX)
        skips: list[Tensor] = []
        for level, stage in enumerate(self.down):
            features = stage(F.avg_pool2d(features, 2) if level else features)
            skips.append(features)
        skips.pop()
        for stage in self.up:
            risen = F.interpolate(features, scale_factor=2, mode="bilinear")
            features = stage(torch.cat([risen, skips.pop()], 1))
        return F.pixel_shuffle(self.head(features), STEM_PX)


@dataclass(frozen=True)
class Trained:
    """Trained network, with the number of steps that its training took."""

    network: UNet
    steps: int


def train_unet(
    images: Float[Tensor, "N 1 H W"], labels: Float[Tensor, "N 1 H W"], settings: UNetSettings, seed: int
) -> Trained:
    """Train on random batches of augmented labelled images until the steps or the time are over."""
    with learning(seed):
        images, labels = images.clone(), labels.clone()
        network = UNet(settings.channels).to(images.device)
        optimizer = torch.optim.Adam(network.parameters(), settings.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
        step, start = 0, process_time()
        while step < settings.steps and process_time() - start < settings.seconds:
            chosen = torch.randint(len(images), (settings.batch_size,))
            asked, expected = augment(images[chosen][None], labels[chosen][None], IN_TASK)
            optimizer.zero_grad()
            segmentation_loss(network(asked[0]), expected[0]).backward()
            optimizer.step()
            schedule.step()
            step += 1
    return Trained(network.eval().requires_grad_(False), step)


def unet_support(settings: UNetSettings = FEW_SHOT) -> Predictor:
    """Make a predictor that trains a U-Net on each support, seeded by it, and keeps it for further queries.

    Raises:
        TimeoutError: When a training takes longer than the settings allow: one cut short would depend on the machine.
    """

    def fit(support: Support) -> Fitted:
        trained = train_unet(support.images, support.labels, settings, support.seed)
        if trained.steps < settings.steps:
            msg = (
                f"The training on a support is too slow: expected {settings.steps} steps in {settings.seconds:g} s,"
                f" got {trained.steps}. Allow more seconds, or leave `unet-support` out."
            )
            raise TimeoutError(msg)
        return trained.network

    return fitted_once(fit)


@dataclass(frozen=True)
class FullUNet:
    """U-Net trained on all examples of a task: the supervised reference for in-context learning."""

    cache: Path
    """Folder of trained networks, by task and by the hash of examples and settings."""
    settings: UNetSettings = FULL
    device: str = "cpu"

    def for_task(self, task_id: str, examples: TaskExamples) -> Predictor:
        """Train, or read from the cache the network trained on the same examples with the same settings."""
        key = stable_hash(content_hash(*examples), json.dumps(asdict(self.settings)))
        path = self.cache / f"{task_id.replace('/', '-')}-{key:016x}.safetensors"
        network = self._read(path) if path.is_file() else self._train(path, examples, key)

        def predict(query_image: Float[Tensor, "1 1 H W"], support: Support) -> Float[Tensor, "1 1 H W"]:
            return network(query_image)

        return one_by_one(predict)

    def _read(self, path: Path) -> UNet:
        network = UNet(self.settings.channels)
        network.load_state_dict(load_file(path))
        return network.to(self.device).eval().requires_grad_(False)

    def _train(self, path: Path, examples: TaskExamples, key: int) -> UNet:
        images, labels = examples.images.to(self.device) / 255, as_shares(examples.labels.to(self.device))
        trained = train_unet(images, labels, self.settings, key % 2**32)
        if trained.steps < self.settings.steps:
            logger.warning("%s: stopped after %d of %d steps", path.stem, trained.steps, self.settings.steps)
        self.cache.mkdir(parents=True, exist_ok=True)
        tensors = {name: value.cpu().contiguous() for name, value in trained.network.state_dict().items()}
        with replacing(path) as partial:
            save_file(tensors, partial, {"steps": str(trained.steps), "examples": str(len(images))})
        return trained.network
