"""Which networks and codes fit which protocol."""

import pytest
import torch
from torch import nn

from incontext.networks.cross_block import CrossBlockConfig, CrossBlockNet
from incontext.networks.protocols import (
    Backend,
    Codes,
    FeatureEncoder,
    LeaveOneOutNetwork,
    QueryReader,
    SelectableCodes,
    SupportEncoder,
    SupportNetwork,
)
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet

OF_BOTH = (QueryReader, SupportEncoder, SupportNetwork, LeaveOneOutNetwork)
OF_SUPPORT_ONCE = (Backend, FeatureEncoder)


def support_once() -> SupportOnceNet:
    return SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8))


@pytest.mark.parametrize("protocol", [*OF_BOTH, *OF_SUPPORT_ONCE])
def test_a_network_that_encodes_images_fits_every_protocol(protocol: type) -> None:
    assert isinstance(support_once(), protocol)


def test_a_network_that_needs_the_whole_support_is_no_backend() -> None:
    network = CrossBlockNet(CrossBlockConfig((2, 2), (2,)))
    assert all(isinstance(network, protocol) for protocol in OF_BOTH)
    assert not any(isinstance(network, protocol) for protocol in OF_SUPPORT_ONCE)


@pytest.mark.parametrize("protocol", [*OF_BOTH, *OF_SUPPORT_ONCE])
def test_a_network_that_is_only_called_fits_none(protocol: type) -> None:
    assert not isinstance(nn.Identity(), protocol)


@torch.no_grad()
def test_codes_of_images_are_codes_and_the_code_of_sets_is_not() -> None:
    images = torch.rand(2, 1, 16, 16)
    codes = support_once().encode_images(images, images.round())
    assert isinstance(codes, Codes)
    assert isinstance(codes, SelectableCodes)
    assert not isinstance(codes.pooled(), SelectableCodes)
