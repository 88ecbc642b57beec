"""Presence: the probability that a class is in an image at all, by what leave-one-out finds on the examples.

A network that is asked where something is draws something. What it draws where nothing is, is less sure of itself and
less like what people drew than what it draws on examples that show the class. Examples that do not tell how much less.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from incontext.inference.expected import Expected
from incontext.inference.leave_one_out import IMPOSSIBLE, LEAST_EXAMPLES, by_others, leave_one_out
from incontext.inference.left_out import LeftOut
from incontext.inference.loaded_network import LoadedNetwork
from incontext.inference.planes import CasePrediction, DrawnPlane, Plane
from incontext.inference.presence_signs import FARTHEST, Contrast, Finding, dice_and_likeness, posterior
from incontext.inference.reader import Reader
from incontext.inference.segmentation import Presence
from incontext.networks.quality import LEAST_SHARE, QualityModel, expected_log_odds

ABSENT = ("auto", "suppress", "mark", "keep")
"""Treatments of a class where it is improbable: it is not drawn if some examples lack it or if it is plainly absent, it
is never drawn, it is only marked, or nobody asks. The second one is no default: if all examples are of one patient, the
images of others look so unlike them that what is there would be taken away."""
PRIOR: Final = (1.25, 1.07, 2.31)
"""Log-odds of presence of a mask as good as those of the examples, and weights of predicted Dice and of likeness, as
fitted on images with and without the class of eleven datasets; see docs/findings.md."""
CERTAINTY: Final = (0.1, 1.0, 1.0)
"""Precision of these three, which empty examples have to overcome."""
CONTRAST_PRIOR: Final = (0.19, 0.57, 0.50, 0.40, 0.31)
"""Constant, and weights of predicted Dice and of the signs of a contrast, where there is one.

