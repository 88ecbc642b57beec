"""Probabilities that mean what they say: one temperature, fitted on tasks that the network did not learn from."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from incontext.episodes import DevTask

LOG_RANGE = (-4.6, 4.6)
"""Where the logarithm of a temperature is sought: from 1/100 to 100."""
HALVINGS = 24
"""They leave less than a millionth of the range."""


@torch.inference_mode()
def calibrate(network: nn.Module, tasks: Sequence[DevTask]) -> dict[str, Any]:
    """Fit a temperature to the pixels of all queries of some tasks, and measure what it mends.

    Args:
        network: One that offers `encode_support` and `segment`.
        tasks: Tasks that the network did not learn from; each weighs as many pixels as it has in its queries.

    Returns:
        `temperature`, the calibration error before and after (`ece_before`, `ece_after`), and the `datasets`.

    Raises:
        ValueError: If there are no tasks.
    """
    if not tasks:
        msg = "tasks are missing: expected a dataset of the role dev, got none. Calibrate on a collection that has one."
        raise ValueError(msg)
    logits = torch.cat([_logits(network, task).flatten() for task in tasks])
    labels = torch.cat([task.query_labels.flatten() for task in tasks])
    temperature = fit_temperature(logits, labels)
    return {
        "temperature": round(temperature, 4),
        "ece_before": round(expected_calibration_error(logits.sigmoid(), labels), 5),
        "ece_after": round(expected_calibration_error((logits / temperature).sigmoid(), labels), 5),
        "datasets": sorted({task.dataset for task in tasks}),
    }


def fit_temperature(logits: Float[Tensor, " N"], labels: Float[Tensor, " N"]) -> float:
    """The number by which to divide logits so that their binary cross-entropy is least.

    Cross-entropy is convex in 1 / temperature, so its slope changes sign once, which bisection finds.

    Args:
        logits: Of any pixels.
        labels: In {0, 1}.

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


def expected_calibration_error(
    probabilities: Float[Tensor, " N"], labels: Float[Tensor, " N"], bins: int = 15
) -> float:
    """Mean distance of the foreground's probability from its frequency, over bins of equal width.

    Every bin weighs as many pixels as fall into it; empty ones weigh nothing.

    Args:
        probabilities: Of foreground, in [0, 1].
        labels: In {0, 1}.
        bins: How many.
    """
    places = (probabilities * bins).long().clamp(max=bins - 1)
    excess = torch.bincount(places, (probabilities - labels).double(), minlength=bins)
    return float(excess.abs().sum() / len(labels))


def _logits(network: nn.Module, task: DevTask) -> Tensor:
    device = next(network.parameters()).device
    support = task.support_images.to(device), task.support_labels.to(device)
    code = network.encode_support(*support)  # type: ignore[operator]
    return network.segment(task.query_images.to(device), code).cpu()  # type: ignore[operator]
