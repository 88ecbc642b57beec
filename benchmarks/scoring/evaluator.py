"""Scores predictors on planned episodes in batches on one device; no score depends on how.

A row holds what the predictor answers to that one query by itself, on one thread. On a CPU it is asked so, since
batches gain nothing there. Elsewhere, and where a batch size is given, the last digits depend on the batch; where they
could change a score, since a pixel lies at a threshold, the query is asked again by itself. This is enough as long as
batches move no logit by more than `measurements.DOUBT`; those of the packaged network they move by 0.000003.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, takewhile
from time import monotonic

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from benchmarks.plans.task_plans import Episode, TaskPlan, support_hash
from benchmarks.predictors import Predictor, TaskPredictor, specialise
from benchmarks.predictors.protocol import SharingPredictor
from benchmarks.scoring.calibration_metrics import measure_candidates
from benchmarks.scoring.measurements import Measured
from benchmarks.scoring.metering import MOST_QUERIES, BatchSize, Meter, memory_share
from benchmarks.scoring.metrics import METRICS
from benchmarks.scoring.results import ALL_DRAWS, DECIMALS, Candidates, Cost, Row, RowKey
from incontext.networks.unknown import as_shares
from megamed import Collection
from megamed.unknown import UNKNOWN

SHARED_IMAGES = 2048
"""Maximum number of labelled images of a task whose codes are kept; they take about half a gigabyte."""

SURE = 0.05
"""Distance from 0 and 1 up to which probabilities are sure; those of an image reach both, and most of them are."""
MASKS_AS_LOGITS = "Return torch.logit(probabilities), or 20 * masks - 10."

Group = tuple[Episode, ...]
"""Episodes of one query that are scored together: an ensemble of draws, most often one draw, or all ensembles."""
Ask = Callable[[Sequence[Episode]], Tensor]
"""Function from episodes of equal support size to their logits (B, 1, H, W)."""


@dataclass(frozen=True)
class Execution:
    """Device, batches and workers, on which no score depends."""

    device: str = "cpu"
    """Name of a torch device."""
    batch_size: int | None = None
    """Number of queries per forward pass, each with its own support, but no less than the draws of an ensemble. By
    default, it is as many as the memory holds, and one on a CPU."""
    memory_gb: float | None = None
    """Memory budget of one process, in GB; by default half of the free memory, and four fifths on a GPU."""
    workers: int | None = 1
    """Number of worker processes, one per GPU on GPUs; None for as many as pay off."""
    scheduler: str | None = None
    """Address of a Dask scheduler whose workers to use instead of processes on this machine."""
    report_seconds: float = 20.0
    """Seconds after which finished rows are written, at the next change of support: a kill loses no more than these."""

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("workers", 1), ("memory_gb", 0.001)):
            value = getattr(self, name)
            if value is not None and not value >= least:
                msg = f"{name} is too small: expected at least {least}, got {value}."
                raise ValueError(msg)

    def new_batch_size(self) -> BatchSize:
        """Batch size to start with: the one given, or one to be found within the memory budget."""
        if self.batch_size is not None:
            return BatchSize.fixed(self.batch_size)
        budget = memory_share(self.device, self.workers or 1) if self.memory_gb is None else 1e9 * self.memory_gb
        return BatchSize(budget, MOST_QUERIES.get(torch.device(self.device).type, MOST_QUERIES["cuda"]))


@dataclass(frozen=True)
class Work:
    """Episodes of one task for one predictor."""

    name: str
    """Name of the predictor in results."""
    plan: TaskPlan
    groups: tuple[Group, ...]
    """Groups of episodes to score, by support size: a subject with many samples leaves fewer to draw from."""

    @classmethod
    def missing(cls, name: str, plan: TaskPlan, done: Container[RowKey]) -> "Work":
        """Work on those groups of a plan of which some row or candidate is not there yet."""
        groups = [group for group in plan.groups if any(key not in done for key in all_keys(name, plan, group))]
        return cls(name, plan, tuple(sorted(groups, key=lambda group: len(group[0].support))))

    @property
    def episodes(self) -> int:
        """Number of predictions that the work takes."""
        return sum(map(len, self.groups))


@dataclass(frozen=True)
class Scored:
    """Outcome of some work: rows, candidates and cost, and the work that is left."""

    rows: list[Row]
    cost: Cost
    rest: Work
    """Work that is left to do, if any."""
    failure: str = ""
    """Reason why the predictor cannot do the rest of the work; empty if it can."""
    candidates: list[Candidates] = field(default_factory=list)
    """Candidates of queries that several people annotated."""


@dataclass(frozen=True)
class EpisodeImages:
    """The images and labels of one task that its episodes need, loaded once."""

    images: UInt8[Tensor, "N 1 H W"]
    labels: UInt8[Tensor, "N 1 H W"]
    indices: dict[int, int]
    """Mapping of a sample's row in the collection → its index in `images` and `labels`."""
    annotations: dict[int, UInt8[Tensor, "A H W"]]
    """Mapping of a query's row in the collection → labels of its A annotators."""
    has_unknown: bool
    """Whether any label of the task has pixels that nobody judged."""

    @classmethod
    def load(cls, collection: Collection, plan: TaskPlan, episodes: Sequence[Episode], device: str) -> "EpisodeImages":
        """Load every sample that is a query or in a support onto the device."""
        rows = sorted({sample.row for episode in episodes for sample in (episode.query, *episode.support)})
        images, labels = (
            torch.from_numpy(arrays).to(device).unsqueeze(1)
            for arrays in (collection.images(plan.task, rows), collection.labels(plan.task, rows))
        )
        annotations = {
            row: torch.from_numpy(np.concatenate([collection.labels(task, [row]) for task in tasks])).to(device)
            for row, tasks in plan.annotators.items()
            if row in rows
        }
        indices, has_unknown = {row: index for index, row in enumerate(rows)}, bool((labels == UNKNOWN).any())
        return cls(images, labels, indices, annotations, has_unknown)

    def queries(self, episodes: Sequence[Episode]) -> tuple[Float[Tensor, "B 1 H W"], Bool[Tensor, "B 1 H W"]]:
        """Images of the queries, in [0, 1], and their labels."""
        indices = [self.indices[episode.query.row] for episode in episodes]
        return self.images[indices] / 255, self.labels[indices] == 1

    def known(self, episodes: Sequence[Episode]) -> Bool[Tensor, "B 1 H W"] | None:
        """Pixels of the queries that somebody judged; None if these are all."""
        indices = [self.indices[episode.query.row] for episode in episodes]
        return self.labels[indices] != UNKNOWN if self.has_unknown else None

    def supports(self, episodes: Sequence[Episode]) -> tuple[Float[Tensor, "B S 1 H W"], Float[Tensor, "B S 1 H W"]]:
        """Support images in [0, 1] and their labels; all episodes have equally many."""
        return self.examples(
            torch.tensor([[self.indices[sample.row] for sample in episode.support] for episode in episodes])
        )

    def examples(self, indices: Int[Tensor, "*N"]) -> tuple[Float[Tensor, "*N 1 H W"], Float[Tensor, "*N 1 H W"]]:
        """Images in [0, 1], and labels in {0, 1} and `UNKNOWN_SHARE`, at some indices."""
        labels = self.labels[indices]
        return self.images[indices] / 255, as_shares(labels) if self.has_unknown else labels.float()


