"""What a predictor is: the protocol, what it may learn of a task beforehand, and what results know of it."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from benchmarks.plans.task_plans import TaskPlan
from incontext.networks.protocols import SelectableCodes
from megamed import Collection

CONFIDENT_LOGIT = 10.0
"""Logit for a pixel copied from an annotation."""


@runtime_checkable
class Predictor(Protocol):
    """Anything that segments queries by the example of supports; a logit ≥ 0 is foreground."""

    def __call__(
        self,
        query_images: Float[Tensor, "B 1 H W"],
        support_images: Float[Tensor, "B S 1 H W"],
        support_labels: Float[Tensor, "B S 1 H W"],
    ) -> Float[Tensor, "B 1 H W"]:
        """Return one logit per query pixel."""
        ...


@runtime_checkable
class SharingPredictor(Predictor, Protocol):
    """A predictor that reads every labelled image by itself, so that the supports of a task can share the reading."""

    def encode_images(self, images: Float[Tensor, "N 1 H W"], labels: Float[Tensor, "N 1 H W"]) -> SelectableCodes:
        """Read images once; what is read in one must not depend on the others, to the last digit."""
        ...

    def segment(self, query_images: Float[Tensor, "B 1 H W"], supports: SelectableCodes) -> Float[Tensor, "B 1 H W"]:
        """Return what calling it with these queries and supports returns, but for rounding."""
        ...


class TaskExamples(NamedTuple):
    """All that may be learned of a task: the labelled images of subjects that are not asked about."""

    images: UInt8[Tensor, "N 1 H W"]
    labels: UInt8[Tensor, "N 1 H W"]


@runtime_checkable
class TaskPredictor(Protocol):
    """Anything that becomes a predictor once it has seen a task's examples, as a network trained per task does."""

    def for_task(self, task_id: str, examples: TaskExamples) -> Predictor:
        """Learn a task."""
        ...


@dataclass(frozen=True)
class NamedPredictor:
    """A predictor as results know it."""

    name: str
    predict: Predictor | TaskPredictor
    fingerprint: str
    """Tells two predictors of one name apart: the weights' SHA-256, a hash of the settings, or the baseline's name."""
    provenance: dict[str, Any]
    """Metadata of the weights' file, which tells where they come from."""


def specialise(predictor: Predictor | TaskPredictor, collection: Collection, plan: TaskPlan) -> Predictor:
    """What predicts a planned task: the predictor itself, or what it has learned to be from the task's examples.

    Raises:
        ValueError: If it learns and the plan asks about every subject.
    """
    if isinstance(predictor, TaskPredictor):
        return predictor.for_task(plan.task.id, load_examples(collection, plan))
    return predictor


def load_examples(collection: Collection, plan: TaskPlan) -> TaskExamples:
    """The samples of a task's subjects that no query of the plan is of.

    Raises:
        ValueError: If there are none.
    """
    asked = {episode.query.subject for episode in plan.episodes}
    rows = [sample.row for sample in collection.samples(plan.task) if sample.subject not in asked]
    if not rows:
        msg = (
            f"{plan.task.id} leaves nothing to train on: expected subjects that are not asked about, got {len(asked)} "
            "subjects and a query of each. Ask fewer --queries, or --query-subjects test."
        )
        raise ValueError(msg)
    images, labels = collection.images(plan.task, rows), collection.labels(plan.task, rows)
    return TaskExamples(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels).unsqueeze(1))
