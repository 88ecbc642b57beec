"""Protocols of predictors, the examples that they may be trained on per task, and the name that results know."""

from collections.abc import Callable
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

Answer = Callable[[Tensor, Tensor | None], Tensor]
"""Function from all prompts so far (B, 3, H, W), as `incontext.training.prompts` has them, and the logits before the
latest of them, None if there are none, to logits (B, 1, H, W); a logit ≥ 0 is foreground."""


@runtime_checkable
class Predictor(Protocol):
    """Callable that segments queries by the example of supports; a logit ≥ 0 is foreground.

    Support labels are 0, 1 and, where nobody judged, 1/2: see `incontext.networks.unknown`.
    """

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
    """Predictor that encodes every labelled image by itself, so that the supports of a task can share the codes."""

    def encode_images(self, images: Float[Tensor, "N 1 H W"], labels: Float[Tensor, "N 1 H W"]) -> SelectableCodes:
        """Encode labelled images, each code independent of the other images to the last digit."""
        ...

    def segment(self, query_images: Float[Tensor, "B 1 H W"], supports: SelectableCodes) -> Float[Tensor, "B 1 H W"]:
        """Segment queries by codes of their supports, with the logits of a plain call up to rounding."""
        ...


@runtime_checkable
class PromptedPredictor(Protocol):
    """Predictor that reads queries once, for all prompts on them."""

    def begin(
        self,
        query_images: Float[Tensor, "B 1 H W"],
        support_images: Float[Tensor, "B S 1 H W"],
        support_labels: Float[Tensor, "B S 1 H W"],
    ) -> Answer:
        """Read queries and their supports, of S ≥ 0 images; labels are 0, 1 and, where nobody judged, 1/2."""
        ...


class TaskExamples(NamedTuple):
    """Labelled images of a task to train on: those of subjects that are not asked about.

    Labels are 0, 1 and, where nobody judged, `megamed.unknown.UNKNOWN`.
    """

    images: UInt8[Tensor, "N 1 H W"]
    labels: UInt8[Tensor, "N 1 H W"]


@runtime_checkable
class TaskPredictor(Protocol):
    """Maker of predictors out of a task's examples, such as a network trained per task."""

    def for_task(self, task_id: str, examples: TaskExamples) -> Predictor:
        """Train on a task's examples and return its predictor."""
        ...


@dataclass(frozen=True)
class NamedPredictor:
    """Predictor with the name and the fingerprint by which results know it."""

    name: str
    predict: Predictor | TaskPredictor
    fingerprint: str
    """Identity of this version: the weights' SHA-256, a hash of the settings, or a baseline's name."""
    provenance: dict[str, Any]
    """Metadata of the weights file, which states the training data."""


@dataclass(frozen=True)
class NamedPrompted:
    """Prompted predictor with the name and the fingerprint by which results know it."""

    name: str
    predictor: PromptedPredictor
    fingerprint: str
    """Identity of this version, such as the SHA-256 of the weights."""
    provenance: dict[str, Any]
    """Metadata of the weights file, which states the training data."""


def specialise(predictor: Predictor | TaskPredictor, collection: Collection, plan: TaskPlan) -> Predictor:
    """Predictor for a planned task: the one given, trained on the task's examples if it is trained per task.

    Raises:
        ValueError: If it is trained per task and the plan asks about every subject, which leaves no examples.
    """
    if isinstance(predictor, TaskPredictor):
        return predictor.for_task(plan.task.id, load_examples(collection, plan))
    return predictor


def load_examples(collection: Collection, plan: TaskPlan) -> TaskExamples:
    """Load the labelled images of a task's subjects that no query of the plan belongs to.

    Raises:
        ValueError: If every subject has a query.
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
