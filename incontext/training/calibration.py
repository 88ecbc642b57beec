"""Calibration of weights on tasks that they were not trained on: a temperature, and a model that predicts Dice.

Of all that was tried to predict Dice, the precision and recall that a mask's own probabilities make one expect go
nearly the whole way. Adding the agreement of masks from resampled supports, the Dice of the support's images by each
other, the Dice of these with the mask as their only support (reverse classification accuracy) or the ratio of areas
moves the correlation on other datasets by at most two hundredths, either way, at the price of one to eight more passes.

Source:
    Valindria et al., Reverse Classification Accuracy, IEEE TMI 2017.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from incontext.networks import unknown
from incontext.networks.checkpoint import load, write_calibration
from incontext.networks.devices import choose_device
from incontext.networks.measures import calibration_error
from incontext.networks.protocols import SupportNetwork
from incontext.networks.quality import QualityModel, expected_log_odds, soft_counts
from incontext.training.episodes import DevTask, dev_tasks
from incontext.training.losses import hard_dice
from megamed import Collection
from megamed.files import claimed_file

LOG_RANGE = (-4.6, 4.6)
"""Range of the logarithm of a temperature: from 1/100 to 100."""
HALVINGS = 24
"""Steps of the bisection, which narrow the range to less than a millionth of it."""
SUPPORT_SIZES = (1, 4, 16)
"""Support sizes of the masks that the quality model is fitted on; smaller where a task has fewer labelled images."""
RIDGE = 0.01
"""Penalty on the squares of the powers of a quality model."""
NEWTON_STEPS = 20
LEAST_DICE = 0.01
"""Least distance of true Dice from 0 and 1 in the fit, for no finite model predicts these."""
POOR_DICE = 0.6
"""Dice below which a mask is poor. Since predictions are right on average, the same number serves as the threshold
of the flag."""


@torch.inference_mode()
def calibrate(network: SupportNetwork, tasks: Sequence[DevTask]) -> dict[str, Any]:
    """Fit a temperature to the pixels of all queries of some tasks, measure what it improves, and fit a quality model.

    Args:
        network: Network to calibrate, on its device.
        tasks: Tasks that the network did not learn from; each weighs as many pixels as it has in its queries.

    Returns:
        `temperature`, the calibration error before and after (`ece_before`, `ece_after`), the `datasets`, and under
        `quality` the fields of a `QualityModel`.

    Raises:
        ValueError: If there are no tasks.
    """
    if not tasks:
        msg = "tasks are missing: expected a dataset of the role dev, got none. Calibrate on a collection that has one."
        raise ValueError(msg)
    by_size = [{size: logits_of(network, task, size) for size in _sizes(task)} for task in tasks]
    logits = torch.cat([found[max(found)].flatten() for found in by_size])
    labels = torch.cat([task.query_labels.flatten() for task in tasks])
    known = unknown.judged(labels)
    logits, labels = logits[known], labels[known]
    temperature = fit_temperature(logits, labels)

    def error_of(some: Tensor) -> float:
        return round(calibration_error(some.sigmoid()[None], labels[None]).item(), 5)

    judged = [
        judge(task, found[size] / temperature) for task, found in zip(tasks, by_size, strict=True) for size in found
    ]
    return {
        "temperature": round(temperature, 4),
        "ece_before": error_of(logits),
        "ece_after": error_of(logits / temperature),
        "datasets": sorted({task.dataset for task in tasks}),
        "quality": fit_quality(judged).model_dump(),
    }


def calibrate_checkpoint(path: Path, collection: Path, seed: int = 0, device: str | None = None) -> dict[str, Any]:
    """Calibrate a checkpoint on the `dev` datasets of a collection, and write the result into its file.

    Args:
        path: Checkpoint file.
        collection: Folder of a collection.
        seed: Seed of the choice of supports and queries.
        device: Device to compute on; by default a GPU if there is one.

    Returns:
        The result of `calibrate`.

    Raises:
        ValueError: If the collection has no `dev` dataset, or the file is no checkpoint.
        OSError: If a file cannot be read or written.
    """
    network = load(path, choose_device(device))
    with claimed_file(path, "calibrate", change=True):
        calibration = calibrate(network, dev_tasks(Collection(collection), seed))
        write_calibration(path, calibration)
    return calibration


def fit_temperature(logits: Float[Tensor, " N"], labels: Float[Tensor, " N"]) -> float:
    """Find the number to divide logits by that makes their binary cross-entropy least.

    Cross-entropy is convex in 1 / temperature, so its slope changes sign once, which bisection finds.

    Args:
        logits: Logits of any pixels.
        labels: Labels of the same pixels, in {0, 1}.

    Source:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    low, high = LOG_RANGE
    for _ in range(HALVINGS):
        log_temperature = (low + high) / 2
        residual = (logits * math.exp(-log_temperature)).sigmoid() - labels
        if torch.mean(residual * logits, dtype=torch.float64) > 0:  # overconfident: errors weigh more than certainty
            low = log_temperature
        else:
            high = log_temperature
    return math.exp((low + high) / 2)


def logits_of(network: SupportNetwork, task: DevTask, support_size: int | None = None) -> Float[Tensor, "N 1 H W"]:
    """Logits of a task's queries by the first of its labelled images, by default by all."""
    device = next(network.parameters()).device
    support = task.support_images[:, :support_size].to(device), task.support_labels[:, :support_size].to(device)
    return network.segment(task.query_images.to(device), network.encode_support(*support)).cpu()


