"""Predictors that can be told where they are wrong: they answer a query, given its support or none, by its prompts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from benchmarks.predictors.own import object_of
from benchmarks.predictors.source_identity import identity_of

Answer = Callable[[Tensor, Tensor | None], Tensor]
"""Function from all prompts so far (B, 3, H, W), as `incontext.training.prompts` has them, and the logits before the
latest of them, None if there are none, to logits (B, 1, H, W); a logit ≥ 0 is foreground."""


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


@dataclass(frozen=True)
class NamedPrompted:
    """Prompted predictor with the name and the fingerprint by which results know it."""

    name: str
    predictor: PromptedPredictor
    fingerprint: str
    """Identity of this version, such as the SHA-256 of the weights."""
    provenance: dict[str, Any]
    """Metadata of the weights file, which states the training data."""


def load_prompted(name: str, device: str = "cpu") -> NamedPrompted:
    """Load a prompted predictor of your own, named `module:object`.

    Raises:
        ValueError: If there is none of this name.
    """
    module, predictor = object_of(name)
    if isinstance(predictor, type) or not isinstance(predictor, PromptedPredictor):
        kind = f"the class {predictor.__name__}" if isinstance(predictor, type) else type(predictor).__name__
        msg = (
            f"{name} takes no prompts: expected an object with `begin`, of query_images, support_images and "
            f"support_labels, got {kind}. Name one."
        )
        raise ValueError(msg)
    return NamedPrompted(name, predictor, identity_of(module, predictor), provenance={})
