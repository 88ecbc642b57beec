"""Supports that all queries of a task share, and what a segmenter with one of them is measured by."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from benchmarks.experiments.averages import Score
from benchmarks.experiments.bench import Bench
from benchmarks.plans.task_plans import TaskPlan, plan_suite
from incontext import Segmenter
from incontext.inference.segmentation import dice
from megamed import Collection, Sample, Task
from megamed.unknown import UNKNOWN


class SharedSupport(NamedTuple):
    """Examples of a task, with queries of other subjects."""

    task: Task
    draw: int
    examples: tuple[Sample, ...]
    queries: tuple[Sample, ...]

    @property
    def name(self) -> str:
        """Name as a file may have it."""
        return f"{self.task.id.replace('/', '--')}--{self.draw}"

    def score(self, value: float) -> Score:
        """A value that was measured with this support, which counts as a subject of its task."""
        return Score(self.task.dataset, self.task.id, str(self.draw), value)


Measure = Callable[[Bench, Segmenter, SharedSupport], dict[str, Any]]
"""Function that measures a segmenter, which has no examples yet, with a support; it returns JSON values."""


def measured(bench: Bench, measure: Measure, absent: int = 0) -> Iterator[tuple[SharedSupport, dict[str, Any]]]:
    """Yield every support of the tasks, with what a function measures of it; what it measured before is read.

    Args:
        bench: The experiment, whose folder is claimed for its weights; all queries of a task share a support, and
            are of other subjects.
        measure: Function that measures a support.
        absent: Maximum number of further queries per task that lack the structure.
    """
    settings = replace(bench.settings, supports="shared", query_subjects="test", absent=absent)
    supports = [each for plan in plan_suite(bench.collection, settings)[0] for each in shared_supports(plan)]
    for (support,) in bench.track(([each] for each in supports), len(supports)):
        segmenter = Segmenter(bench.weights, device=bench.execution.device, unknown=UNKNOWN)
        yield support, bench.kept(support.name, partial(measure, bench, segmenter, support))


def shared_supports(plan: TaskPlan) -> list[SharedSupport]:
    """The support of each draw of a plan in which queries share it."""
    draws: dict[int, SharedSupport] = {}
    for episode in plan.episodes:
        before = draws.get(episode.draw)
        queries = (*(before.queries if before else ()), episode.query)
        draws[episode.draw] = SharedSupport(plan.task, episode.draw, episode.support, queries)
    return list(draws.values())


def pairs(
    bench: Bench, support: SharedSupport, samples: Sequence[Sample]
) -> tuple[list[UInt8[np.ndarray, "H W"]], list[UInt8[np.ndarray, "H W"]]]:
    """Images and labels of samples of a support's task, as `pairs_of` has them."""
    return pairs_of(bench.collection, support.task, samples)


def pairs_of(
    collection: Collection, task: Task, samples: Sequence[Sample]
) -> tuple[list[UInt8[np.ndarray, "H W"]], list[UInt8[np.ndarray, "H W"]]]:
    """Images and labels of samples; labels are 1 on the structure, and unknown pixels stay so."""
    rows = [sample.row for sample in samples]
    return list(collection.images(task, rows)), list(collection.labels(task, rows))


def mean_dice(masks: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> float:
    """Mean Dice of masks with labels as `pairs` has them, over the pixels that are known."""
    both = zip(masks, labels, strict=True)
    return fmean(float(dice((mask > 0) & (label != UNKNOWN), label == 1)) for mask, label in both)
