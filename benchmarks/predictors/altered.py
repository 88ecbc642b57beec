"""Predictors that are shown altered images or labels: `packaged+noise-0.1` names the packaged network shown noise.

Queries and true labels are the same as without an alteration, so that scores with and without it are paired.
"""

import re
from dataclasses import dataclass, replace
from typing import Self

from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from benchmarks.predictors.annotation_errors import ANNOTATION_ERRORS, OF_SETS
from benchmarks.predictors.chance import fingerprints, mixed
from benchmarks.predictors.corruptions import CORRUPTIONS
from benchmarks.predictors.position import MOVED, moved
from benchmarks.predictors.protocol import NamedPredictor, Predictor, SharingPredictor, TaskPredictor
from incontext.networks.protocols import SelectableCodes
from incontext.networks.unknown import readings

MARK = "+"
"""Separator between the name of a predictor and the alteration."""
SIZE = "size"
"""Kind of alteration that resizes the grid: with strength 64, a predictor sees everything at 64×64 pixels."""
KINDS = (*CORRUPTIONS, *ANNOTATION_ERRORS, SIZE, MOVED)
FAINTEST = 1e-3
"""Smallest share of a pixel that counts as foreground in a resized label."""
WRITTEN = re.compile(r"(?P<kind>[a-z]+)-(?P<strength>\d+(\.\d+)?)(?P<query>-query)?(-seed(?P<seed>\d+))?")


@dataclass(frozen=True)
class Alteration:
    """Change of the images or labels that a predictor is shown; equal for equal image and seed in every episode."""

    kind: str
    """Kind of alteration: a corruption of images, an annotation error of support labels, `size` or `moved`."""
    strength: float
    """Strength of the alteration, in the unit of its kind."""
    query_alone: bool = False
    """Whether a corruption leaves the support as it is."""
    seed: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse an alteration, as `noise-0.1`, `noise-0.1-query` or `noise-0.1-seed7`.

        Raises:
            ValueError: If the text has another form, or names an unknown kind.
        """
        found = WRITTEN.fullmatch(text)
        if found is None or found["kind"] not in KINDS or (found["query"] and found["kind"] not in CORRUPTIONS):
            msg = (
                f"Unknown alteration: expected KIND-STRENGTH with KIND one of {', '.join(KINDS)}, and -query after a "
                f"corruption of the query alone, got {text!r}. Write noise-0.1, for example."
            )
            raise ValueError(msg)
        return cls(found["kind"], float(found["strength"]), bool(found["query"]), int(found["seed"] or 0))

    def __str__(self) -> str:
        seed = f"-seed{self.seed}" if self.seed else ""
        return f"{self.kind}-{self.strength:g}{'-query' if self.query_alone else ''}{seed}"

    def queries(self, images: Float[Tensor, "N 1 H W"]) -> Float[Tensor, "N 1 h w"]:
        """Alter query images by a corruption or a resize; annotation errors and moves leave them as they are."""
        if self.kind == SIZE:
            return resized(images, int(self.strength))
        if self.kind in CORRUPTIONS:
            return CORRUPTIONS[self.kind](images, self.strength, fingerprints(images, self.seed)).clamp(0, 1)
        return images

    def supports(
        self, images: Float[Tensor, "B S 1 H W"], labels: Float[Tensor, "B S 1 H W"]
    ) -> tuple[Float[Tensor, "B S 1 h w"], Float[Tensor, "B S 1 h w"]]:
        """Alter images of supports by all but an annotation error, labels by all but a corruption."""
        if self.kind == MOVED:
            return moved(images, labels, round(self.strength))
        if self.kind in ANNOTATION_ERRORS:
            return images, ANNOTATION_ERRORS[self.kind](labels, self.strength, self._names(images, labels))
        shown = images if self.query_alone else self.queries(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        if self.kind != SIZE:
            return shown, labels
        soft = resized(readings(labels.flatten(0, 1)), int(self.strength))
        # A label of less than a pixel's width falls below one half everywhere: then its strongest pixels stand for it.
        threshold = soft.amax((2, 3), keepdim=True).clamp(FAINTEST, 0.5)
        smaller = (soft > threshold - FAINTEST / 2).to(labels).mean(1, keepdim=True)
        return shown, smaller.unflatten(0, labels.shape[:2])

    def restored(self, logits: Tensor, query_images: Float[Tensor, "N 1 H W"]) -> Tensor:
        """Resize logits to the grid of the queries, if the alteration has changed it."""
        if self.kind != SIZE:
            return logits
        return F.interpolate(logits, query_images.shape[-2:], mode="bilinear", antialias=True)

    def _names(self, images: Tensor, labels: Tensor) -> Int64[Tensor, "B S"]:
        """Fingerprints of labelled images, which depend on image, label and seed."""
        return mixed(fingerprints(images, self.seed) ^ mixed(fingerprints(labels, self.seed)))


@dataclass(frozen=True)
class Altered:
    """Predictor that is shown altered queries and supports."""

    predictor: Predictor
    alteration: Alteration

    def __call__(
        self,
        query_images: Float[Tensor, "B 1 H W"],
        support_images: Float[Tensor, "B S 1 H W"],
        support_labels: Float[Tensor, "B S 1 H W"],
    ) -> Float[Tensor, "B 1 H W"]:
        """Return one logit per query pixel."""
        shown = self.alteration.queries(query_images), *self.alteration.supports(support_images, support_labels)
        return self.alteration.restored(self.predictor(*shown), query_images)


@dataclass(frozen=True)
class AlteredSharing(Altered):
    """Altered predictor that encodes each labelled image once, for alterations that change each image by itself."""

    predictor: SharingPredictor

    def encode_images(self, images: Float[Tensor, "N 1 H W"], labels: Float[Tensor, "N 1 H W"]) -> SelectableCodes:
        """Encode altered labelled images, each by itself, as one code to select supports from."""
        shown_images, shown_labels = self.alteration.supports(images[None], labels[None])
        return self.predictor.encode_images(shown_images[0], shown_labels[0])

    def segment(self, query_images: Float[Tensor, "B 1 H W"], supports: SelectableCodes) -> Float[Tensor, "B 1 H W"]:
        """Return one logit per query pixel."""
        logits = self.predictor.segment(self.alteration.queries(query_images), supports)
        return self.alteration.restored(logits, query_images)


def altered(named: NamedPredictor, alteration: Alteration) -> NamedPredictor:
    """Wrap a predictor so that it is shown altered images and labels.

    Raises:
        ValueError: If the predictor is trained per task, since its training examples would stay unaltered.
    """
    predict = named.predict
    if isinstance(predict, TaskPredictor):
        msg = (
            f"{named.name} cannot be shown altered images: expected a predictor of supports, got one that learns "
            "tasks beforehand. Alter another."
        )
        raise ValueError(msg)
    shown: Predictor = Altered(predict, alteration)
    if isinstance(predict, SharingPredictor) and alteration.kind not in OF_SETS:
        shown = AlteredSharing(predict, alteration)
    mark = f"{MARK}{alteration}"
    return replace(named, name=named.name + mark, predict=shown, fingerprint=named.fingerprint + mark)


def resized(images: Float[Tensor, "N 1 H W"], size_px: int) -> Float[Tensor, "N 1 size_px size_px"]:
    """Resize images to a square grid of `size_px` pixels by bilinear interpolation."""
    return F.interpolate(images, (size_px, size_px), mode="bilinear", antialias=True)
