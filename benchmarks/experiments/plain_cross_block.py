"""The plain definition of the published cross-block network: the yardstick of the benchmarks and of the tests.

Every query map is copied S-fold and concatenated with each support map, as the paper draws it; parameters are named as
in the released weights. Nothing here is shared with `incontext`.

Source:
    Butoi, Gonzalez Ortiz et al., UniverSeg, ICCV 2023, section 3.2.
"""

from collections import OrderedDict
from collections.abc import Callable

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional as F


class PlainCrossBlock(nn.Module):
    """z_i = conv([u, v_i]), u' = φ(conv(mean_i z_i)), v_i' = φ(conv(z_i))."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.cross = _named("cross_conv", nn.Conv2d(in_channels, out_channels, 3, padding=1))
        self.target = _named("vmapped", _named("conv", nn.Conv2d(out_channels, out_channels, 3, padding=1)))
        self.support = _named("vmapped", _named("conv", nn.Conv2d(out_channels, out_channels, 3, padding=1)))

    def forward(self, target: Tensor, support: Tensor) -> tuple[Tensor, Tensor]:
        """Map target (B, 1, C, H, W) and support (B, S, C, H, W) to the same with other channels."""
        copies = repeat(target, "B 1 C H W -> B S C H W", S=support.shape[1])
        interaction = _per_map(self.cross, torch.cat([copies, support], dim=2))
        target = _per_map(self.target, interaction.mean(dim=1, keepdim=True))
        support = _per_map(self.support, interaction)
        return F.leaky_relu(target, 0.01), F.leaky_relu(support, 0.01)


class PlainCrossBlockNet(nn.Module):
    """Encoder–decoder of plain cross-blocks; the sides of the images must be divisible by 2^(levels − 1)."""

    def __init__(self, encoder_channels: tuple[int, ...], decoder_channels: tuple[int, ...]) -> None:
        super().__init__()
        encoder_inputs = [3, *(2 * channels for channels in encoder_channels[:-1])]
        below = [encoder_channels[-1], *decoder_channels[:-1]]
        decoder_inputs = [2 * (up + skip) for up, skip in zip(below, encoder_channels[-2::-1], strict=True)]
        self.enc_blocks = nn.ModuleList(map(PlainCrossBlock, encoder_inputs, encoder_channels))
        self.dec_blocks = nn.ModuleList(map(PlainCrossBlock, decoder_inputs, decoder_channels))
        self.out_conv = _named("conv", nn.Conv2d(decoder_channels[-1], 1, 1))

    def forward(self, query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
        """Return logits (B, 1, H, W)."""
        target = query_images[:, None]
        support = torch.cat([support_images, support_labels], dim=2)
        skips: list[tuple[Tensor, Tensor]] = []
        for block in self.enc_blocks[:-1]:
            target, support = block(target, support)
            skips.append((target, support))
            target, support = (_per_map(nn.MaxPool2d(2), maps) for maps in (target, support))
        target, support = self.enc_blocks[-1](target, support)
        for block in self.dec_blocks:
            pairs = zip((target, support), skips.pop(), strict=True)
            target, support = block(*(torch.cat([_per_map(_upsample, low), skip], dim=2) for low, skip in pairs))
        return self.out_conv(target[:, 0])


def _named(name: str, module: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict({name: module}))


def _per_map(function: Callable[[Tensor], Tensor], maps: Tensor) -> Tensor:
    """Apply an image function to each of the maps (B, S, C, H, W)."""
    out = function(rearrange(maps, "B S C H W -> (B S) C H W"))
    return rearrange(out, "(B S) C H W -> B S C H W", B=maps.shape[0])


def _upsample(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=True)
