"""Probe of whether a network reads its support: Dice with the true support and with altered ones."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from incontext.networks.protocols import SupportNetwork
from incontext.training.episodes import DevTask
from incontext.training.losses import hard_dice

COST_OF_WRONG_LABELS = 0.20
"""Least loss of Dice by labels of another task: a network that loses less segments without reading its support."""
KEPT_BY_INVERSION = 0.75
"""Least share of Dice that is kept with foreground and background exchanged, once masks are exchanged back."""


@torch.inference_mode()
def probe(network: SupportNetwork, tasks: Sequence[DevTask]) -> dict[str, float]:
    """Measure Dice on some tasks with their true supports and with altered ones.

    Args:
        network: Network to probe, on its device.
        tasks: Tasks to segment; images of one size.

    Returns:
        For each kind of support the mean over datasets, of the mean over tasks, of the mean Dice of the queries:

        * `true`: the support as it is.
        * `blank`: black images with empty labels.
        * `shuffled`: every label with the next image of its support.
        * `wrong`: the labels of the next task, of another dataset if there are two; absent if there is one task.
        * `inverted`: foreground and background exchanged in the labels, of the queries too.
        * `restored`: the same masks exchanged back, with the labels as they are. A network that finds everything
          foreground scores high when inverted, for most of an image is background, and 0 here.

        Nothing if there are no tasks.

    Source:
        The experiments by which users of UniverSeg found retrained networks that ignore their support.
    """
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for index, task in enumerate(tasks):
        others = [*tasks[index + 1 :], *tasks[:index]]
        others.sort(key=lambda other: other.dataset == task.dataset)
        for kind, dice in _probe_task(network, task, others[:1]).items():
            scores[kind][task.dataset].append(dice.mean().item())
    return {kind: float(np.mean([np.mean(dice) for dice in found.values()])) for kind, found in scores.items()}


def objections(scores: Mapping[str, float]) -> list[str]:
    """Objections, from the scores of a probe, to a network's reading its support; none if it passes."""
    found = []
    if "wrong" in scores and (cost := scores["true"] - scores["wrong"]) < COST_OF_WRONG_LABELS:
        found.append(
            f"labels of another task cost too little: expected at least {100 * COST_OF_WRONG_LABELS:.0f} Dice, "
            f"got {100 * cost:.1f}."
        )
    if scores["restored"] < KEPT_BY_INVERSION * scores["true"]:
        found.append(
            f"inverted support labels do not invert the mask: expected at least "
            f"{100 * KEPT_BY_INVERSION * scores['true']:.1f} Dice once it is exchanged back, "
            f"got {100 * scores['restored']:.1f}."
        )
    return found


def _probe_task(network: SupportNetwork, task: DevTask, others: Sequence[DevTask]) -> dict[str, Tensor]:
    """Dice of each query, by kind of support; the labels of the first other task, if any, are the wrong ones."""
    device = next(network.parameters()).device
    queries, query_labels = task.query_images.to(device), task.query_labels.to(device)
    images, labels = task.support_images.to(device), task.support_labels.to(device)

    def segment(images: Tensor, labels: Tensor) -> Tensor:
        return network.segment(queries, network.encode_support(images, labels))

    inverted = segment(images, 1 - labels)
    dice = {
        "true": hard_dice(segment(images, labels), query_labels),
        "blank": hard_dice(segment(torch.zeros_like(images), torch.zeros_like(labels)), query_labels),
        "shuffled": hard_dice(segment(images, labels.roll(1, dims=1)), query_labels),
        "inverted": hard_dice(inverted, 1 - query_labels),
        "restored": hard_dice(-inverted, query_labels),
    }
    for other in others:
        cycled = torch.arange(labels.shape[1]) % other.support_labels.shape[1]
        dice["wrong"] = hard_dice(segment(images, other.support_labels[:, cycled].to(device)), query_labels)
    return dice
