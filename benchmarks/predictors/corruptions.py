"""Corruptions of images: noise, blur, uneven brightness, poor contrast, lossy storage, lost detail.

Each function takes images in [0, 1], a strength, and `names`: fingerprints of the images, which seed all that is
random.
"""

import math
from collections.abc import Callable

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from kornia.filters import gaussian_blur2d
from torch import Tensor
from torch.nn import functional as F

from benchmarks.predictors.chance import normal, uniform

Corruption = Callable[[Tensor, float, Tensor], Tensor]
"""Function from images (N, 1, H, W), a strength and fingerprints (N,) to images, whose range may exceed [0, 1]."""

BLOCK_PX = 8
QUANTISATION = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""Quantisation steps of JPEG's luminance coefficients at quality 50 (ITU-T T.81, table K.1)."""


def noise(images: Float[Tensor, "N 1 H W"], std: float, names: Int64[Tensor, " N"]) -> Float[Tensor, "N 1 H W"]:
    """Add Gaussian noise of a standard deviation in intensities."""
    return images + std * normal(names, images[0].numel()).view_as(images)


def blur(images: Float[Tensor, "N 1 H W"], std_px: float, names: Int64[Tensor, " N"]) -> Float[Tensor, "N 1 H W"]:
    """Blur images by a Gaussian of a standard deviation in pixels."""
    side_px = 2 * math.ceil(3 * std_px) + 1
    return gaussian_blur2d(images, (side_px, side_px), (std_px, std_px))


def bias(images: Float[Tensor, "N 1 H W"], share: float, names: Int64[Tensor, " N"]) -> Float[Tensor, "N 1 H W"]:
    """Multiply each image by a smooth field of its own, within 1 ± `share`, as a coil's sensitivity does."""
    rows, columns = (torch.linspace(-1, 1, side, device=images.device) for side in images.shape[-2:])
    waves = torch.stack(
        [
            rows[:, None].expand(len(rows), len(columns)),
            columns.expand(len(rows), len(columns)),
            rows[:, None] * columns,
        ]
    )
    weights = 2 * uniform(names, len(waves)) - 1
    weights = weights / weights.abs().sum(1, keepdim=True)
    return images * (1 + share * torch.einsum("nk,khw->nhw", weights, waves).unsqueeze(1))


def contrast(images: Float[Tensor, "N 1 H W"], share: float, names: Int64[Tensor, " N"]) -> Float[Tensor, "N 1 H W"]:
    """Reduce the contrast around each image's mean to a share of what it was."""
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + share * (images - mean)


def gamma(images: Float[Tensor, "N 1 H W"], exponent: float, names: Int64[Tensor, " N"]) -> Float[Tensor, "N 1 H W"]:
    """Raise each image's intensities to the power of the exponent or of its inverse, at random."""
    darker = uniform(names, 1) < 0.5
    return images ** torch.where(darker, exponent, 1 / exponent).view(-1, 1, 1, 1)


def jpeg(images: Float[Tensor, "N 1 H W"], quality: float, names: Int64[Tensor, " N"]) -> Float[Tensor, "N 1 H W"]:
    """Compress images as JPEG does at a quality of 1 to 100: quantise the cosine coefficients of blocks."""
    height, width = images.shape[-2:]
    padded = F.pad(255 * images - 128, (0, -width % BLOCK_PX, 0, -height % BLOCK_PX), mode="replicate")
    blocks = rearrange(padded, "N 1 (h a) (w b) -> N h w a b", a=BLOCK_PX, b=BLOCK_PX)
    scale = 50 / quality if quality < 50 else 2 - quality / 50
    steps = (scale * torch.tensor(QUANTISATION, device=images.device)).round().clamp(min=1)
    basis = cosines(BLOCK_PX).to(images.device)
    kept = (basis @ blocks @ basis.T / steps).round() * steps
    restored = rearrange(basis.T @ kept @ basis, "N h w a b -> N 1 (h a) (w b)")
    return (restored[..., :height, :width] + 128) / 255


def cosines(count: int) -> Float[Tensor, "count count"]:
    """Orthonormal matrix of the discrete cosine transform (DCT-II) of `count` values."""
    indices = torch.arange(count)
    waves = torch.cos(torch.pi / count * (indices + 0.5) * indices[:, None])
    return waves * torch.where(indices == 0, (1 / count) ** 0.5, (2 / count) ** 0.5)[:, None]


def coarse(images: Float[Tensor, "N 1 H W"], factor: float, names: Int64[Tensor, " N"]) -> Float[Tensor, "N 1 H W"]:
    """Shrink images by a factor along either side, and enlarge them again."""
    height, width = images.shape[-2:]
    small = F.interpolate(images, (round(height / factor), round(width / factor)), mode="area")
    return F.interpolate(small, (height, width), mode="bilinear")


CORRUPTIONS: dict[str, Corruption] = {
    "noise": noise,
    "blur": blur,
    "bias": bias,
    "contrast": contrast,
    "gamma": gamma,
    "jpeg": jpeg,
    "coarse": coarse,
}
"""Corruptions by the name that an alteration states."""
