"""Differences of networks, rounded to eight bits."""

import pytest
import torch
from torch import nn

from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from incontext.networks.weights_delta import WeightsDelta

SMALL = SupportOnceConfig(channels=(4, 8, 8, 8), heads=1, head_channels=8, groups=2, fitted_channels=4)


def changed(network: nn.Module, strength: float = 1e-3) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {name: strength * torch.randn_like(value) for name, value in network.named_parameters()}


@pytest.fixture
def network() -> SupportOnceNet:
    torch.manual_seed(0)
    return SupportOnceNet(SMALL)


def test_a_network_is_restored_to_less_than_a_step(network: SupportOnceNet) -> None:
    differences = changed(network)
    delta = WeightsDelta.of(differences)
    tuned = dict(delta.added_to(network).named_parameters())
    for name, before in network.named_parameters():
        off = (tuned[name] - before - differences[name]).abs().max()
        assert off <= differences[name].abs().max() / 127 * 0.5 + 1e-6, name
    assert {count.dtype for count in delta.counts.values()} == {torch.int8}


def test_the_network_itself_and_its_memory_layout_stay(network: SupportOnceNet) -> None:
    before = {name: value.clone() for name, value in network.named_parameters()}
    tuned = WeightsDelta.of(changed(network)).added_to(network)
    assert all(torch.equal(value, before[name]) for name, value in network.named_parameters())
    strides = {name: value.stride() for name, value in network.named_parameters()}
    assert {name: value.stride() for name, value in tuned.named_parameters()} == strides


def test_what_does_not_differ_takes_no_room(network: SupportOnceNet) -> None:
    differences = {name: torch.zeros_like(value) for name, value in network.named_parameters()}
    differences["head.bias"] = torch.ones_like(differences["head.bias"])
    assert WeightsDelta.of(differences).counts.keys() == {"head.bias"}


def test_through_a_file_and_back(network: SupportOnceNet) -> None:
    delta = WeightsDelta.of(changed(network))
    again = WeightsDelta.read(delta.tensors()).added_to(network)
    for one, other in zip(delta.added_to(network).parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "damage",
    [
        lambda tensors: tensors.pop("lengths.head.bias"),
        lambda tensors: tensors.update({"lengths.head.bias": torch.full((4,), torch.nan)}),
        lambda tensors: tensors.update({"lengths.head.bias": torch.ones(3)}),
        lambda tensors: tensors.update({"counts.head.bias": torch.ones(4)}),
        lambda tensors: tensors.update({"head.bias": torch.ones(4)}),
    ],
)
def test_damaged_differences_are_refused(network: SupportOnceNet, damage) -> None:
    tensors = WeightsDelta.of(changed(network)).tensors()
    damage(tensors)
    with pytest.raises(ValueError, match="differences are damaged"):
        WeightsDelta.read(tensors)


def test_another_network_is_refused(network: SupportOnceNet) -> None:
    with pytest.raises(ValueError, match="do not fit the network"):
        WeightsDelta.of(changed(network)).added_to(nn.Linear(2, 2))