@dataclass(frozen=True)
class Judged:
    """Masks of one task: the log-odds of their expected precision and recall, and their true Dice."""

    dataset: str
    log_odds: Float[Tensor, "N 2"]
    dice: Float[Tensor, " N"]


def judge(task: DevTask, logits: Float[Tensor, "N 1 H W"]) -> Judged:
    """Compare the masks that logits give of a task's queries with their labels.

    Args:
        task: The task, which holds the labels. Pixels that nobody judged count neither here nor there.
        logits: Logits of the task's queries, divided by the temperature.
    """
    dice = hard_dice(logits, task.query_labels)[:, 0]
    known = unknown.judged(task.query_labels)
    return Judged(task.dataset, expected_log_odds(soft_counts(logits.sigmoid() * known, (logits > 0) & known)), dice)


def fit_quality(judged: Sequence[Judged]) -> QualityModel:
    """Fit Dice to the expected precision and recall of masks, and measure the fit on other datasets.

    Datasets weigh the same, and so do the sets of masks of each. Reliability is measured by leaving one dataset out at
    a time, and hence not at all if there is but one.

    Args:
        judged: Masks of tasks that the network did not learn from.

    Returns:
        The model; `reliability` explains the figures in its `measured`.
    """
    datasets = {each.dataset for each in judged}
    model = _fit(judged)
    if len(datasets) < 2:
        return model
    others = {name: _fit([each for each in judged if each.dataset != name]) for name in datasets}
    predicted = [others[each.dataset].dice_from(each.log_odds) for each in judged]
    return model.model_copy(update={"measured": reliability(judged, predicted)})


def reliability(judged: Sequence[Judged], predicted: Sequence[Float[Tensor, " _"]]) -> dict[str, float | None]:
    """Reliability of predicted Dice.

    Args:
        judged: Masks, in sets.
        predicted: Predicted Dice of the masks of each set.

    Returns:
        The rank correlation (`spearman`) with true Dice over all masks, and its mean within sets (`spearman_within`);
        the mean absolute difference (`error`); of the masks with a Dice below 0.6 the share that is flagged (`caught`),
        of all masks the same (`flagged`), and of the flagged ones the share below 0.6 (`poor_if_flagged`); the number
        of `masks`. None for the mean of nothing.
    """
    dice, predicted_dice = torch.cat([each.dice for each in judged]), torch.cat(list(predicted))
    poor, flagged = dice < POOR_DICE, predicted_dice < POOR_DICE
    within = [spearman(some, each.dice) for some, each in zip(predicted, judged, strict=True)]
    measured = {
        "spearman": [spearman(predicted_dice, dice)],
        "spearman_within": within,
        "error": (predicted_dice - dice).abs().tolist(),
        "caught": flagged[poor].float().tolist(),
        "flagged": flagged.float().tolist(),
        "poor_if_flagged": poor[flagged].float().tolist(),
    }
    return {name: _mean(values) for name, values in measured.items()} | {"masks": len(dice)}


def spearman(first: Float[Tensor, " N"], second: Float[Tensor, " N"]) -> float | None:
    """Correlation of the ranks of two lists of values; equal ones share theirs. None if a list is constant."""
    if len(first) < 2 or (first == first[0]).all() or (second == second[0]).all():
        return None
    return float(torch.corrcoef(torch.stack([_ranks(first), _ranks(second)]))[0, 1])


def _ranks(values: Tensor) -> Tensor:
    _, indices, counts = values.unique(return_inverse=True, return_counts=True)
    return (counts.cumsum(0) - (counts - 1) / 2)[indices]


def _fit(judged: Sequence[Judged]) -> QualityModel:
    """Fractional logistic regression, by Newton's method: cross-entropy of Dice as if it were a probability.

    Source:
        Papke and Wooldridge, Econometric methods for fractional response variables, 1996.
    """
    sets = Counter(each.dataset for each in judged)
    inputs = torch.cat([F.pad(each.log_odds, (0, 1), value=1) for each in judged]).double()
    dice = torch.cat([each.dice for each in judged]).double().clamp(LEAST_DICE, 1 - LEAST_DICE)
    shares = [torch.full_like(each.dice, 1 / sets[each.dataset] / len(each.dice)) for each in judged]
    weights = torch.cat(shares).double()[:, None] / len(sets)
    penalty = RIDGE * torch.tensor([1.0, 1.0, 0.0]).double()
    powers = torch.zeros(3).double()
    for _ in range(NEWTON_STEPS):
        expected = (inputs @ powers).sigmoid()
        slope = (weights * inputs).T @ (expected - dice) + penalty * powers
        curvature = (weights * inputs).T @ ((expected * (1 - expected))[:, None] * inputs) + penalty.diag()
        powers -= torch.linalg.solve(curvature, slope)
    confidence, coverage, bias = (round(power, 4) for power in powers.tolist())
    return QualityModel(bias=bias, confidence=confidence, coverage=coverage, flag_below=POOR_DICE)


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of those values that are known."""
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known else None


def _sizes(task: DevTask) -> list[int]:
    return sorted({min(size, task.support_images.shape[1]) for size in SUPPORT_SIZES})
