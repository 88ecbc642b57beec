"""Runs predictors over a plan in full batches on one device and yields a row per prediction."""

from collections.abc import Collection as Container
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from time import perf_counter, process_time

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from benchmarks.metrics import areas_px, dice
from benchmarks.predictors import Predictor
from benchmarks.results import Row, RowKey
from benchmarks.suites import Episode, TaskPlan, support_hash
from megamed import Collection, Task

SUPPORT_IMAGES = 256
"""Most support images per forward pass; a large support leaves room for fewer queries, so that memory stays bounded."""


@dataclass(frozen=True)
class Execution:
    """Where and how to compute; no score depends on it."""

    device: str = "cpu"
    """Any torch device."""
    batch_size: int = 8
    """Queries per forward pass, each with its own support; at least one with all draws of its ensemble."""

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
    """Score every predictor on every planned episode that is not done, and on every planned ensemble.

    All predictors see the same supports. The order of rows is that of the plan, whatever the batch size.

    Yields:
        The rows of one batch.
    """
    for plan in plans:
        missing = {name: _missing(name, plan, done) for name in predictors}
        if not any(missing.values()):
            continue
        images = TaskImages.load(collection, plan.task, plan.episodes, execution.device)
        for name, groups in missing.items():
            for batch in _batches(groups, execution.batch_size):
                rows = score_batch(name, predictors[name], plan.task, images, batch)
                yield [row for row in rows if row.key not in done]


def score_batch(
    name: str, predictor: Predictor, task: Task, images: TaskImages, groups: Sequence[tuple[Episode, ...]]
) -> list[Row]:
    """Predict episodes of equal support size and measure each, and each group's mean probability, at probability 0.5.

    Args:
        name: Of the predictor; rows of groups of K episodes carry that of `ensemble_name`.
        predictor: What to score.
        task: The task of the episodes.
        images: Its images.
        groups: Episodes of one query each, all groups of one size; groups of one yield a single row.

    Raises:
        ValueError: If the predictor's logits have another shape than the queries, or hold NaN.
    """
    singles = [(episode,) for group in groups for episode in group]
    query_images, query_labels = images.queries([episode for (episode,) in singles])
    supports = images.supports([episode for (episode,) in singles])
    clock = process_time if query_images.device.type == "cpu" else perf_counter
    start = clock()
    with torch.inference_mode():
        logits = predictor(query_images, *supports)
    _check_logits(name, logits, query_images)
    seconds = (clock() - start) / len(singles)
    rows = _measure(name, task, singles, (logits >= 0, query_labels), seconds)
    if (draws := len(groups[0])) > 1:
        mean = logits.sigmoid().unflatten(0, (len(groups), draws)).mean(dim=1)
        rows += _measure(
            ensemble_name(name, draws), task, groups, (mean >= 0.5, query_labels[::draws]), draws * seconds
        )
    return rows


def ensemble_name(name: str, draws: int) -> str:
    """What results call a predictor whose probabilities over several draws are averaged; itself if over one."""
    return f"{name}-x{draws}" if draws > 1 else name


def _measure(
    name: str,
    task: Task,
    groups: Sequence[tuple[Episode, ...]],
    found: tuple[Bool[Tensor, "B 1 H W"], Bool[Tensor, "B 1 H W"]],
    seconds: float,
) -> list[Row]:
    """A row per group of episodes, of which one mask was made; `found` are the masks and the labels."""
    masks, labels = found
    figures = zip(dice(masks, labels).tolist(), areas_px(labels).tolist(), areas_px(masks).tolist(), strict=True)
    return [
        Row(
            predictor=name,
            dataset=task.dataset,
            task=task.id,
            subject=group[0].query.subject,
            case=group[0].query.case,
            draw=group[0].draw // len(group),
            support_size=sum(len(episode.support) for episode in group),
            support_hash=support_hash(group),
            label_px=label_px,
            mask_px=mask_px,
            dice=round(score, 6),
            ensemble=len(group),
            seconds=round(seconds, 6),
        )
        for group, (score, label_px, mask_px) in zip(groups, figures, strict=True)
    ]


def _missing(name: str, plan: TaskPlan, done: Container[RowKey]) -> list[tuple[Episode, ...]]:
    """The groups of which some row is not there yet."""

    def keys(group: tuple[Episode, ...]) -> Iterator[RowKey]:
        for episode in group:
            yield name, plan.task.id, episode.query.case, episode.draw
        yield ensemble_name(name, len(group)), plan.task.id, group[0].query.case, group[0].draw // len(group)

    return [group for group in plan.groups if any(key not in done for key in keys(group))]


def _batches(groups: Sequence[tuple[Episode, ...]], size: int) -> Iterator[list[tuple[Episode, ...]]]:
    """Full batches of equal support size: a subject with many samples leaves fewer to draw from."""

    def support_size(group: tuple[Episode, ...]) -> int:
        return len(group[0].support)

    for support, equally in groupby(sorted(groups, key=support_size), key=support_size):
        equal = list(equally)
        step = max(1, min(size, SUPPORT_IMAGES // support) // len(equal[0]))
        yield from (equal[start : start + step] for start in range(0, len(equal), step))


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
