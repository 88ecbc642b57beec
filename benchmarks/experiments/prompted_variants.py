"""Variants of the prompted network, each without one of its parts, that the study of prompts compares with it.

A part that is left out computes nothing where that would take time; the weights of the stages that would read it stay,
and read zeros.
"""

import torch
from torch import Tensor

from incontext.networks.prompted import Begun, PromptedConfig, PromptedNet, Reading


class AttentionFreeNet(PromptedNet):
    """Prompted network in which no place reads from those that look like it."""

    def __init__(self, config: PromptedConfig | None = None) -> None:
        super().__init__(config)
        del self.query_key, self.log_temperature, self.value, self.mix

    def _shares(self, stage: Tensor) -> Tensor:
        return stage.new_zeros(len(stage), 0, 0, 0)

    def _alike(self, alike: Tensor, features: Tensor) -> Tensor:
        return features.new_zeros(())


class FinestOnlyNet(PromptedNet):
    """Prompted network whose coarser stages see neither prompts nor what is compared with them."""

    def _pooled(self, maps: Tensor, level: int, entering: Tensor) -> Tensor:
        pooled = super()._pooled(maps, level, entering)
        return torch.zeros_like(pooled) if level else pooled

    def _compared(self, matched: tuple[Tensor, ...], level: int, maps: Tensor, shown: Tensor) -> list[Tensor]:
        if level == 0 or level >= len(matched):
            return super()._compared(matched, level, maps, shown)
        return [torch.zeros_like(maps[:, :2])] * (1 + self.config.geodesic)


class LikenessFreeNet(PromptedNet):
    """Prompted network that does not compare pixels with those that were prompted; paths still lead along features."""

    def _compared(self, matched: tuple[Tensor, ...], level: int, maps: Tensor, shown: Tensor) -> list[Tensor]:
        found = super()._compared(matched, level, maps, shown)
        return [torch.zeros_like(found[0]), *found[1:]] if found else []


class BumpFreeNet(PromptedNet):
    """Prompted network without the bump of log-odds around every prompted pixel."""

    def __init__(self, config: PromptedConfig | None = None) -> None:
        super().__init__(config)
        for parameter in (self.bump, self.log_bump_px):
            parameter.requires_grad_(False)
        self.bump.zero_()


class ForgetfulNet(PromptedNet):
    """Prompted network that does not see the mask before the latest prompts, but that without any."""

    def correct(self, begun: Begun, maps: Tensor, previous: Tensor | None = None) -> Tensor:
        """Logits of the queries before prompted pixels are made to obey; `previous` is not read."""
        return super().correct(begun, maps)


class ImageOnlyNet(PromptedNet):
    """Prompted network that sees image and mask, and none of the other network's features."""

    def begin(self, reading: Reading) -> Begun:
        """Compute what does not depend on prompts."""
        stages = tuple(map(torch.zeros_like, reading.stages))
        return super().begin(reading._replace(stages=stages))._replace(reading=reading)


PROMPTED_VARIANTS: dict[str, type[PromptedNet]] = {
    "no attention": AttentionFreeNet,
    "finest stage only": FinestOnlyNet,
    "no likeness": LikenessFreeNet,
    "no bump": BumpFreeNet,
    "no previous mask": ForgetfulNet,
    "image alone": ImageOnlyNet,
}
"""Class of each variant, by its name."""
