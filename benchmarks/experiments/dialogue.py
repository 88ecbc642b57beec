"""Dialogues of a robot user with a predictor: the robot looks at the mask, says where it is wrong, and looks again."""

from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from benchmarks.plans.task_plans import stable_hash
from benchmarks.predictors.protocol import PromptedPredictor
from benchmarks.scoring.metrics import overlap_measures
from incontext.networks.prompted import BOX, INSIDE, OUTSIDE
from incontext.networks.unknown import judged
from incontext.training.prompts import PromptConfig, corrections, join, largest_errors

ROBOTS: dict[str, PromptConfig] = {
    "centre": PromptConfig(ways=("centre",), corrections=(1, 1), scribbled=0, careless=0),
    "random": PromptConfig(ways=("anywhere",), corrections=(1, 1), scribbled=0, careless=0),
    "sloppy": PromptConfig(ways=("centre",), corrections=(1, 1), scribbled=0, careless=0.2, slip_px=3),
    "scribbles": PromptConfig(scribbled=1, careless=0),
}
"""Robot users, by name: one click at the centre of the largest error, one anywhere in it, the first with a fifth of the
clicks left out or misplaced by up to 3 pixels of 128, or one scribble, at each turn."""


class PromptedQuery(NamedTuple):
    """A query with its label and its support."""

    image: Float[Tensor, "1 1 H W"]
    label: Float[Tensor, "1 1 H W"]
    """Shares of foreground: 0, 1 and, where nobody judged, 1/2."""
    support_images: Float[Tensor, "1 S 1 H W"]
    support_labels: Float[Tensor, "1 S 1 H W"]


@dataclass(frozen=True)
class Dialogue:
    """Course and end of a dialogue about one query."""

    dice: list[float]
    """Dice of the mask after 0, 1, 2, … turns."""
    mask: Bool[Tensor, "1 1 H W"]
    """Mask after the last turn."""
    obeyed: float | None
    """Share of the prompted pixels that are on the side that was said, after the last turn; None if there are none."""


def converse(
    predictor: PromptedPredictor,
    question: PromptedQuery,
    robot: PromptConfig,
    turns: int,
    seed: tuple[object, ...],
    enough: float = inf,
) -> Dialogue:
    """Let a robot correct the mask of a query, turn by turn.

    Without a support there is no mask before the first prompt: the robot begins with an empty one.

    Args:
        predictor: Predictor to talk to.
        question: The query.
        robot: How the robot prompts.
        turns: Number of turns.
        seed: What seeds the robot.
        enough: Dice at which the robot is content and stops.
    """
    answer = predictor.begin(question.image, question.support_images, question.support_labels)
    rng = np.random.default_rng(stable_hash(*seed))
    maps = question.image.new_zeros(1, 3, *question.image.shape[-2:])
    logits = answer(maps, None) if question.support_images.shape[1] else None
    mask = mask_of(logits, question)
    dice = [dice_of(mask, question.label)]
    for _ in range(turns):
        if dice[-1] >= enough:
            break
        further = corrections(question.label, mask, rng, robot)
        if further.any():
            maps = join(maps, further)
            logits = answer(maps, logits)
            mask = mask_of(logits, question)
        dice.append(dice_of(mask, question.label))
    return Dialogue(dice, mask, obeyed(mask, maps))


def mend_whole(predictor: PromptedPredictor, question: PromptedQuery, turns: int) -> Dialogue:
    """Let an editor that knows the label mend the largest connected error of a query's mask, whole, at each turn.

    No answer to a click does better unless it also changes what is not connected with the error that was clicked.
    """
    answer = predictor.begin(question.image, question.support_images, question.support_labels)
    nothing = question.image.new_zeros(1, 3, *question.image.shape[-2:])
    mask = mask_of(answer(nothing, None) if question.support_images.shape[1] else None, question)
    dice = [dice_of(mask, question.label)]
    for _ in range(turns):
        mask = mask ^ largest_errors(question.label, mask)
        dice.append(dice_of(mask, question.label))
    return Dialogue(dice, mask, None)


def mask_of(logits: Tensor | None, question: PromptedQuery) -> Bool[Tensor, "1 1 H W"]:
    """Mask of logits, empty if there are none."""
    return torch.zeros_like(question.image, dtype=torch.bool) if logits is None else logits >= 0


def dice_of(mask: Bool[Tensor, "1 1 H W"], label: Float[Tensor, "1 1 H W"]) -> float:
    """Dice of a mask on the judged pixels of its label, with the policy for empty ones that all results have."""
    return overlap_measures(mask & judged(label), label == 1)["dice"].item()


def obeyed(mask: Bool[Tensor, "1 1 H W"], maps: Float[Tensor, "1 3 H W"]) -> float | None:
    """Share of the prompted pixels that a mask has on the side that was said; None if there are none."""
    inside, outside = maps[:, INSIDE] > 0, maps[:, OUTSIDE] > 0
    right = (inside & mask[:, 0]) | (outside & ~mask[:, 0])
    said = maps[:, :BOX].sum().item()
    return right.sum().item() / said if said else None
