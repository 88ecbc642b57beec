"""Network variants that the architecture study compares with the library's own; the library holds those that won."""

import math
from collections.abc import Iterable, Iterator
from typing import cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.experiments.prompted_variants import PROMPTED_VARIANTS
from incontext.networks.cross_block import CrossBlockConfig, CrossBlockNet
from incontext.networks.families import FAMILIES, Network
from incontext.networks.layers import CrossBlock, mean_over_support, phi
from incontext.networks.support_code import SupportCode
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from incontext.networks.support_reads import TokenMatch

READ_TOKENS = 32
TEMPERATURE = 10.0
SKIPPED_SHARE = 0.25


class SparseReadNet(SupportOnceNet):
    """Support-once network whose query tokens attend to the `READ_TOKENS` best matching support tokens alone."""

    def _attend(self, level: int, tokens: Tensor, code: SupportCode) -> Tensor:
        sets, (height, width) = len(code.mean_label), tokens.shape[-2:]
        match = cast(TokenMatch, self.matches[level])
        queries = rearrange(match.queries(tokens), "(B Q) heads T C -> B heads (Q T) C", B=sets)
        keys, values = code.keys[level], code.values[level]
        scores, indices = (queries @ keys.mT).topk(min(READ_TOKENS, keys.shape[2]), dim=-1)
        # Scattered back: a dense product with few non-zeros is faster than to gather that many values.
        weights = torch.zeros(*scores.shape[:-1], keys.shape[2], device=scores.device)
        weights = weights.scatter(-1, indices, scores.softmax(-1))
        return rearrange(weights @ values, "B heads (Q h w) C -> (B Q) (heads C) h w", h=height, w=width)


class SupportAttentionNet(SupportOnceNet):
    """Support-once network with self-attention among support tokens, at all but the finest attended stage."""

    def __init__(self, config: SupportOnceConfig | None = None) -> None:
        super().__init__(config)
        channels = self.config.head_channels
        self.talk = nn.ModuleList(nn.Linear(channels, channels) for _ in self.matches)
        self.warmth = nn.Parameter(torch.full((len(self.matches),), 2.0))

    def decode(self, features: list[Tensor], code: SupportCode) -> Tensor:
        """Logits from the queries' features, after supports have talked to each other."""
        values = list(code.values)
        for level, talk in enumerate(self.talk):
            if level:
                queries = code.keys[level] * self.warmth[level].exp()
                heard = F.scaled_dot_product_attention(queries, code.keys[level], values[level], scale=1.0)
                values[level] = values[level] + talk(heard)
        talked = SupportCode(code.keys, tuple(values), code.prototypes, code.moments, code.mean_label)
        return super().decode(features, talked)


class FixedTemperatureNet(SupportOnceNet):
    """Support-once network whose attention temperature is fixed instead of learned."""

    def __init__(self, config: SupportOnceConfig | None = None) -> None:
        super().__init__(config)
        for name, parameter in self.named_parameters():
            if name.endswith("log_temperature"):
                nn.init.constant_(parameter, math.log(TEMPERATURE)).requires_grad_(False)


class DeeplySupervisedNet(SupportOnceNet):
    """Support-once network trained to predict by its coarse stages alone for a share of the images."""

    def __init__(self, config: SupportOnceConfig | None = None) -> None:
        super().__init__(config)
        self.head = nn.Sequential(self.head, SkipSome())


class SkipSome(nn.Module):
    """Dropout of whole samples: in training, the maps of a random share of the samples become zeros."""

    def forward(self, maps: Tensor) -> Tensor:
        """Drop whole samples of maps (N, C, H, W)."""
        if not self.training:
            return maps
        return maps * (torch.rand(len(maps), 1, 1, 1, device=maps.device) >= SKIPPED_SHARE)


class NonlinearCrossBlock(CrossBlock):
    """Cross-block with z_i = φ(cross([u, v_i])), whose mean over the support cannot move inside the convolution."""

    def forward(self, query: Tensor, support_mean: Tensor, chunks: Iterable[Tensor]) -> tuple[Tensor, Iterator[Tensor]]:
        """Apply the block as `CrossBlock` does; the last block of a network, which is given no chunks, stays linear."""
        if not (chunks := list(chunks)):
            return super().forward(query, support_mean, chunks)
        query_weight, support_weight = self.cross.weight.chunk(2, dim=1)
        from_query = F.conv2d(query, query_weight, self.cross.bias, padding=1)
        crossed = []
        for chunk in chunks:
            maps = F.conv2d(chunk, support_weight, padding=1).unflatten(0, (-1, len(query))) + from_query
            crossed.append(phi(maps.flatten(0, 1)))
        next_query = phi(self.query(mean_over_support(crossed, len(query))))
        return next_query, (phi(self.support(maps)) for maps in crossed)


class NonlinearCrossBlockNet(CrossBlockNet):
    """A cross-block network whose cross-convolutions are non-linear, those of the first and the last block excepted."""

    def __init__(self, config: CrossBlockConfig | None = None, chunk_size: int = 4) -> None:
        super().__init__(config, chunk_size)
        for blocks in (self.encoder, self.decoder):
            for i, block in enumerate(blocks):
                if isinstance(block, CrossBlock):
                    blocks[i] = NonlinearCrossBlock(block.cross.in_channels // 2, block.cross.out_channels)


VARIANTS: dict[str, tuple[str, type[Network]]] = {
    "sparse reading": ("support-once", SparseReadNet),
    "support attention": ("support-once", SupportAttentionNet),
    "fixed temperature": ("support-once", FixedTemperatureNet),
    "deep supervision": ("support-once", DeeplySupervisedNet),
    "non-linear crossing": ("cross-block", NonlinearCrossBlockNet),
}
"""Family that each variant belongs to, and the class of its network, by the variant's name."""


def install(name: str) -> None:
    """Register a variant in place of its family's network, for the rest of this process."""
    known = VARIANTS | {prompted: ("prompted", network) for prompted, network in PROMPTED_VARIANTS.items()}
    family, network = known[name]
    FAMILIES[family] = FAMILIES[family][0], network