`python -m benchmarks.perf.fit_presence` fits them.
"""
CONTRAST_CERTAINTY: Final = (0.1, 6.0, 6.0, 6.0, 6.0)
IMPROBABLE_BY_CONTRAST, IMPROBABLE_BY_EXAMPLES, IMPROBABLE = 0.45, 0.4, 0.08
"""Probability below which a class counts as absent: where there is a contrast, if some examples lack it, if all show
it. See docs/findings.md."""
UNLIKE = -1.5
"""Likeness, in deviations from the examples, below which a class is plainly absent if nothing is as bright as it is."""
AS_BRIGHT = 0.001
"""Share of the pixels up to which nothing is."""
SHORT = 0.1
"""Share of the grey values, at least, that an image lacks where nothing in it is as bright as a class, or as dark."""
PLAINLY = 1e-4
"""Probability below which a class is plainly absent. It gets half of it there, and never so little by both signs."""
SPREAD = 0.5
"""Standard deviation that is added to that of the examples, of which there may be few."""
WEIGHT_OF_NO_SHIFT = 2
"""Number of examples of just the predicted Dice that are put to the true ones, where its shift is their mean."""


@dataclass(frozen=True, eq=False)
class ClassPresence:
    """A logistic model of signs of presence, relative to examples.

    Of predicted Dice and likeness, relative to the examples that show a class; of predicted Dice and of what tells
    these from examples that lack it, where there is a contrast.

    Attributes:
        labelled: Features of what people drew on these examples; None if the network has no features.
        centre: Mean of both signs over these examples, by the others; NaN if they are too few, and then presence is.
        spread: Standard deviation of both signs over these examples, and `SPREAD`.
        weights: Constant and weights of the signs.
        brightness: Least and greatest mean grey value that the class has in one of these examples.
        improbable: Probability below which the class counts as absent; 0 if too few examples show it.
        is_taught: Whether some examples lack the class.
        contrast: Signs that tell these from the others, in place of likeness; None if either are too few.
    """

    labelled: Float[Tensor, "K F"] | None = field(repr=False)
    centre: Float[Tensor, "2"]
    spread: Float[Tensor, "2"]
    weights: Float[Tensor, " W"]
    brightness: tuple[float, float]
    improbable: float
    is_taught: bool = False
    contrast: Contrast | None = field(default=None, repr=False)

    def __call__(
        self, found: Finding, quality: QualityModel, images: Float[Tensor, "N 1 H W"], reaches: Float[Tensor, "N 2"]
    ) -> Float[Tensor, " N"]:
        """Probability that squares show the class.

        Args:
            found: What is found of it in them.
            quality: Model that predicts the Dice of masks.
            images: The squares.
            reaches: Least and greatest grey value of the planes that they are of.
        """
        signs, inputs = self.inputs(found, quality)
        probable = (inputs @ self.weights).sigmoid()
        plainly = (signs[:, 1] < UNLIKE) & self._is_out_of(images, reaches)
        return torch.where(plainly, probable.clamp(max=PLAINLY / 2), probable)

    def _is_out_of(self, images: Float[Tensor, "N 1 H W"], reaches: Float[Tensor, "N 2"]) -> Bool[Tensor, " N"]:
        """Whether nothing in squares is as bright as the class, or as dark, and their planes do not reach so far."""
        (least, greatest), lowest = self.brightness, reaches[:, :1, None, None]
        is_in = images > lowest / 2  # what surrounds a plane in its square is black
        bright, dark = ((each & is_in).float().mean((1, 2, 3)) for each in (images >= least, images <= greatest))
        too_dark, too_bright = reaches[:, 1] < 1 - SHORT, reaches[:, 0] > SHORT
        return (too_dark & (bright <= AS_BRIGHT)) | (too_bright & (dark <= AS_BRIGHT))

    def inputs(self, found: Finding, quality: QualityModel) -> tuple[Float[Tensor, "N 2"], Float[Tensor, "N W"]]:
        """Predicted Dice and likeness, relative to the examples, and what the weights take."""
        signs = self.relative(dice_and_likeness(found, self.labelled, quality))
        return signs, inputs_of(signs, None if self.contrast is None else self.contrast(found))

    def relative(self, signs: Float[Tensor, "N 2"]) -> Float[Tensor, "N 2"]:
        """Predicted Dice and likeness in deviations from the examples that show the class, within bounds."""
        return ((signs - self.centre) / self.spread).clamp(-FARTHEST, FARTHEST)

    def off_below(self, absent: str) -> float:
        """Probability below which the class is taken off, by the treatment that a user chose."""
        if absent == "suppress" or (absent == "auto" and self.is_taught):
            return self.improbable
        return min(self.improbable, PLAINLY) if absent == "auto" else 0.0


@dataclass(frozen=True, eq=False)
class PresenceModel:
    """Judges in squares the presence of each class of a reader.

    Attributes:
        reader: Reader that segments the squares.
        quality: Model that predicts the Dice of masks.
        classes: Model of each class.
        dice_shifts: Log-odds to add to the predicted Dice of each class; see `dice_shifts`.
    """

    reader: Reader
    quality: QualityModel
    classes: Sequence[ClassPresence]
    dice_shifts: Float32[Tensor, " C"]

    @classmethod
    def of(cls, found: LeftOut, reader: Reader, quality: QualityModel) -> "PresenceModel | None":
        """Fit to examples; None if fewer than `LEAST_EXAMPLES` were judged.

        Args:
            found: Examples, each segmented by the others.
            reader: Reader that segmented them.
            quality: Model that predicts the Dice of masks.
        """
        if len(found.examples) < LEAST_EXAMPLES:
            return None
        count = found.counts.shape[1]
        models = [_fitted(found, class_index, quality) for class_index in range(count)]
        return cls(reader, quality, models, dice_shifts(found, quality))

    @property
    def improbable(self) -> Float[Tensor, " C"]:
        """Probability below which each class counts as absent."""
        return torch.tensor([each.improbable for each in self.classes])

    def off_below(self, absent: str) -> Float[Tensor, " C"]:
        """Probability below which each class is taken off, by the treatment that a user chose."""
        return torch.tensor([each.off_below(absent) for each in self.classes])

    @torch.inference_mode()
    def __call__(
        self, images: Float[Tensor, "N 1 H W"], reaches: Float[Tensor, "N 2"], log_odds: Float[Tensor, "N C H W"]
    ) -> Float[Tensor, "N C"]:
        """Probability that each square shows each class, by what was found in it; see `probability`."""
        masks = torch.stack([self.reader.classes.layers(each) for each in log_odds])
        return self.probability(images.cpu(), reaches, self.reader.stages(images), log_odds, masks)

    def probability(
        self,
        images: Float[Tensor, "N 1 H W"],
        reaches: Float[Tensor, "N 2"],
        stages: list[Tensor] | None,
        log_odds: Float[Tensor, "N C H W"],
        masks: Bool[Tensor, "N C H W"],
    ) -> Float[Tensor, "N C"]:
        """Probability that each square shows each class, by what was found in it.

        Args:
            images: The squares.
            reaches: Least and greatest grey value of the planes that they are of.
            stages: Features of the squares at every stage; None if the network has none.
            log_odds: Log-odds of the classes.
            masks: Masks of the classes.
        """
        found = Finding.in_squares(self.reader.classes.probabilities(log_odds), masks, stages)
        pairs = zip(self.classes, found, strict=True)
        return torch.stack([model(each, self.quality, images, reaches) for model, each in pairs], dim=1)


class Judgement:
    """Judgement of a reader's examples on each other, of which each part is computed when it is first asked for.

    Args:
        reader: Reader of the examples.
        network: Network that the reader computes with.
        quality: Model that predicts the Dice of masks; None if there is none, and then presence is not judged.
        before: Function that makes the judgement by the network as it was before it was tuned on these examples; None
            if it was not. Having learned them, it segments them better than new images, and contradicts no label.
        known: The examples as the others segment them, where their images are not at hand.
    """

    def __init__(
        self,
        reader: Reader,
        network: LoadedNetwork,
        quality: QualityModel | None,
        before: Callable[[], "Judgement"] | None = None,
        known: LeftOut | None = None,
    ) -> None:
        self.reader = reader
        self._network = network
        self._quality = quality
        self._before = before
        self._known = known

    @cached_property
    def left_out(self) -> LeftOut:
        """The examples as the others segment them."""
        if self._known is not None:
            return self._known
        with self._network.evaluating():
            return leave_one_out(self.reader)

    @property
    def kept(self) -> tuple[LeftOut, ...]:
        """The examples as the others segment them, by the network and by it before it was tuned; none if too few."""
        return tuple(each.left_out for each in dict.fromkeys((self, self._unlearned))) if self._are_enough else ()

    @property
    def _are_enough(self) -> bool:
        units = self.reader.pool.units if self._known is None else self._known.examples
        return len(units.unique()) >= LEAST_EXAMPLES

    @cached_property
    def _unlearned(self) -> "Judgement":
        """Judgement by a network that has not learned the examples."""
        return self._before() if self._before else self

    def by_others(self, example: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """An example's image (H, W) as the network sees it, its label and the masks by the others (C, H, W).

        Args:
            example: Number of the example, as in `Expected`; of several squares, the one that shows most.

        Raises:
            ValueError: If the images of the examples are not at hand.
        """
        if self.reader.pool.is_empty:
            msg = "example cannot be shown: expected labelled images, got their code alone. Ask for the task with them."
            raise ValueError(msg)
        if self._unlearned is not self:
            return self._unlearned.by_others(example)
        with self._network.evaluating():
            return by_others(self.reader, example)

    @cached_property
    def expected(self) -> Expected | None:
        """Expected Dice of new images, and examples that look wrong; None if the examples are too few."""
        if not self._are_enough:
            return None
        found = self._unlearned.left_out
        presence = None if self._quality is None else presence_by_others(found, self._quality)
        return Expected.of(found, list(self.reader.classes.names), presence)

    @cached_property
    def presence(self) -> PresenceModel | None:
        """Model of presence; None if weights or examples do not allow it."""
        if self._quality is None or not self._are_enough:
            return None
        model = PresenceModel.of(self.left_out, self.reader, self._quality)
        if model is None or self._before is None:
            return model
        return replace(model, dice_shifts=torch.zeros_like(model.dice_shifts))  # what was learned tells nothing of it

    def remover(self, absent: str) -> PresenceModel | None:
        """Model of presence by which classes may be taken off images; None, at no cost, if none ever is.

        Args:
            absent: Treatment of classes where they are improbable: one of `ABSENT`.
        """
        return self.presence if absent in ("auto", "suppress") else None


def check_absent(absent: str) -> None:
    """Make sure that it is known what becomes of classes where they are improbable.

    Raises:
        ValueError: If it is none of `ABSENT`.
    """
    if absent not in ABSENT:
        msg = f"absent is unknown: expected {', '.join(ABSENT)}, got {absent!r}. Choose one."
        raise ValueError(msg)


def judge_presence(
    found: Sequence[CasePrediction], model: PresenceModel, absent: str
) -> tuple[list[CasePrediction], Presence]:
    """Judge by planes whether images show the classes: a plane does if one of its squares does.

    Args:
        found: What was found in each image, with the presence of each class in each square.
        model: Model by which that presence was judged.
        absent: Treatment of a class on planes where it is improbable: one of `ABSENT`.

    Returns:
        What is left of the predictions, and the presence of each class in each image.
    """
    improbable, off_below = model.improbable, model.off_below(absent)
    left, probable = [], np.zeros((len(found), len(improbable)), dtype=np.float32)
    shifts = np.tile(model.dice_shifts.numpy(), (len(found), 1))
    for index, case in enumerate(found):
        by_plane = torch.stack([_presence(plane) for plane in case.planes])
        taken = [_without(plane, off) for plane, off in zip(case.planes, by_plane < off_below, strict=True)]
        left.append(replace(case, planes=taken))
        probable[index] = by_plane.amax(0).numpy()
    return left, Presence(probable, probable < improbable.numpy(), shifts)


def _presence(plane: Plane | DrawnPlane) -> Float[Tensor, " C"]:
    assert isinstance(plane, Plane)
    assert plane.presence is not None
    return plane.presence.amax(0)


def _without(plane: Plane | DrawnPlane, absent: Bool[Tensor, " C"]) -> Plane | DrawnPlane:
    """Take classes off a plane."""
    if not absent.any() or isinstance(plane, DrawnPlane):
        return plane
    logits = plane.logits.clone()
    logits[:, absent] = IMPOSSIBLE
    return replace(plane, logits=logits)


def dice_shifts(found: LeftOut, quality: QualityModel) -> Float32[Tensor, " C"]:
    """Log-odds by which examples, segmented by the others, have a higher Dice than is predicted for them.

    The mean over the examples that show a class, and over `WEIGHT_OF_NO_SHIFT` that have what is predicted.
    """
    soft = found.by_example(found.soft_counts)
    predicted = quality.dice_from(expected_log_odds(soft.flatten(0, 1))).unflatten(0, soft.shape[:2])
    low, high = LEAST_SHARE, 1 - LEAST_SHARE
    apart = found.dice.clamp(low, high).logit() - predicted.clamp(low, high).logit()
    return apart.nan_to_num(0).sum(0) / (found.shown.sum(0) + WEIGHT_OF_NO_SHIFT)


def presence_by_others(found: LeftOut, quality: QualityModel) -> Float[Tensor, "N C"]:
    """Log-odds by which each example shows each class, whatever its label says; NaN where a class is shown too seldom.

    The weights are those of the prior, since a label that is in doubt cannot teach them.
    """
    of_classes = []
    for index in range(found.counts.shape[1]):
        model, inputs = untaught(found, index, quality)
        lowest = torch.full((len(found.examples),), -torch.inf)
        of_classes.append(lowest.scatter_reduce(0, found.rows, inputs @ model.weights, "amax"))
    return torch.stack(of_classes, dim=1)


def _fitted(found: LeftOut, index: int, quality: QualityModel) -> ClassPresence:
    """Fit the model of a class: its weights have the greatest posterior probability, with a normal prior."""
    model, inputs = untaught(found, index, quality)
    if not model.is_taught:
        return model
    annotated, present = found.annotated[:, index], found.shows[:, index].float()
    certainty = CERTAINTY if model.contrast is None else CONTRAST_CERTAINTY
    weights = posterior(inputs[annotated], present[annotated], model.weights, torch.tensor(certainty))
    return replace(model, weights=weights)


def untaught(found: LeftOut, index: int, quality: QualityModel) -> tuple[ClassPresence, Float[Tensor, "M W"]]:
    """Model of a class whose weights are those of the prior, and its inputs of the examples by each other."""
    shown, annotated = found.shows[:, index], found.annotated[:, index]
    labelled = None if found.labelled is None else found.labelled[shown, index]
    others = found.rows[:, None] != found.rows[shown]
    if len(found.rows[shown].unique()) < LEAST_EXAMPLES:
        never = torch.full((2,), torch.nan), torch.ones(2), torch.tensor(PRIOR), (0.0, 1.0), 0.0
        return ClassPresence(labelled, *never), torch.full((len(shown), len(PRIOR)), torch.nan)
    signs = dice_and_likeness(Finding.in_examples(found, index), labelled, quality, others)
    centre, spread = signs[shown].mean(0), signs[shown].std(0, correction=0) + SPREAD
    brightness = found.brightness[shown, index]
    reach = brightness.min().item(), brightness.max().item()
    model = ClassPresence(labelled, centre, spread, torch.tensor(PRIOR), reach, IMPROBABLE)
    relative = model.relative(signs)
    if shown[annotated].all():
        return model, inputs_of(relative)
    if (contrasted := Contrast.of(found, index)) is None:
        return replace(model, improbable=IMPROBABLE_BY_EXAMPLES, is_taught=True), inputs_of(relative)
    contrast, contrasts = contrasted
    prior = torch.tensor(CONTRAST_PRIOR)
    taught = replace(model, weights=prior, improbable=IMPROBABLE_BY_CONTRAST, is_taught=True, contrast=contrast)
    return taught, inputs_of(relative, contrasts)


def inputs_of(relative: Float[Tensor, "N 2"], contrasts: Float[Tensor, "N 3"] | None = None) -> Float[Tensor, "N W"]:
    """Return 1, predicted Dice, and likeness or the signs of a contrast, as weights take them."""
    others = relative[:, 1:] if contrasts is None else contrasts
    return torch.cat([torch.ones_like(relative[:, :1]), relative[:, :1], others], dim=1)
