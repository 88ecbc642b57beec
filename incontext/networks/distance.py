"""Exact Euclidean distances to the nearest of a set of pixels, for a batch of images on one device."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

CHUNK = 2**20
"""Sums formed at a time, four megabytes: more would not be faster."""


def distance_transform(
    features: Bool[Tensor, "B H W"], spacing: Float[Tensor, "B 2"] | None = None
) -> Float[Tensor, "B H W"]:
    """Distance from every pixel to the nearest feature in its image.

    Args:
        features: The pixels to measure to; their own distance is 0.
        spacing: Size of each image's pixels along H and W; 1 if not given.

    Returns:
        Lengths in the unit of the spacing; infinite where an image has no feature.

    Source:
        Felzenszwalb and Huttenlocher, Distance Transforms of Sampled Functions, Theory of Computing 2012: columns
        first, then the least sum of two squares along each row. That least is sought among all W sums, which takes
        more operations than their envelope of parabolas, but the same ones for every pixel.
    """
    lines, widths = _squares_along_columns(features, _spacing_or_1(features, spacing))
    offsets = _squared_offsets(features)
    rows_at_a_time = max(1, CHUNK // offsets.numel())
    squares = torch.cat([(rows.unsqueeze(1) + offsets).amin(dim=2) for rows in lines.split(rows_at_a_time)])
    return squares.view(features.shape).sqrt() * widths[:, None, None]


def distances_at(
    points: Int[Tensor, "P 3"], features: Bool[Tensor, "B H W"], spacing: Float[Tensor, "B 2"] | None = None
) -> Float[Tensor, " P"]:
    """Values of `distance_transform` at some points, equal to the bit, at W operations per point.

    Args:
        points: Indices of the image, the row and the column of each point, as `nonzero` lists them.
        features: The pixels to measure to; their own distance is 0.
        spacing: Size of each image's pixels along H and W; 1 if not given.

    Returns:
        Lengths in the unit of the spacing; infinite where the image has no feature.
    """
    lines, widths = _squares_along_columns(features, _spacing_or_1(features, spacing))
    offsets = _squared_offsets(features)
    image, row, column = points.unbind(dim=1)
    points_at_a_time = max(1, CHUNK // len(offsets))
    chunks = zip((image * features.shape[1] + row).split(points_at_a_time), column.split(points_at_a_time), strict=True)
    squares = torch.cat([(lines[line] + offsets[index]).amin(dim=1) for line, index in chunks])
    return squares.sqrt() * widths[image]


def _squares_along_columns(
    features: Bool[Tensor, "B H W"], spacing: Float[Tensor, "B 2"]
) -> tuple[Float[Tensor, "lines W"], Float[Tensor, " B"]]:
    """Squared distances to the nearest feature of the same column, as B·H lines, and the unit: each pixel's width.

    Every distance is a sum of distinct powers of two, so as many steps as that takes carry zero everywhere.
    """
    distances = torch.where(features, 0.0, torch.inf)
    step = 1
    while step < features.shape[1]:
        upper, lower = distances[:, :-step], distances[:, step:]
        torch.minimum(lower, upper + step, out=lower)
        torch.minimum(upper, lower + step, out=upper)
        step *= 2
    heights, widths = spacing.unbind(dim=1)
    return (distances * (heights / widths)[:, None, None]).square().flatten(0, 1), widths


def _squared_offsets(features: Bool[Tensor, "B H W"]) -> Float[Tensor, "W W"]:
    columns = torch.arange(features.shape[2], dtype=torch.float32, device=features.device)
    return (columns.unsqueeze(1) - columns).square()


def _spacing_or_1(features: Bool[Tensor, "B H W"], spacing: Float[Tensor, "B 2"] | None) -> Float[Tensor, "B 2"]:
    return torch.ones(len(features), 2, device=features.device) if spacing is None else spacing
