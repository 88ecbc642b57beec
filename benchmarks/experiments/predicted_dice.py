"""The experiment on predicted Dice: does it put masks in the order of the Dice that they have, and tell failures?"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.experiments.averages import ranging
from benchmarks.experiments.bench import Bench, Coordinates, Findings, Point
from benchmarks.experiments.support_probe import tasks_with_one_support
from benchmarks.predictors import load_network
from incontext.networks.checkpoint import read_metadata
from incontext.networks.quality import QualityModel
from incontext.networks.weights_metadata import Calibration
from incontext.training.calibration import Judged, judge, logits_of, reliability

Reliability = dict[str, float | None]

EVERY, WITHIN = "all masks", "within a task"
RANKS, RISK = "rank correlation", "area under the risk–coverage curve"
ORDERS = {"risk": "by predicted Dice", "risk_least": "by true Dice, the least risk", "risk_random": "in random order"}
"""Mapping of a measured risk → order by which masks are accepted."""


def predicted_dice(bench: Bench) -> Findings:
    """Rank correlation of predicted with true Dice, and risk at any coverage, over all masks, within tasks, by dataset.

    Raises:
        ValueError: If the weights hold no model that predicts Dice.
    """
    details, weights = bench.claim_weights(), bench.weights
    found = bench.kept_draws("reliability-and-risk", partial(measured, bench, weights))
    groups = {(EVERY, ""): [each[EVERY] for each in found], (WITHIN, "_within"): [each[EVERY] for each in found]}
    for name in dict.fromkeys(name for each in found for name in each if name != EVERY):
        groups[name, ""] = [each[name] for each in found if name in each]
    points = []
    for (name, suffix), values in groups.items():
        points.append(point_of(Coordinates(name, panel=RANKS), f"spearman{suffix}", values))
        points += [point_of(Coordinates(name, order, RISK), key + suffix, values) for key, order in ORDERS.items()]
    details |= {"quality": quality_of(weights).model_dump(), "reliability": found}
    return Findings([point for point in points if point], details)


def point_of(place: Coordinates, measure: str, found: list[Reliability]) -> Point | None:
    """Point of a measure's mean over the draws, between its extremes; None if no draw knows it."""
    values = [value for each in found if (value := each[measure]) is not None]
    if not values:
        return None
    shares = {share: [value for each in found if (value := each[share]) is not None] for share in ("flagged", "caught")}
    told = ", ".join(f"{fmean(known):.0%} {share}" for share, known in shares.items() if known)
    return Point(place, ranging(values, fmean), about=told if measure == "spearman" else "")


@torch.inference_mode()
def measured(bench: Bench, weights: Path, seed: int) -> dict[str, Reliability]:
    """Reliability of predicted Dice over all masks and by dataset, for queries and supports drawn by a seed."""
    network, quality = load_network(weights, bench.execution.device), quality_of(weights)
    temperature = Calibration.of(read_metadata(weights)).temperature
    groups: dict[str, list[Judged]] = {EVERY: []}
    for task in tasks_with_one_support(bench.collection.path, replace(bench.settings, seed=seed)):
        judged = judge(task, logits_of(network, task) / temperature)
        groups[EVERY].append(judged)
        groups.setdefault(task.dataset, []).append(judged)
    return {name: judged_group(group, quality) for name, group in groups.items()}


def judged_group(group: Sequence[Judged], quality: QualityModel) -> Reliability:
    """Reliability of predicted Dice on sets of masks; risks over all of them, and their means within sets."""
    predicted = [quality.dice_from(each.log_odds) for each in group]
    within = [risks(some, each.dice) for some, each in zip(predicted, group, strict=True)]
    return {
        **reliability(group, predicted),
        **risks(torch.cat(predicted), torch.cat([each.dice for each in group])),
        **{f"{name}_within": fmean(each[name] for each in within) for name in ORDERS},
    }


def risks(predicted: Float[Tensor, " N"], dice: Float[Tensor, " N"]) -> dict[str, float]:
    """Areas under the risk–coverage curve of masks accepted by predicted Dice, by true Dice and in random order."""
    orders = (predicted, dice, torch.zeros_like(dice))
    return {name: area_under_risk(order, dice) for name, order in zip(ORDERS, orders, strict=True)}


def area_under_risk(confidence: Float[Tensor, " N"], dice: Float[Tensor, " N"]) -> float:
    """Mean over all coverages of the risk, the mean of 1 - Dice over the most confident masks.

    Masks of equal confidence are accepted in random order: the expected area is returned.

    Source:
        Geifman et al., Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers, ICLR 2019.
    """
    levels, group = confidence.unique(return_inverse=True)
    sums, counts = (
        torch.zeros(len(levels), dtype=torch.float64).index_add(0, group, each.double())
        for each in (1 - dice, torch.ones_like(dice))
    )
    losses = (sums / counts)[group][confidence.argsort(descending=True)]
    return (losses.cumsum(0) / torch.arange(1, len(losses) + 1)).mean().item()


def quality_of(weights: Path) -> QualityModel:
    """Read from a weights file the model that predicts Dice from expected precision and recall.

    Raises:
        ValueError: If the file holds none.
    """
    quality = Calibration.of(read_metadata(weights)).quality
    if quality is None:
        msg = (
            f"{weights} predicts no Dice: expected a calibration with a quality model, got none. "
            "Run `incontext calibrate` on it."
        )
        raise ValueError(msg)
    return quality