class Evaluator:
    """Scores work in one process on one device, and remembers which batches fit its memory."""

    def __init__(self, collection: Collection, execution: Execution) -> None:
        self._collection, self._execution = collection, execution
        self._meter = Meter(execution.device)
        self._sizes: dict[tuple[str, int], BatchSize] = {}
        self._opened: tuple[object, EpisodeImages, Ask] | None = None

    def score(self, work: Work, predictor: Predictor | TaskPredictor) -> Scored:
        """Score batches, at least one, until the work is done or its rows have to be reported.

        Episodes with the support of the last batch are scored in the same call, since another process would have to
        encode that support anew. Any exception of the predictor ends its work on this task, and on no other.
        """
        rows: list[Row] = []
        candidates: list[Candidates] = []
        waiting, queries, batch, peak, failure = work.groups, 0, 0, 0, ""
        groups: Sequence[Group] = ()
        spent, start = self._meter.seconds, monotonic()
        with exactly():
            try:
                images, ask = self._open(work, predictor)
                while waiting and (
                    not rows
                    or monotonic() - start < self._execution.report_seconds
                    or same_supports(groups[-1], waiting[0])
                ):
                    size = self._size_for(work.name, waiting[0])
                    groups = next_batch(waiting, size.queries)
                    asked = sum(map(len, groups))
                    try:
                        with self._meter:
                            found = judge(work, groups, images, ask, self._meter)
                    except torch.OutOfMemoryError:
                        if not size.shrink():
                            raise
                        continue
                    rows += make_rows(work, groups, found)
                    candidates += compare_candidates(work, groups, found, images)
                    size.learn(asked, self._meter.peak_bytes)
                    waiting = waiting[len(groups) :]
                    queries, batch, peak = queries + asked, max(batch, asked), max(peak, self._meter.peak_bytes)
            except (Exception, SystemExit) as error:  # a predictor may be anyone's, and raise anything
                failure = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        cost = Cost(
            work.name, work.plan.task.id, queries, round(self._meter.seconds - spent, 6), round(peak / 1e6, 1), batch
        )
        return Scored(rows, cost, replace(work, groups=waiting), failure, candidates)

    def _size_for(self, name: str, group: Group) -> BatchSize:
        key = name, len(group[0].support)
        if key not in self._sizes:
            self._sizes[key] = self._execution.new_batch_size()
        return self._sizes[key]

    def _open(self, work: Work, predictor: Predictor | TaskPredictor) -> tuple[EpisodeImages, Ask]:
        """Load the images of a task and specialise the predictor, unless both are at hand from its last part."""
        key = work.name, work.plan.task.id
        if self._opened is None or self._opened[0] != key:
            episodes = list(chain(*work.groups))
            images = EpisodeImages.load(self._collection, work.plan, episodes, self._execution.device)
            with self._meter.timing():
                ready = specialise(predictor, self._collection, work.plan)
                if isinstance(ready, SharingPredictor) and len(shown(work.plan.episodes)) <= SHARED_IMAGES:
                    ask = sharing(ready, images, shown(episodes))
                else:
                    ask = plainly(ready, images)
            self._opened = key, images, ask
        return self._opened[1:]


