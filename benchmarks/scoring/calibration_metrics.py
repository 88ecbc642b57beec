"""Metrics of calibration and of candidate masks against several annotators, in batches on one device.

Every value is the same to the bit for any batch, as in `metrics`.
"""

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor

from incontext.networks.measures import dice_of_areas, exact_mean


def brier(
    probabilities: Float[Tensor, "B 1 H W"],
    labels: Bool[Tensor, "B 1 H W"],
    known: Bool[Tensor, "B 1 H W"] | None = None,
) -> Float[Tensor, " B"]:
    """Brier score: mean squared difference of the foreground's probability from the label, over all known pixels."""
    errors = (probabilities.float() - labels.float()).square().flatten(1)
    if known is None:
        return exact_mean(errors, errors.shape[1])
    return exact_mean(errors * known.flatten(1), known.flatten(1).sum(dim=1).clamp(min=1))


def measure_candidates(
    candidates: Bool[Tensor, "B K H W"], annotations: Bool[Tensor, "B A H W"]
) -> dict[str, Float[Tensor, " B"]]:
    """Agreement of K candidate masks with the labels of A annotators.

    Two empty masks agree perfectly, as everywhere. With K = 1 and A = 1, `best_dice` is Dice, `energy_distance` is
    2 (1 - IoU), and `area_crps_px` is the absolute difference of the areas.

    Returns:
        `best_dice`: the best candidate's Dice with an annotation, mean over annotations. It rises with K.
        `energy_distance`: squared generalised energy distance under 1 - IoU, in [0, 2]; a mask pairs with itself, too.
        `area_crps_px`: continuous ranked probability score of the candidates' areas as a forecast of an annotation's,
        mean over annotations, in pixels.

    Source:
        Kohl et al., A Probabilistic U-Net, NeurIPS 2018 (energy distance); Rakic et al., Tyche, CVPR 2024 (best of K);
        Gneiting and Raftery, Strictly Proper Scoring Rules, JASA 2007, eq. 21 (CRPS).
    """
    agreement, dice = _pairwise(candidates, annotations)
    within_candidates, within_annotations = (_pairwise(masks, masks)[0] for masks in (candidates, annotations))
    areas, true_areas = (masks.sum(dim=(2, 3)) for masks in (candidates, annotations))
    miss = _mean(areas.unsqueeze(2) - true_areas.unsqueeze(1))
    return {
        "best_dice": exact_mean(dice.amax(dim=1), dice.shape[2]),
        "energy_distance": _mean_agreement(within_candidates)
        + _mean_agreement(within_annotations)
        - 2 * _mean_agreement(agreement),
        "area_crps_px": miss - _mean(areas.unsqueeze(2) - areas.unsqueeze(1)) / 2,
    }


def _pairwise(
    some: Bool[Tensor, "B K H W"], others: Bool[Tensor, "B A H W"]
) -> tuple[Float[Tensor, "B K A"], Float[Tensor, "B K A"]]:
    """IoU and Dice of each pair; counts below 2²⁴ are exact in float32, in any order."""
    shared = einsum(some.float(), others.float(), "B K H W, B A H W -> B K A")
    total = some.sum(dim=(2, 3)).unsqueeze(2) + others.sum(dim=(2, 3)).unsqueeze(1)
    return torch.where(total == 0, 1.0, shared / (total - shared)), dice_of_areas(shared, total)


def _mean_agreement(pairs: Float[Tensor, "B K A"]) -> Float[Tensor, " B"]:
    return exact_mean(pairs.flatten(1), pairs[0].numel())


def _mean(differences: Int[Tensor, "B K A"]) -> Float[Tensor, " B"]:
    return differences.abs().sum(dim=(1, 2)) / differences[0].numel()
