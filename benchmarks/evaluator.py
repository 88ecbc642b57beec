"""Runs predictors over a plan in full batches on one device and yields a row per prediction."""

from collections.abc import Collection as Container
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from benchmarks.metrics import areas_px, dice
from benchmarks.predictors import Predictor
from benchmarks.results import Row, RowKey
from benchmarks.suites import Episode, TaskPlan
from megamed import Collection, Task


@dataclass(frozen=True)
class Execution:
    """Where and how to compute; no score depends on it."""

    device: str = "cpu"
    """Any torch device."""
    batch_size: int = 8
    """Queries per forward pass, each with its own support."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            msg = f"batch_size is too small: expected at least 1, got {self.batch_size}."
            raise ValueError(msg)


@dataclass(frozen=True)
class TaskImages:
    """The images and labels of one task that its episodes need, loaded once."""

    images: UInt8[Tensor, "N 1 H W"]
    labels: UInt8[Tensor, "N 1 H W"]
    places: dict[int, int]
    """Row in the collection → index here."""

    @classmethod
    def load(cls, collection: Collection, task: Task, episodes: Sequence[Episode], device: str) -> "TaskImages":
        """Read every row that is a query or in a support, onto the device."""
        rows = sorted({sample.row for episode in episodes for sample in (episode.query, *episode.support)})
        images, labels = (
            torch.from_numpy(arrays).to(device).unsqueeze(1)
            for arrays in (collection.images(task, rows), collection.labels(task, rows))
        )
        return cls(images, labels, {row: place for place, row in enumerate(rows)})

    def queries(self, episodes: Sequence[Episode]) -> tuple[Float[Tensor, "B 1 H W"], Bool[Tensor, "B 1 H W"]]:
        """Query images in [0, 1] and their labels."""
        places = [self.places[episode.query.row] for episode in episodes]
        return self.images[places] / 255, self.labels[places] > 0

    def supports(self, episodes: Sequence[Episode]) -> tuple[Float[Tensor, "B S 1 H W"], Float[Tensor, "B S 1 H W"]]:
        """Support images in [0, 1] and their labels in {0, 1}; all episodes have equally many."""
        places = torch.tensor([[self.places[sample.row] for sample in episode.support] for episode in episodes])
        return self.images[places] / 255, (self.labels[places] > 0).float()


def choose_device(name: str | None = None) -> str:
    """The named torch device, or by default the GPU if there is one.

    Raises:
        ValueError: If there is no such device.
    """
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        msg = f"Device {name!r} cannot be used: {str(error).splitlines()[0]} Pass --device cpu."
        raise ValueError(msg) from error
    return name


def evaluate(
    collection: Collection,
    plans: Sequence[TaskPlan],
    predictors: Mapping[str, Predictor],
    done: Container[RowKey],
    execution: Execution,
) -> Iterator[list[Row]]:
    """Score every predictor on every planned episode that is not done.

    All predictors see the same supports. The order of rows is that of the plan, whatever the batch size.

    Yields:
        The rows of one batch.
    """
    for plan in plans:
        missing = {name: _missing(name, plan, done) for name in predictors}
        if not any(missing.values()):
            continue
        images = TaskImages.load(collection, plan.task, plan.episodes, execution.device)
        for name, episodes in missing.items():
            for batch in _batches(episodes, execution.batch_size):
                yield score_batch(name, predictors[name], plan.task, images, batch)


def score_batch(
    name: str, predictor: Predictor, task: Task, images: TaskImages, episodes: Sequence[Episode]
) -> list[Row]:
    """Predict one batch of episodes of equal support size and measure it at probability 0.5.

    Raises:
        ValueError: If the predictor's logits have another shape than the queries, or hold NaN.
    """
    query_images, query_labels = images.queries(episodes)
    with torch.inference_mode():
        logits = predictor(query_images, *images.supports(episodes))
    _check_logits(name, logits, query_images)
    masks = logits >= 0
    scores = dice(masks, query_labels).tolist()
    areas = zip(areas_px(query_labels).tolist(), areas_px(masks).tolist(), strict=True)
    return [
        Row(
            predictor=name,
            dataset=task.dataset,
            task=task.id,
            subject=episode.query.subject,
            case=episode.query.case,
            draw=episode.draw,
            support_size=len(episode.support),
            support_hash=episode.support_hash,
            label_px=label_px,
            mask_px=mask_px,
            dice=round(score, 6),
        )
        for episode, score, (label_px, mask_px) in zip(episodes, scores, areas, strict=True)
    ]


def _missing(name: str, plan: TaskPlan, done: Container[RowKey]) -> list[Episode]:
    return [episode for episode in plan.episodes if (name, plan.task.id, episode.query.case, episode.draw) not in done]


def _batches(episodes: Sequence[Episode], size: int) -> Iterator[list[Episode]]:
    """Full batches of equal support size: a subject with many samples leaves fewer to draw from."""

    def support_size(episode: Episode) -> int:
        return len(episode.support)

    for _, group in groupby(sorted(episodes, key=support_size), key=support_size):
        equal = list(group)
        yield from (equal[start : start + size] for start in range(0, len(equal), size))


def _check_logits(name: str, logits: Tensor, query_images: Tensor) -> None:
    if logits.shape != query_images.shape:
        msg = (
            f"Logits of predictor {name!r} have the wrong shape: expected {tuple(query_images.shape)}, "
            f"got {tuple(logits.shape)}. Return one logit per query pixel."
        )
        raise ValueError(msg)
    if torch.isnan(logits).any():
        msg = f"Logits of predictor {name!r} are broken: expected numbers, got NaN. Check its weights."
        raise ValueError(msg)
