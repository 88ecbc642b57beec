"""Laws of the cross-block network, and its equality with the plain definition."""

import pytest
import torch
from torch import Tensor

from benchmarks.experiments.plain_cross_block import PlainCrossBlockNet
from incontext.networks.cross_block import CrossBlockConfig, CrossBlockNet
from incontext.networks.universeg import to_official

PLAN = CrossBlockConfig(encoder_channels=(3, 4, 5), decoder_channels=(4, 3))


@pytest.fixture
def network() -> CrossBlockNet:
    torch.manual_seed(0)
    network = CrossBlockNet(PLAN)
    for name, values in network.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(values)
    return network.eval()


def episode(B: int = 2, S: int = 5, H: int = 8, W: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(B, 1 + 2 * S, 1, H, W, generator=generator)
    return images[:, 0], images[:, 1 : S + 1], images[:, S + 1 :].round()


def plain_twin(network: CrossBlockNet) -> PlainCrossBlockNet:
    plain = PlainCrossBlockNet(network.config.encoder_channels, network.config.decoder_channels)
    plain.load_state_dict(to_official(network.state_dict()))
    return plain


@pytest.mark.parametrize("plan", [PLAN, CrossBlockConfig((2, 3), (4,)), CrossBlockConfig((6, 2, 3, 4), (1, 2, 3))])
def test_equals_plain_definition(plan: CrossBlockConfig) -> None:
    torch.manual_seed(0)
    network = CrossBlockNet(plan)
    torch.testing.assert_close(network(*episode()), plain_twin(network)(*episode()))


def test_gradients_equal_those_of_the_plain_definition(network: CrossBlockNet) -> None:
    plain = plain_twin(network).double()
    network.double()
    inputs, plain_inputs = ([tensor.double().requires_grad_() for tensor in episode()] for _ in range(2))
    network(*inputs).square().sum().backward()
    plain(*plain_inputs).square().sum().backward()
    gradients = to_official({name: values.grad for name, values in network.named_parameters()})
    for name, values in plain.named_parameters():
        torch.testing.assert_close(gradients[name], values.grad)
    for ours, theirs in zip(inputs, plain_inputs, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_only_the_dead_support_branch_gets_no_gradient(network: CrossBlockNet) -> None:
    network(*episode()).sum().backward()
    dead = [name for name, values in network.named_parameters() if values.grad is None]
    assert dead == ["decoder.1.support.weight", "decoder.1.support.bias"]


@pytest.mark.parametrize("chunk_size", range(1, 7))
def test_chunk_size_does_not_matter(network: CrossBlockNet, chunk_size: int) -> None:
    expected = network(*episode())
    network.chunk_size = chunk_size
    with torch.no_grad():
        torch.testing.assert_close(network(*episode()), expected)


@torch.no_grad()
def test_support_order_does_not_matter(network: CrossBlockNet) -> None:
    query, images, labels = episode()
    order = [3, 0, 4, 2, 1]
    torch.testing.assert_close(network(query, images[:, order], labels[:, order]), network(query, images, labels))


@torch.no_grad()
def test_duplicating_the_support_changes_nothing(network: CrossBlockNet) -> None:
    query, images, labels = episode()
    twice = network(query, images.repeat(1, 2, 1, 1, 1), labels.repeat(1, 2, 1, 1, 1))
    torch.testing.assert_close(twice, network(query, images, labels))


@torch.no_grad()
def test_batched_equals_one_at_a_time(network: CrossBlockNet) -> None:
    inputs = episode(B=3)
    alone = [network(*(tensor[i : i + 1] for tensor in inputs)) for i in range(3)]
    torch.testing.assert_close(network(*inputs), torch.cat(alone))


@torch.no_grad()
def test_queries_of_one_support_equal_separate_calls(network: CrossBlockNet) -> None:
    _, images, labels = episode()
    queries = torch.rand(6, 1, 8, 16)
    together = network.segment(queries, network.encode_support(images, labels))
    apart = network(queries, images.repeat_interleave(3, 0), labels.repeat_interleave(3, 0))
    torch.testing.assert_close(together, apart)
    with pytest.raises(ValueError, match="multiple of 2 images"):
        network.segment(queries[:5], (images, labels))


@torch.no_grad()
def test_leave_one_out_equals_separate_calls(network: CrossBlockNet) -> None:
    _, images, labels = episode()
    together = network.leave_one_out(images, labels, queries=2)
    apart = [
        network(images[:, i], *(torch.cat([each[:, :i], each[:, i + 1 :]], 1) for each in (images, labels)))
        for i in range(2)
    ]
    torch.testing.assert_close(together, torch.stack(apart, dim=1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (9, 4), (13, 11)])
def test_any_size_and_one_support_image(network: CrossBlockNet, size: tuple[int, int]) -> None:
    logits = network(*episode(B=1, S=1, H=size[0], W=size[1]))
    assert logits.shape == (1, 1, *size)
    assert logits.isfinite().all()


def test_uses_the_support_labels(network: CrossBlockNet) -> None:
    query, images, labels = episode()
    assert not torch.allclose(network(query, images, labels), network(query, images, 1 - labels))


def test_default_plan_is_universeg_v1() -> None:
    assert sum(values.numel() for values in CrossBlockNet().parameters()) == 1_182_785


@pytest.mark.parametrize(
    ("encoder", "decoder", "message"),
    [
        ((4,), (), "at least two encoder blocks and one decoder block fewer, got 1 and 0"),
        ((4, 4, 4), (4,), "got 3 and 1"),
        ((4, 0), (4,), r"expected positive channels in every block, got \(4, 0\) and \(4,\)"),
    ],
)
def test_contradictory_plans_are_refused(encoder: tuple[int, ...], decoder: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CrossBlockConfig(encoder, decoder)


def test_inputs_that_do_not_fit_are_refused(network: CrossBlockNet) -> None:
    query, images, labels = episode(B=1, S=2, H=8, W=8)
    with pytest.raises(ValueError, match=r"query_images .* expected \(B, 1, H, W\), got \(1, 3, 8, 8\)"):
        network._check(query.expand(-1, 3, -1, -1), images, labels)
    with pytest.raises(ValueError, match=r"support_labels do not fit .*\(1, 2, 1, 8, 8\), got \(1, 1, 1, 8, 8\)"):
        network._check(query, images, labels[:, :1])
    with pytest.raises(ValueError, match="support_images are empty: expected S >= 1"):
        network(query, images[:, :0], labels[:, :0])
    with pytest.raises(ValueError, match=r"expected sides of at least 4, got \(8, 3\)"):
        network(query[..., :3], images[..., :3], labels[..., :3])
