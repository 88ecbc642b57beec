"""Whether uncertainty is high where people disagree: area under the curve, correlation, and which pixels are hard."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional as F

from benchmarks.scoring.metrics import contours


def disagreement(labels: Bool[Tensor, "A H W"]) -> Float[Tensor, "H W"]:
    """Variance of A people's labels at each pixel, in [0, 1]: 0 where all agree, 1 where half of them see the label."""
    share = labels.float().mean(0)
    return 4 * share * (1 - share)


def near_border(label: Bool[Tensor, "H W"], within_px: int) -> Bool[Tensor, "H W"]:
    """Pixels at most `within_px` pixels, diagonal steps included, from the border of a label, on either side."""
    edge = contours(label[None, None]).float()
    return F.max_pool2d(edge, 2 * within_px + 1, stride=1, padding=within_px)[0, 0] > 0


def area_under_curve(values: Float[np.ndarray, " N"], positive: Bool[np.ndarray, " N"]) -> float | None:
    """Probability that a positive has a larger value than a negative, ties counting half; None without one of both.

    Source:
        Mann and Whitney, Ann. Math. Stat. 1947: the area under the receiver operating characteristic.
    """
    count = int(positive.sum())
    others = len(positive) - count
    if not count or not others:
        return None
    ranks = rankdata(values)
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * others))


def correlation(some: Float[np.ndarray, " N"], others: Float[np.ndarray, " N"]) -> float | None:
    """Pearson's correlation; None if either is the same everywhere."""
    if len(some) < 2 or np.ptp(some) == 0 or np.ptp(others) == 0:
        return None
    return float(np.corrcoef(some, others)[0, 1])


def unsure_where_people_disagree(
    uncertainty: Float[Tensor, "H W"], labels: Bool[Tensor, "A H W"], counted: Bool[Tensor, "H W"]
) -> tuple[float | None, float | None]:
    """Area under the curve of uncertainty for pixels that people dispute, and its correlation with their variance.

    Args:
        uncertainty: Uncertainty of each pixel, on any scale.
        labels: Labels of A people.
        counted: Pixels that count.
    """
    unsure, variance = (each[counted].double().numpy(force=True) for each in (uncertainty, disagreement(labels)))
    return area_under_curve(unsure, variance > 0), correlation(unsure, variance)
