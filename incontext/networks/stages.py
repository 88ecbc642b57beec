"""The convolutional stages that encoders and decoders are built from."""

from jaxtyping import Float
from torch import Tensor, nn


class ConvUnit(nn.Sequential):
    """A 3×3 convolution without bias, GroupNorm and SiLU, at one resolution."""

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.GroupNorm(groups, out_channels),
            nn.SiLU(),
        )


class Stage(nn.Module):
    """Two convolution units, the second one residual: the block that every stage of encoder and decoder consists of."""

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.enter = ConvUnit(in_channels, out_channels, groups)
        self.refine = ConvUnit(out_channels, out_channels, groups)

    def forward(self, features: Float[Tensor, "N C H W"]) -> Float[Tensor, "N out H W"]:
        """Mix and refine features at one resolution."""
        features = self.enter(features)
        return features + self.refine(features)
