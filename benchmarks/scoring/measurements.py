"""Masks, areas and metrics of logits, and marks on those that rounding may have decided."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from benchmarks.scoring.metrics import METRICS, areas_px, measure
from benchmarks.scoring.results import DECIMALS
from incontext.networks.measures import BINS

DOUBT = 2e-5
"""Largest difference of logits that rounding in another batch can explain."""
VALUE_DOUBT = 1e-7
"""Largest difference of means over an image's probabilities that rounding in another batch can explain."""


@dataclass(frozen=True)
class Measured:
    """Areas and metrics of the predictions of G ensembles; the last of several predictions is the ensemble's mean."""

    values: Float[Tensor, "G predictions columns"]
    """Area of the label and of the mask, in pixels, then the metrics in the order of `METRICS`."""
    unsure: Bool[Tensor, " G"]
    """Whether rounding may have decided some value of the ensemble."""
    masks: Bool[Tensor, "G draws H W"]
    """Masks of the single predictions, at probability 0.5."""

    @classmethod
    def of(
        cls,
        logits: Float[Tensor, "N 1 H W"],
        labels: Bool[Tensor, "N 1 H W"],
        draws: int,
        known: Bool[Tensor, "N 1 H W"] | None = None,
    ) -> "Measured":
        """Measure the masks of N = G·draws logits, on those pixels that are known of their labels."""
        if known is not None:
            # Of unknown pixels, which no measure counts, nobody shall doubt to which side they fall.
            logits = torch.where(known, logits, -torch.inf)
        grouped = logits.unflatten(0, (-1, draws))
        probabilities, masks, targets = grouped.sigmoid(), grouped >= 0, labels.unflatten(0, (-1, draws))
        judged = None if known is None else known.unflatten(0, (-1, draws))
        single_masks = masks.squeeze(2)
        if draws > 1:
            mean = probabilities.mean(dim=1, keepdim=True)
            probabilities, masks = torch.cat([probabilities, mean], 1), torch.cat([masks, mean >= 0.5], 1)
            targets = torch.cat([targets, targets[:, :1]], 1)
            judged = None if judged is None else torch.cat([judged, judged[:, :1]], 1)
        sets = masks.shape[:2]
        flat = masks.flatten(0, 1), targets.flatten(0, 1), probabilities.flatten(0, 1)
        measures = measure(*flat, known=None if judged is None else judged.flatten(0, 1))
        columns = [areas_px(flat[1]), areas_px(flat[0]), *(measures[name] for name in METRICS)]
        values = torch.stack([column.double() for column in columns], dim=1)
        unsure = (at_threshold(flat[2]) | at_rounding(measures)).unflatten(0, sets).any(dim=1)
        return cls(values.unflatten(0, sets), unsure, single_masks)

    def replaced(self, indices: list[int], others: "Measured") -> "Measured":
        """Replace the measurements of the ensembles at some indices."""
        values, masks = self.values.clone(), self.masks.clone()
        values[indices], masks[indices] = others.values, others.masks
        return Measured(values, self.unsure, masks)


def at_threshold(probabilities: Float[Tensor, "B 1 H W"]) -> Bool[Tensor, " B"]:
    """Whether some probability of an image is so near to 0.5, or to a calibration bin's edge, that rounding decides."""
    slack = DOUBT / 4  # the steepest slope of a sigmoid
    scaled = probabilities * BINS
    edges = scaled.round().clamp(1, BINS - 1)
    at_half = ((probabilities - 0.5).abs() < slack) & (probabilities != 0.5)
    return (at_half | ((scaled - edges).abs() < BINS * slack)).flatten(1).any(dim=1)


def at_rounding(measures: dict[str, Float[Tensor, " B"]]) -> Bool[Tensor, " B"]:
    """Whether some mean over an image's probabilities is so near to a rounding boundary that rounding decides."""
    scaled = [measures[name].double() * 10**decimals for name, decimals in DECIMALS.items()]
    near = [(value - value.floor() - 0.5).abs() for value in scaled]
    slacks = [VALUE_DOUBT * 10**decimals for decimals in DECIMALS.values()]
    return torch.stack([each < slack for each, slack in zip(near, slacks, strict=True)]).any(dim=0)
