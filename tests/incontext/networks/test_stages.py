"""Laws of convolutional stages."""

import torch
from torch import nn

from incontext.networks.stages import ConvUnit, Stage


def features(count: int = 3, channels: int = 4) -> torch.Tensor:
    return torch.randn(count, channels, 6, 10, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_a_stage_keeps_the_grid_and_changes_the_channels() -> None:
    torch.manual_seed(0)
    assert Stage(4, 8, groups=2)(features()).shape == (3, 8, 6, 10)


@torch.no_grad()
def test_batched_is_one_at_a_time() -> None:
    torch.manual_seed(0)
    stage = Stage(4, 8, groups=2).eval()
    alone = torch.cat([stage(each[None]) for each in features()])
    torch.testing.assert_close(stage(features()), alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_second_unit_is_residual() -> None:
    """With nothing to add, features leave a stage as its first unit made them."""
    torch.manual_seed(0)
    stage = Stage(4, 8, groups=2)
    nn.init.zeros_(stage.refine[1].weight)
    nn.init.zeros_(stage.refine[1].bias)
    torch.testing.assert_close(stage(features()), stage.enter(features()))


@torch.no_grad()
def test_the_scale_of_features_is_irrelevant() -> None:
    """The convolution has no bias, so that normalisation takes the scale away again."""
    torch.manual_seed(0)
    unit = ConvUnit(4, 4, groups=1)
    torch.testing.assert_close(unit(7 * features()), unit(features()), atol=1e-4, rtol=1e-3)
