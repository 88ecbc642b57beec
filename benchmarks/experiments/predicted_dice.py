"""The experiment on predicted Dice: does it put masks in the order of the Dice that they have?"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean

import torch

from benchmarks.experiments.bench import Bench, Coordinates, Findings, Point
from benchmarks.experiments.measuring import ranging, weights_of
from benchmarks.experiments.support_probe import tasks_with_one_support
from benchmarks.predictors import load_network
from incontext.networks.checkpoint import read_metadata
from incontext.networks.quality import QualityModel
from incontext.training.calibration import Judged, judge, logits_of, reliability
from megamed.files import sha256_of

Reliability = dict[str, float | None]

EVERY, WITHIN = "all masks", "within a task"


def predicted_dice(bench: Bench) -> Findings:
    """Rank correlation of predicted with true Dice, over all masks, within tasks and by dataset.

    Raises:
        ValueError: If the weights hold no model that predicts Dice.
    """
    weights = weights_of(bench)
    bench.claim({"weights": sha256_of(weights)})
    seeds = range(bench.settings.seed, bench.settings.seed + bench.settings.draws)
    found = [bench.kept(f"reliability-seed{seed}", partial(measured, bench, weights, seed)) for seed in seeds]
    points = [point_of(EVERY, "spearman", [each[EVERY] for each in found])]
    points += [point_of(WITHIN, "spearman_within", [each[EVERY] for each in found])]
    names = dict.fromkeys(name for each in found for name in each if name != EVERY)
    points += [point_of(name, "spearman", [each[name] for each in found if name in each]) for name in names]
    details = {"fingerprints": {"weights": sha256_of(weights)}, "quality": quality_of(weights).model_dump()}
    return Findings([point for point in points if point], details | {"reliability": found})


def point_of(name: str, measure: str, found: list[Reliability]) -> Point | None:
    """Point of a measure's mean over the draws, between its extremes; None if no draw knows it."""
    values = [value for each in found if (value := each[measure]) is not None]
    if not values:
        return None
    shares = {share: [value for each in found if (value := each[share]) is not None] for share in ("flagged", "caught")}
    told = ", ".join(f"{fmean(known):.0%} {share}" for share, known in shares.items() if known)
    return Point(Coordinates(name), ranging(values, fmean), about=told if measure == "spearman" else "")


@torch.inference_mode()
def measured(bench: Bench, weights: Path, seed: int) -> dict[str, Reliability]:
    """Reliability of predicted Dice over all masks and by dataset, for queries and supports drawn by a seed."""
    network, quality = load_network(weights, bench.execution.device), quality_of(weights)
    temperature = read_metadata(weights)["calibration"]["temperature"]
    groups: dict[str, list[Judged]] = {EVERY: []}
    for task in tasks_with_one_support(bench.collection.path, replace(bench.settings, seed=seed)):
        judged = judge(task, logits_of(network, task) / temperature)
        groups[EVERY].append(judged)
        groups.setdefault(task.dataset, []).append(judged)
    return {
        name: reliability(group, [quality.dice_from(each.log_odds) for each in group]) for name, group in groups.items()
    }


def quality_of(weights: Path) -> QualityModel:
    """Read from a weights file the model that predicts Dice from expected precision and recall.

    Raises:
        ValueError: If the file holds none.
    """
    quality = read_metadata(weights).get("calibration", {}).get("quality")
    if quality is None:
        msg = (
            f"{weights} predicts no Dice: expected a calibration with a quality model, got none. "
            "Run `incontext calibrate` on it."
        )
        raise ValueError(msg)
    return QualityModel(**quality)
