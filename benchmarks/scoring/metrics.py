"""Agreement of masks with labels per image, in batches on one device, under one empty-mask policy.

Every value is the same to the bit for any batch: counts are integers, and means are taken in fixed point.

Contours are those of MONAI: the foreground pixels of which one of the four neighbours is background, outside the image
included. Distances run between pixel centres, from each pixel of either contour to the nearest of the other.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from benchmarks.scoring.calibration_metrics import brier
from incontext.networks.distance import distances_at
from incontext.networks.measures import BINS, calibration_error, dice_of_areas, exact_mean

TOLERANCES = (1, 2)
"""Largest distances, in the unit of the spacing, at which a normalised surface distance counts contours as one."""

ROUNDING = 1 + 1e-5
"""Slack on a tolerance, so that a distance equal to it counts whatever the spacing."""


@dataclass(frozen=True)
class Metric:
    """Meaning and unit of a column of results."""

    meaning: str
    perfect: float
    """Value of a perfect prediction; the farther a value from it, the worse."""
    unit: str = ""
    """Unit of the values: empty for ratios; `length` is in millimetres where the spacing is known, else in pixels."""


METRICS: dict[str, Metric] = {
    "dice": Metric("twice the overlap over the sum of both areas", 1.0),
    "iou": Metric("overlap over union", 1.0),
    "sensitivity": Metric("share of the label that the mask covers", 1.0),
    "precision": Metric("share of the mask that lies in the label", 1.0),
    "area_error": Metric("difference of the areas, mask minus label, over their mean", 0.0),
    "hd": Metric("Hausdorff distance: the largest distance between the contours", 0.0, "length"),
    "hd95": Metric("the larger of the two directed distances' 95th percentiles", 0.0, "length"),
    "assd": Metric("mean distance over the pixels of both contours", 0.0, "length"),
    **{
        f"nsd_{tolerance}": Metric(f"share of both contours within {tolerance} of each other", 1.0)
        for tolerance in TOLERANCES
    },
    "ece": Metric(f"distance of probability from frequency, mean over {BINS} bins of pixels", 0.0),
    "brier": Metric("mean squared error of the probabilities", 0.0),
}
"""Metrics that `measure` returns, by name, in the order of the columns of results."""


@dataclass(frozen=True)
class Emptiness:
    """Policy for empty masks and labels.

    If mask and label are both empty they agree perfectly. If one is, they disagree as much as two masks can:
    similarities are 0, and distances are the image's diagonal, as in the BraTS challenges. MONAI says NaN or infinity:
    a mean over images leaves out the one, so that predicting nothing would pay, and drowns in the other.
    """

    one: Bool[Tensor, " B"]
    """Exactly one of mask and label is empty."""
    both: Bool[Tensor, " B"]
    """Mask and label are both empty."""

    @classmethod
    def of(cls, mask_px: Int[Tensor, " B"], label_px: Int[Tensor, " B"]) -> "Emptiness":
        """Find from areas which masks and labels are empty."""
        return cls((mask_px == 0) ^ (label_px == 0), (mask_px == 0) & (label_px == 0))

    def similarity(self, values: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Complete similarities in [0, 1] by the policy, where they are undefined: 1 if both are empty, 0 if one is."""
        return torch.where(self.both, 1.0, torch.where(self.one, 0.0, values))

    def distance(self, values: Float[Tensor, " B"], diagonals: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Complete distances by the policy, where they are undefined: 0 if both are empty, the diagonal if one is."""
        return torch.where(self.both, 0.0, torch.where(self.one, diagonals, values))


def measure(
    masks: Bool[Tensor, "B 1 H W"],
    labels: Bool[Tensor, "B 1 H W"],
    probabilities: Float[Tensor, "B 1 H W"],
    spacing_mm: Float[Tensor, "B 2"] | None = None,
    known: Bool[Tensor, "B 1 H W"] | None = None,
) -> dict[str, Float[Tensor, " B"]]:
    """Compute all metrics of `METRICS`, one value per image.

    Args:
        masks: Masks to score.
        labels: Labels to score the masks against.
        probabilities: Probabilities of foreground, in [0, 1].
        spacing_mm: Size of each image's pixels along H and W; if None, lengths are in pixels.
        known: Pixels that somebody judged; by default all. The others are taken out of masks and labels alike, whose
            contours then run along them.
    """
    if known is not None:
        masks, labels = masks & known, labels & known
    return {
        **overlap_measures(masks, labels),
        **contour_measures(masks, labels, spacing_mm),
        "ece": calibration_error(probabilities, labels, known=known),
        "brier": brier(probabilities, labels, known),
    }


def areas_px(masks: Bool[Tensor, "B 1 H W"]) -> Int[Tensor, " B"]:
    """Number of foreground pixels per image."""
    return masks.sum(dim=(1, 2, 3))


def overlap_measures(masks: Bool[Tensor, "B 1 H W"], labels: Bool[Tensor, "B 1 H W"]) -> dict[str, Float[Tensor, " B"]]:
    """Metrics that follow from the areas of masks, labels and overlaps alone.

    The area error is SimpleITK's volume similarity: relative to the mean of both areas rather than to the label's, it
    exists for an empty label, and lies in [-2, 2].
    """
    mask_px, label_px, shared_px = areas_px(masks), areas_px(labels), areas_px(masks & labels)
    settle = Emptiness.of(mask_px, label_px).similarity
    total_px = mask_px + label_px
    return {
        "dice": dice_of_areas(shared_px, total_px),
        "iou": settle(shared_px / (total_px - shared_px)),
        "sensitivity": settle(shared_px / label_px),
        "precision": settle(shared_px / mask_px),
        "area_error": 2 * (mask_px - label_px) / total_px.clamp(min=1),
    }


def contour_measures(
    masks: Bool[Tensor, "B 1 H W"], labels: Bool[Tensor, "B 1 H W"], spacing_mm: Float[Tensor, "B 2"] | None = None
) -> dict[str, Float[Tensor, " B"]]:
    """Metrics that follow from the distances between the contours."""
    if spacing_mm is None:
        spacing_mm = torch.ones(len(masks), 2, device=masks.device)
    diagonals = (spacing_mm * spacing_mm.new_tensor(masks.shape[2:])).square().sum(dim=1).sqrt()
    empty = Emptiness.of(areas_px(masks), areas_px(labels))
    ours, theirs = contours(masks), contours(labels)
    directed = [_sorted_distances(ours, theirs, spacing_mm), _sorted_distances(theirs, ours, spacing_mm)]
    everywhere = torch.cat(directed, dim=1)
    contour_px = everywhere.isfinite().sum(dim=1)
    relative = (everywhere / diagonals.unsqueeze(1)).nan_to_num(nan=0, posinf=0)
    lengths = {
        "hd": torch.maximum(*(_percentiles(distances, 1.0) for distances in directed)),
        "hd95": torch.maximum(*(_percentiles(distances, 0.95) for distances in directed)),
        "assd": exact_mean(relative, contour_px) * diagonals,
    }
    shares = {
        f"nsd_{tolerance}": (everywhere <= tolerance * ROUNDING).sum(dim=1) / contour_px for tolerance in TOLERANCES
    }
    return {
        **{name: empty.distance(values, diagonals) for name, values in lengths.items()},
        **{name: empty.similarity(values) for name, values in shares.items()},
    }


def contours(masks: Bool[Tensor, "B 1 H W"]) -> Bool[Tensor, "B 1 H W"]:
    """Contours of masks: foreground pixels with a background pixel among their four neighbours."""
    wide = pad(masks, (1, 1, 1, 1))
    return masks & ~(wide[..., :-2, 1:-1] & wide[..., 2:, 1:-1] & wide[..., 1:-1, :-2] & wide[..., 1:-1, 2:])


def _sorted_distances(
    start: Bool[Tensor, "B 1 H W"], goal: Bool[Tensor, "B 1 H W"], spacing_mm: Float[Tensor, "B 2"]
) -> Float[Tensor, "B K"]:
    """Distances from each pixel of one contour to the nearest of the other, ascending, with NaN after the last."""
    points = start.squeeze(1).nonzero()
    counts = areas_px(start)
    image = points[:, 0]
    first = counts.cumsum(dim=0) - counts
    distances = spacing_mm.new_full((len(start), max(1, int(counts.max()))), torch.nan)
    distances[image, torch.arange(len(points), device=points.device) - first[image]] = distances_at(
        points, goal.squeeze(1), spacing_mm
    )
    return distances.sort(dim=1).values


def _percentiles(distances: Float[Tensor, "B K"], share: float) -> Float[Tensor, " B"]:
    """Percentiles of ascending values, linearly interpolated, with NaN ignored; NaN for an image without values."""
    positions = share * (~distances.isnan()).sum(dim=1, keepdim=True).sub(1).clamp(min=0)
    low, high = (distances.gather(1, each.long()) for each in (positions.floor(), positions.ceil()))
    return (low + (high - low) * (positions - positions.floor())).squeeze(1)