@contextmanager
def exactly() -> Iterator[None]:
    """Compute without gradients, in full precision, and on one thread: processes share work better than threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(threads)


def plainly(predictor: Predictor, images: EpisodeImages) -> Ask:
    """Ask a predictor with the images of every support."""
    return lambda episodes: predictor(images.queries(episodes)[0], *images.supports(episodes))


def sharing(predictor: SharingPredictor, images: EpisodeImages, rows: Sequence[int]) -> Ask:
    """Ask a predictor with codes of the samples in some rows, which are encoded once for all supports."""
    codes = predictor.encode_images(*images.examples(torch.tensor([images.indices[row] for row in rows])))
    indices = {row: index for index, row in enumerate(rows)}

    def ask(episodes: Sequence[Episode]) -> Tensor:
        chosen = torch.tensor([[indices[sample.row] for sample in episode.support] for episode in episodes])
        return predictor.segment(images.queries(episodes)[0], codes.select(chosen))

    return ask


def shown(episodes: Iterable[Episode]) -> list[int]:
    """Rows of the samples that are in some support, ascending."""
    return sorted({sample.row for episode in episodes for sample in episode.support})


def next_batch(groups: Sequence[Group], queries: int) -> list[Group]:
    """First groups of equal support size that make up a number of queries; at least one."""
    count = max(1, queries // len(groups[0]))
    support = len(groups[0][0].support)
    return list(takewhile(lambda group: len(group[0].support) == support, groups[:count]))


def same_supports(some: Group, others: Group) -> bool:
    """Whether two queries are asked about by the same supports."""
    return [episode.support for episode in some] == [episode.support for episode in others]


def ensembles(work: Work, groups: Iterable[Group]) -> list[Group]:
    """Divide groups into ensembles of consecutive draws of a query."""
    size = work.plan.ensemble
    return [group[start : start + size] for group in groups for start in range(0, len(group), size)]


def judge(work: Work, groups: Sequence[Group], images: EpisodeImages, ask: Ask, meter: Meter) -> Measured:
    """Predict groups of equal size and measure each episode, and each ensemble's mean probability, at probability 0.5.

    Args:
        work: The work that the groups belong to.
        groups: Episodes of one query each.
        images: Images and labels of the task.
        ask: Function that gives the logits of episodes.
        meter: Meter of the predictor's time.
    """
    size, singles = work.plan.ensemble, list(chain(*groups))
    query_images, labels = images.queries(singles)
    with meter.timing():
        logits = _checked(work.name, ask(singles), query_images)
    found = Measured.of(logits, labels, size, images.known(singles))
    if len(singles) > 1 and (unsure := found.unsure.nonzero().flatten().tolist()):
        judged = ensembles(work, groups)
        again = list(chain(*(judged[index] for index in unsure)))
        alone = torch.cat([_checked(work.name, ask([episode]), query_images[:1]) for episode in again])
        found = found.replaced(unsure, Measured.of(alone, images.queries(again)[1], size, images.known(again)))
    return found


def make_rows(work: Work, groups: Sequence[Group], found: Measured) -> list[Row]:
    """Make a row per episode of each ensemble, and one for all of them if there are several, under `ensemble_name`."""
    asked = [
        each
        for group in ensembles(work, groups)
        for each in ([(episode,) for episode in group] + [group] * (len(group) > 1))
    ]
    return [_row(work, group, values) for group, values in zip(asked, found.values.flatten(0, 1).tolist(), strict=True)]


def compare_candidates(work: Work, groups: Sequence[Group], found: Measured, images: EpisodeImages) -> list[Candidates]:
    """Compare all draws of each query with the labels of its annotators, where several people annotated it."""
    masks = found.masks.flatten(0, 1).unflatten(0, (len(groups), -1))
    return [
        _candidates(work, group, masks[[index]], images.annotations[group[0].query.row].unsqueeze(0))
        for index, group in enumerate(groups)
        if group[0].query.row in images.annotations
    ]


def ensemble_name(name: str, draws: int) -> str:
    """Name in results of a predictor whose probabilities are averaged over draws; its own name for one draw."""
    return f"{name}-x{draws}" if draws > 1 else name


def base_name(name: str, draws: int) -> str:
    """Name of the predictor whose `ensemble_name` is given."""
    return name.removesuffix(f"-x{draws}") if draws > 1 else name


def row_keys(name: str, plan: TaskPlan, group: Group) -> set[RowKey]:
    """Keys of the rows of a group."""
    named = {(name, episode.draw) for episode in group}
    named |= {(ensemble_name(name, plan.ensemble), episode.draw // plan.ensemble) for episode in group}
    return {(shown, plan.task.id, group[0].query.case, draw) for shown, draw in named}


def all_keys(name: str, plan: TaskPlan, group: Group) -> set[RowKey]:
    """Keys of the rows of a group, and of its candidates if several people annotated the query."""
    query = group[0].query
    compared = {(name, plan.task.id, query.case, ALL_DRAWS)} if query.row in plan.annotators else set()
    return row_keys(name, plan, group) | compared


def _row(work: Work, group: Group, values: list[float]) -> Row:
    label_px, mask_px, *measures = values
    return Row(
        predictor=ensemble_name(work.name, len(group)),
        dataset=work.plan.task.dataset,
        task=work.plan.task.id,
        subject=group[0].query.subject,
        case=group[0].query.case,
        draw=group[0].draw // len(group),
        support_size=sum(len(episode.support) for episode in group),
        support_hash=support_hash(group),
        label_px=int(label_px),
        mask_px=int(mask_px),
        ensemble=len(group),
        **{name: round(value, DECIMALS.get(name, 6)) for name, value in zip(METRICS, measures, strict=True)},
    )


def _candidates(
    work: Work, group: Group, masks: Bool[Tensor, "1 draws H W"], annotations: UInt8[Tensor, "1 A H W"]
) -> Candidates:
    """Compare where every annotator judged."""
    known = (annotations != UNKNOWN).all(dim=1, keepdim=True)
    figures = measure_candidates(masks & known, (annotations == 1) & known)
    return Candidates(
        predictor=work.name,
        dataset=work.plan.task.dataset,
        task=work.plan.task.id,
        subject=group[0].query.subject,
        case=group[0].query.case,
        draws=masks.shape[1],
        annotators=annotations.shape[1],
        **{name: round(values.item(), 6) for name, values in figures.items()},
    )


def _checked(name: str, logits: object, query_images: Tensor) -> Tensor:
    """Check the logits of a predictor, which may be anyone's, and return them.

    Raises:
        TypeError: If they are no tensor of real numbers.
        ValueError: If they have another shape than the queries, hold NaN, or are probabilities or masks.
    """
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        got = f"a tensor of {logits.dtype}" if isinstance(logits, Tensor) else type(logits).__name__
        msg = (
            f"Logits of predictor {name!r} are no tensor of real numbers: expected floating point, 0 and above for "
            f"foreground, got {got}. {MASKS_AS_LOGITS}"
        )
        raise TypeError(msg)
    if logits.shape != query_images.shape:
        msg = (
            f"Logits of predictor {name!r} have the wrong shape: expected {tuple(query_images.shape)}, "
            f"got {tuple(logits.shape)}. Return one logit per query pixel."
        )
        raise ValueError(msg)
    if torch.isnan(logits).any():
        msg = f"Logits of predictor {name!r} are broken: expected numbers, got NaN. Check its weights."
        raise ValueError(msg)
    if _are_shares(logits).any():
        msg = (
            f"Logits of predictor {name!r} are probabilities or masks: expected logits, 0 and above for foreground, "
            f"got values that fill the range from 0 to 1 and never leave it. {MASKS_AS_LOGITS}"
        )
        raise ValueError(msg)
    return logits


def _are_shares(logits: Float[Tensor, "B 1 H W"]) -> Bool[Tensor, " B"]:
    """Whether an image's values are from 0 to 1, and most of them at either end: as logits, all are foreground."""
    values = logits.flatten(1)
    low, high = values.aminmax(dim=1)
    are_sure = ((values <= SURE) | (values >= 1 - SURE)).float().mean(1) > 0.5
    return (low >= 0) & (low <= SURE) & (high >= 1 - SURE) & (high <= 1) & are_sure
