"""MultiverSeg and Tyche as networks of cross-blocks: what their released weights compute, on one support at a time.

Both take UniverSeg's encoder and decoder, and put a LeakyReLU between the cross-convolution and what follows it, so
that the mean over the support cannot move inside, as it does in `incontext.networks.cross_block`. MultiverSeg's query
has further channels for prompts, and its convolutions end in a normalisation. Tyche segments several candidates at
once, each drawn by noise of its own.

Source:
    Wong et al., MultiverSeg, ICCV 2025, and Rakic et al., Tyche, CVPR 2024; layers, order of channels and names of the
    parameters as in github.com/halleewong/MultiverSeg and github.com/mariannerakic/Tyche.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from incontext.networks.cross_block import halve, join
from incontext.networks.layers import SLOPE, conv2d

PROMPT_CHANNELS = 4
"""Channels of MultiverSeg's query beside the image: box, marks on and off the structure, and a mask to start from."""


class MultiverSegNet(nn.Module):
    """MultiverSeg's network, for queries without prompts.

    Args:
        channels: Channels of each encoder block, fine to coarse; the decoder's mirror them.
    """

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder, self.decoder = _stages(MultiverSegStage, channels, (1 + PROMPT_CHANNELS, 2))
        self.head = conv2d(channels[0], 1, size_px=1, slope=1.0)

    def forward(
        self,
        query_image: Float[Tensor, "1 1 H W"],
        support_images: Float[Tensor, "S 1 H W"],
        support_labels: Float[Tensor, "S 1 H W"],
    ) -> Float[Tensor, "1 1 H W"]:
        """Logits of one query."""
        query = F.pad(query_image, (0, 0, 0, 0, 0, PROMPT_CHANNELS))
        return self.head(_walk(self.encoder, self.decoder, query, support_images, support_labels))


class MultiverSegStage(nn.Module):
    """Cross-block whose convolutions end in a normalisation over all channels.

    Args:
        in_channels: Number of channels of the query's maps, and of those of each support image.
        channels: Number of channels of the next maps of both.
    """

    def __init__(self, in_channels: tuple[int, int], channels: int) -> None:
        super().__init__()
        self.cross = conv2d(sum(in_channels), channels)
        self.query = nn.Sequential(conv2d(channels, channels), nn.LeakyReLU(SLOPE), nn.GroupNorm(1, channels))
        self.support = nn.Sequential(conv2d(channels, channels), nn.LeakyReLU(SLOPE), nn.GroupNorm(1, channels))

    def forward(
        self, query: Float[Tensor, "1 C H W"], supports: Sequence[Tensor]
    ) -> tuple[Float[Tensor, "1 D H W"], list[Tensor]]:
        """Next maps of the query, and of every support image."""
        crossed = _crossed(self.cross, query, supports)
        return self.query(_mean(crossed)), [self.support(each) for each in crossed]


class TycheNet(nn.Module):
    """Tyche's network, the variant that was trained to draw candidates (Tyche-TS).

    Args:
        channels: Channels of each encoder block, fine to coarse; the decoder's mirror them.
    """

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder, self.decoder = _stages(TycheStage, channels, (2, 2))
        self.head = conv2d(channels[0], 1, size_px=1, slope=1.0)

    def forward(
        self,
        query_image: Float[Tensor, "1 1 H W"],
        noise: Float[Tensor, "K 1 H W"],
        support_images: Float[Tensor, "S 1 H W"],
        support_labels: Float[Tensor, "S 1 H W"],
    ) -> Float[Tensor, "K 1 H W"]:
        """Logits of K candidates of one query, each drawn by its own noise, which is normally distributed."""
        query = torch.cat([query_image.expand_as(noise), noise], dim=1)
        return self.head(_walk(self.encoder, self.decoder, query, support_images, support_labels))


class TycheStage(nn.Module):
    """Cross-block in which the mean of the candidates meets the support, and each candidate what comes of it.

    Args:
        in_channels: Number of channels of a candidate's maps, and of those of each support image.
        channels: Number of channels of the next maps of both.
    """

    def __init__(self, in_channels: tuple[int, int], channels: int) -> None:
        super().__init__()
        self.cross = conv2d(sum(in_channels), channels)
        self.candidate = nn.Sequential(conv2d(in_channels[0] + channels, channels), nn.LeakyReLU(SLOPE))
        self.query = nn.Sequential(conv2d(channels, channels), nn.LeakyReLU(SLOPE))
        self.support = nn.Sequential(conv2d(channels, channels), nn.LeakyReLU(SLOPE))

    def forward(
        self, candidates: Float[Tensor, "K C H W"], supports: Sequence[Tensor]
    ) -> tuple[Float[Tensor, "K D H W"], list[Tensor]]:
        """Next maps of the candidates, and of every support image."""
        crossed = _crossed(self.cross, candidates.mean(0, keepdim=True), supports)
        shared = repeat(_mean(crossed), "1 D H W -> K D H W", K=len(candidates))
        joined = self.candidate(torch.cat([candidates, shared], dim=1))
        return self.query(joined), [self.support(each) for each in crossed]


def _stages(
    stage: type[MultiverSegStage] | type[TycheStage], channels: tuple[int, ...], in_channels: tuple[int, int]
) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Stages of the encoder, which begins with images, and of the decoder, each of which is joined to a skip."""
    encoder = [stage(in_channels, channels[0])]
    encoder += [stage((before, before), after) for before, after in pairwise(channels)]
    decoder = [
        stage((below + skip, below + skip), skip) for below, skip in zip(channels[:0:-1], channels[-2::-1], strict=True)
    ]
    return nn.ModuleList(encoder), nn.ModuleList(decoder)


def _walk(
    encoder: nn.ModuleList, decoder: nn.ModuleList, query: Tensor, support_images: Tensor, support_labels: Tensor
) -> Tensor:
    """Maps of the query at full resolution, after it met its support at every scale, down and up."""
    supports = list(torch.cat([support_images, support_labels], dim=1).split(1))
    skips: list[tuple[Tensor, list[Tensor]]] = []
    for stage in encoder:
        if skips:
            query, supports = halve(query), list(map(halve, supports))
        query, supports = stage(query, supports)
        skips.append((query, supports))
    skips.pop()
    for stage in decoder:
        query_skip, support_skips = skips.pop()
        query, supports = stage(join(query, query_skip), list(map(join, supports, support_skips)))
    return query


def _crossed(cross: nn.Conv2d, query: Float[Tensor, "1 C H W"], supports: Sequence[Tensor]) -> list[Tensor]:
    """Convolve the query with each support image: conv([query, support]) as conv(query) + conv(support)."""
    of_query, of_support = cross.weight.split([query.shape[1], cross.in_channels - query.shape[1]], dim=1)
    shared = F.conv2d(query, of_query, cross.bias, padding=1)
    return [F.leaky_relu_(F.conv2d(each, of_support, padding=1) + shared, SLOPE) for each in supports]


def _mean(maps: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(maps)).mean(0)
