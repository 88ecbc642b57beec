"""The variants are networks like those of the library, and differ from them where they say they do."""

import pytest
import torch
from torch import Tensor, nn

from benchmarks.experiments import network_variants
from benchmarks.experiments.network_variants import VARIANTS, NonlinearCrossBlock, install
from incontext.networks.cross_block import CrossBlockConfig, CrossBlockNet
from incontext.networks.families import FAMILIES
from incontext.networks.layers import CrossBlock, mean_over_support
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet

CONFIGS = {
    "support-once": SupportOnceConfig(channels=(8, 8, 12, 16), heads=2, head_channels=8, fitted_channels=4),
    "cross-block": CrossBlockConfig((4, 6, 6), (6, 4)),
}
PLAIN = {"support-once": SupportOnceNet, "cross-block": CrossBlockNet}


def build(name: str) -> tuple[nn.Module, nn.Module]:
    """A variant, and the network of its family with the same weights as far as it has them."""
    family, network = VARIANTS[name]
    torch.manual_seed(0)
    varied, plain = network(CONFIGS[family]).eval(), PLAIN[family](CONFIGS[family]).eval()  # type: ignore[call-arg]
    named = {key.replace("head.0.", "head."): value for key, value in varied.state_dict().items()}
    plain.load_state_dict({key: value for key, value in named.items() if key in plain.state_dict()})
    return varied, plain


def draw(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(2, count, 1, 32, 32, generator=generator)
    return images, (torch.rand(2, count, 1, 32, 32, generator=generator) > 0.6).float()


@pytest.mark.parametrize("name", VARIANTS)
def test_a_code_serves_as_a_full_call_does_and_leaving_one_out_as_many(name):
    network, _ = build(name)
    images, labels = draw(4)
    with torch.no_grad():
        full = network(images[:, 0], images[:, 1:], labels[:, 1:])
        coded = network.segment(images[:, 0], network.encode_support(images[:, 1:], labels[:, 1:]))  # type: ignore[operator]
        left_out = network.leave_one_out(images, labels, 2)[:, 0]  # type: ignore[operator]
    torch.testing.assert_close(coded, full, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(left_out, full, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(VARIANTS.keys() - {"fixed temperature", "deep supervision", "sparse reading"}))
def test_a_variant_computes_something_else(name):
    network, plain = build(name)
    images, labels = draw(4)
    with torch.no_grad():
        pair = [each(images[:, 0], images[:, 1:], labels[:, 1:]) for each in (network, plain)]
    assert (pair[0] - pair[1]).abs().max() > 1e-4


@pytest.mark.parametrize(("count", "same"), [(10_000, True), (2, False)])
def test_reading_all_tokens_sparsely_is_reading_them(count, same, monkeypatch):
    monkeypatch.setattr(network_variants, "READ_TOKENS", count)
    network, plain = build("sparse reading")
    images, labels = draw(4)
    with torch.no_grad():
        pair = [each(images[:, 0], images[:, 1:], labels[:, 1:]) for each in (network, plain)]
    assert torch.allclose(*pair, atol=1e-5) == same


def test_a_fixed_temperature_is_not_learned():
    network, _ = build("fixed temperature")
    warm = [parameter for name, parameter in network.named_parameters() if "temperature" in name]
    assert warm
    assert not any(parameter.requires_grad for parameter in warm)


def test_a_guess_stands_alone_in_training_only(monkeypatch):
    monkeypatch.setattr(network_variants, "SKIPPED_SHARE", 1.0)
    network, plain = build("deep supervision")
    images, labels = draw(3)
    with torch.no_grad():
        nn.init.zeros_(plain.head.weight), nn.init.zeros_(plain.head.bias)
        guess = plain.leave_one_out(images, labels)  # type: ignore[operator]
        assert not torch.allclose(network.leave_one_out(images, labels), guess)  # type: ignore[operator]
        torch.testing.assert_close(network.train().leave_one_out(images, labels), guess)  # type: ignore[operator]


def test_a_nonlinear_block_is_its_definition():
    torch.manual_seed(0)
    block = NonlinearCrossBlock(3, 4)
    query, supports = torch.rand(2, 3, 8, 8), [torch.rand(2, 3, 8, 8) for _ in range(3)]
    leaky = nn.LeakyReLU(0.01)
    crossed = [leaky(block.cross(torch.cat([query, support], 1))) for support in supports]
    found, chunks = block(query, mean_over_support(supports, 2), [torch.cat(supports[:2]), supports[2]])
    torch.testing.assert_close(found, leaky(block.query(torch.stack(crossed).mean(0))), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        torch.cat(list(chunks)), torch.cat([leaky(block.support(each)) for each in crossed]), atol=1e-5, rtol=1e-4
    )
    assert isinstance(block, CrossBlock)


def test_an_installed_variant_stands_for_its_family(monkeypatch):
    monkeypatch.setitem(FAMILIES, "support-once", FAMILIES["support-once"])
    install("sparse reading")
    assert FAMILIES["support-once"] == (SupportOnceConfig, network_variants.SparseReadNet)
