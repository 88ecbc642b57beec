"""Laws of the cross-block's parts, each against its definition."""

import pytest
import torch
from torch import Tensor

from incontext.networks.layers import (
    CrossBlock,
    FirstCrossBlock,
    SupportMean,
    conv2d,
    conv_twice,
    mean_over_support,
    phi,
)


@pytest.mark.parametrize("size", [(7, 5), (3, 3), (2, 3), (1, 4), (1, 1)])
def test_conv_twice_is_two_convolutions(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    first, second = conv2d(3, 4), conv2d(4, 5)
    torch.nn.init.normal_(first.bias)
    torch.nn.init.normal_(second.bias)
    maps = torch.randn(2, 3, *size)
    torch.testing.assert_close(conv_twice(maps, first, second), second(first(maps)))


@pytest.mark.parametrize(("block", "channels"), [(CrossBlock(4, 5), (4, 4)), (FirstCrossBlock(5), (1, 2))])
def test_block_equals_convolution_of_concatenated_maps(block: torch.nn.Module, channels: tuple[int, int]) -> None:
    torch.manual_seed(0)
    query, supports = torch.randn(2, channels[0], 6, 7), torch.randn(3, 2, channels[1], 6, 7)
    interactions = [block.cross(torch.cat([query, support], dim=1)) for support in supports]
    expected_query = phi(block.query(torch.stack(interactions).mean(dim=0)))
    expected_supports = [phi(block.support(interaction)) for interaction in interactions]

    next_query, chunks = block(query, supports.mean(dim=0), [supports[:2].flatten(0, 1), supports[2]])
    torch.testing.assert_close(next_query, expected_query)
    torch.testing.assert_close(torch.cat(list(chunks)), torch.cat(expected_supports))


def test_support_maps_are_computed_when_asked_for() -> None:
    def chunks() -> Tensor:
        pytest.fail("read too early")
        yield

    CrossBlock(2, 2)(torch.ones(1, 2, 4, 4), torch.ones(1, 2, 4, 4), chunks())


def test_support_mean_by_hand() -> None:
    episodes = torch.tensor([1.0, 10.0, 2.0, 20.0, 6.0, 60.0]).reshape(6, 1, 1, 1)  # three supports of two episodes
    passing = SupportMean(batch_size=2)
    chunks = list(passing.watch(episodes.split(4)))
    assert torch.equal(torch.cat(chunks), episodes)
    assert passing.value().flatten().tolist() == [3, 30]
    assert mean_over_support(episodes.split(2), batch_size=2).flatten().tolist() == [3, 30]


def test_phi_works_in_place() -> None:
    maps = torch.tensor([-1.0, 0.0, 2.0])
    assert phi(maps) is maps
    assert torch.equal(maps, torch.tensor([-0.01, 0.0, 2.0]))


def test_initial_weights_keep_the_variance() -> None:
    torch.manual_seed(0)
    maps = torch.randn(1, 64, 16, 16)
    assert conv2d(64, 64, slope=1.0)(maps)[..., 1:-1, 1:-1].std().item() == pytest.approx(1, abs=0.15)
