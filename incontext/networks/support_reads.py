"""The two ways to read a support: attention to its tokens, and a classifier fitted to its pixels in closed form."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from incontext.networks.unknown import kinds, means

PATCH_PX = 8
"""Side of a label patch: it holds 8×8 values at every attended stage."""
POSITION_CHANNELS = 16
"""Sines and cosines of four octaves along either axis."""

P = ParamSpec("P")
R = TypeVar("R")


def _in_full_precision(method: Callable[P, R]) -> Callable[P, R]:
    """Let mixed precision stop here. Without it nothing is entered, of which a trace would make a graph of its own."""

    @functools.wraps(method)
    def full(*args: P.args, **kwargs: P.kwargs) -> R:
        if not torch.is_autocast_enabled("cuda"):
            return method(*args, **kwargs)
        with torch.autocast("cuda", enabled=False):
            return method(*args, **kwargs)

    return full


class TokenMatch(nn.Module):
    """Queries and keys of cosine attention, with a learned temperature per head.

    A key contains its token's position and label patch beside its features, so a head may prefer labelled or nearby
    tokens.

    Args:
        channels: Channels of a token's features.
        heads: Attention heads.
        head_channels: Channels of each head's queries and keys.
        positions: Whether queries and keys contain the position of their token.
    """

    def __init__(self, channels: int, heads: int, head_channels: int, positions: bool) -> None:
        super().__init__()
        self.heads = heads
        self.positions = positions
        known = channels + (POSITION_CHANNELS if positions else 0)
        self.query = nn.Conv2d(known, heads * head_channels, 1)
        self.key = nn.Conv2d(known + PATCH_PX**2, heads * head_channels, 1)
        self.log_temperature = nn.Parameter(torch.full((heads, 1, 1), 2.0))

    def queries(self, features: Tensor) -> Tensor:
        """Unit vectors times the temperature, (B, heads, T, head_channels), for features (B, C, h, w)."""
        queries = self._split(self.query(self._placed(features)))
        # Cosines reach 1, so the temperature bounds the logits of attention: at most e^4.5 = 90.
        return queries * self.log_temperature.clamp(max=4.5).exp()

    def keys(self, features: Tensor, patches: Tensor) -> Tensor:
        """Unit vectors (B, heads, T, head_channels) of labelled tokens."""
        return self._split(self.key(torch.cat([self._placed(features), patches], 1)))

    def _placed(self, features: Tensor) -> Tensor:
        return torch.cat([features, positions_like(features)], 1) if self.positions else features

    def _split(self, tokens: Tensor) -> Tensor:
        # Contiguous, since the fused attention of the CPU refuses anything else.
        tokens = rearrange(tokens, "B (heads C) h w -> B heads (h w) C", heads=self.heads).contiguous()
        return F.normalize(tokens, dim=-1)


class FittedRead(nn.Module):
    """A linear classifier of fine pixels, fitted to the support in closed form and applied to the query.

    Prototypes compare a pixel with means; a fit also takes the covariance of features into account, which separates
    thin structures from all that is nearly like them. A fit needs all digits, so mixed precision stops here.

    With `x_p` the inputs of pixel p (its projected features and a constant 1), `y_p` in [-1, 1] the labels of its parts
    and `a_kp` its share of kind k (foreground or background), the weights W minimise

        ½ Σ_k Σ_p a_kp |Wᵀx_p - y_p|² / Σ_p a_kp  +  λ |W|²,    hence    (G + λI) W = T

    with `G = ½ Σ_k Σ_p a_kp x_p x_pᵀ / Σ_p a_kp` and T likewise of `x_p y_pᵀ`: both kinds weigh the same, however rare
    the foreground is. λ is a learned multiple of the mean diagonal of G, so that the scale of features is irrelevant.
    G and T are sums over pixels, so images add up, and a support is fitted from the mean of its images' moments.

    Args:
        channels: Channels of the stage.
        fitted_channels: Channels that these are projected to before the fit.
        parts: Each pixel of the stage predicts the labels of its `parts` × `parts` parts.

    Source:
        Ridge regression as a layer: Bertinetto et al., Meta-learning with differentiable closed-form solvers, 2019.
    """

    MASS = 1e-4
    """Share of pixels below which a kind fades out of the fit instead of weighing as much as the other."""
    LEAST_RIDGE = 1e-12
    """Regularisation that is left where no pixel is known: all scores are 0 then."""

    def __init__(self, channels: int, fitted_channels: int, parts: int = 2) -> None:
        super().__init__()
        self.parts = parts
        self.project = nn.Conv2d(channels, fitted_channels, 1)
        self.log_ridge = nn.Parameter(torch.tensor(-4.0))

    @_in_full_precision
    def inputs(self, features: Tensor) -> Tensor:
        """The inputs `x_p` of each pixel: its projected features and a constant, (N, C + 1, h, w)."""
        projected = self.project(features.float())
        return torch.cat([projected, torch.ones_like(projected[:, :1])], 1)

    @_in_full_precision
    def moments(self, inputs: Tensor, labels: Tensor, known: Tensor | None = None) -> Tensor:
        """Sums `Σ_p a_kp x_p [x_p, y_p]ᵀ` over an image's foreground and over its background, divided by its pixels.

        Where labels are not known, pixels are of neither kind, and targets the mean of the pixel's other parts.

        Shapes: inputs (N, C + 1, h, w), labels (N, 1, H, W) -> (N, 2, C + 1, C + 1 + targets), targets = parts².
        """
        height, width = inputs.shape[-2:]
        targets = means(labels, known, (height * self.parts, width * self.parts), self.parts)
        pixels = inputs.flatten(2)
        both = torch.cat([pixels, 2 * F.pixel_unshuffle(targets, self.parts).flatten(2) - 1], 1)  # [x_p, y_p]
        weights = kinds(labels, known, (height, width)).flatten(2) / pixels.shape[-1]  # a_kp / pixels, (N, 2, pixels)
        return torch.einsum("nkp,ncp,ndp->nkcd", weights, pixels, both)

    @_in_full_precision
    def forward(self, inputs: Tensor, moments: Tensor) -> Tensor:
        """Scores (N, targets, h, w) near 1 in the foreground and -1 in the background, from pooled moments."""
        channels = inputs.shape[1]
        # The product of the constant with itself is Σ_p a_kp: the share of pixels that are of the kind, (N, 2, 1, 1).
        masses = moments[:, :, -1, channels - 1, None, None]
        balanced = (moments / (masses + self.MASS)).mean(1)  # [G, T]
        gram, target = balanced.split([channels, balanced.shape[-1] - channels], dim=-1)
        ridge = (self.log_ridge.exp() * gram.diagonal(dim1=-2, dim2=-1).mean(-1)).clamp(min=self.LEAST_RIDGE)
        identity = torch.eye(channels, device=gram.device)
        weights = torch.linalg.solve(gram + ridge[:, None, None] * identity, target)
        # Wᵀx_p, the queries of each of B support sets by its own weights: (B, Q, targets, pixels).
        scores = torch.einsum("bct,bqcp->bqtp", weights, inputs.flatten(2).unflatten(0, (weights.shape[0], -1)))
        return scores.flatten(0, 1).unflatten(-1, inputs.shape[-2:])


def label_patches(
    labels: Float[Tensor, "N 1 H W"], tokens: Float[Tensor, "N C h w"], known: Tensor | None = None
) -> Float[Tensor, "N patch h w"]:
    """The 8×8 label values under each token; each is a mean where a token covers more pixels than that.

    Where labels are not known, the mean of the rest of the token stands for them.
    """
    height, width = tokens.shape[-2:]
    return F.pixel_unshuffle(means(labels, known, (height * PATCH_PX, width * PATCH_PX), PATCH_PX), PATCH_PX)


def positions_like(features: Float[Tensor, "N C h w"]) -> Float[Tensor, "N position h w"]:
    """Sines and cosines of each token's position relative to the image's sides, four octaves along either axis."""
    octaves = torch.pi * 2.0 ** torch.arange(POSITION_CHANNELS // 4, device=features.device, dtype=features.dtype)

    def waves(count: int) -> Tensor:
        centres = (torch.arange(count, device=features.device, dtype=features.dtype) + 0.5) / count
        angles = octaves[:, None] * centres
        return torch.cat([angles.sin(), angles.cos()])

    height, width = features.shape[-2:]
    rows, columns = waves(height)[:, :, None], waves(width)[:, None, :]
    grid = torch.cat([rows.expand(-1, -1, width), columns.expand(-1, height, -1)])
    return grid.expand(features.shape[0], -1, -1, -1)
