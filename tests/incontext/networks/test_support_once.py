"""Laws of the support-once network, on a small one with random weights."""

import pytest
import torch

from incontext.networks.support_code import ImageCodes
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet

SMALL = SupportOnceConfig(channels=(8, 8, 12, 16), heads=2, head_channels=8, fitted_channels=4)
NO_FIT = {"fitted_channels": 0, "second_fit": False}
TOLERANCE = {"atol": 1e-5, "rtol": 1e-4}


@pytest.fixture(scope="module")
def network() -> SupportOnceNet:
    torch.manual_seed(0)
    return SupportOnceNet(SMALL).eval()


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def episode() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Query images (2, 1, 32, 48) with a support of 5."""
    return draw(2, 1, 32, 48), draw(2, 5, 1, 32, 48, seed=2), (draw(2, 5, 1, 32, 48, seed=3) > 0.6).float()


@torch.no_grad()
def test_one_logit_map_per_query_on_its_grid(network, episode):
    logits = network(*episode)
    assert logits.shape == episode[0].shape
    assert logits.std() > 0


@torch.no_grad()
def test_support_order_is_irrelevant(network, episode):
    queries, images, labels = episode
    order = [3, 0, 4, 2, 1]
    torch.testing.assert_close(network(queries, images[:, order], labels[:, order]), network(*episode), **TOLERANCE)


@torch.no_grad()
def test_duplicating_the_whole_support_changes_nothing(network, episode):
    queries, images, labels = episode
    twice = network(queries, images.repeat(1, 2, 1, 1, 1), labels.repeat(1, 2, 1, 1, 1))
    torch.testing.assert_close(twice, network(*episode), **TOLERANCE)


@torch.no_grad()
def test_batched_equals_one_at_a_time(network, episode):
    queries, images, labels = episode
    alone = torch.cat([network(queries[i : i + 1], images[i : i + 1], labels[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(network(*episode), alone, **TOLERANCE)


@torch.no_grad()
def test_many_queries_with_one_code_equal_as_many_full_calls(network, episode):
    _, images, labels = episode
    queries = draw(6, 1, 32, 48, seed=4)
    together = network.segment(queries, network.encode_support(images, labels))
    full = network(queries, images.repeat_interleave(3, 0), labels.repeat_interleave(3, 0))
    torch.testing.assert_close(together, full, atol=1e-5, rtol=1e-5)


def test_supports_of_images_read_once_equal_as_many_full_calls(network, episode):
    query_images, images, labels = episode[0], episode[1].flatten(0, 1), episode[2].flatten(0, 1)
    parts = [network.encode_images(*pair) for pair in zip(images.split(2), labels.split(2), strict=True)]
    indices = torch.tensor([[3, 0, 1], [2, 3, 4]])
    found = network.segment(query_images, ImageCodes.joined(parts).select(indices).pooled())
    torch.testing.assert_close(found, network(query_images, images[indices], labels[indices]), rtol=0, atol=1e-5)


def test_leave_one_out_equals_separate_calls_with_gradients(network, episode):
    _, images, labels = episode
    weight = network.encoder[0].enter[0].weight
    together = network.leave_one_out(images, labels)
    others = [[j for j in range(5) if j != i] for i in range(5)]
    apart = torch.stack([network(images[:, i], images[:, o], labels[:, o]) for i, o in enumerate(others)], 1)
    torch.testing.assert_close(together, apart, **TOLERANCE)
    gradients = [torch.autograd.grad(logits.square().mean(), weight)[0] for logits in (together, apart)]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-3)


@torch.no_grad()
def test_some_queries_equal_those_of_all(network, episode):
    _, images, labels = episode
    some = network.leave_one_out(images, labels, queries=2)
    torch.testing.assert_close(some, network.leave_one_out(images, labels)[:, :2], **TOLERANCE)


def test_a_set_that_leaves_nothing_is_refused(network, episode):
    _, images, labels = episode
    for count, queries in ((1, None), (5, 6), (5, 0)):
        with pytest.raises(ValueError, match="cannot be left out"):
            network.leave_one_out(images[:, :count], labels[:, :count], queries)


@torch.no_grad()
def test_the_labels_decide(network, episode):
    queries, images, labels = episode
    assert not torch.allclose(network(queries, images, labels), network(queries, images, 1 - labels), atol=1e-2)


def test_the_fused_attention_gets_contiguous_equal_heads(network, episode):
    _, images, labels = episode
    code = network.encode_support(images, labels)
    for keys, values in zip(code.keys, code.values, strict=True):
        assert keys.shape == values.shape
        assert keys.stride(-1) == 1


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ((1, 2, 1, 32, 32), (1, 3, 1, 32, 32), "support_labels do not match"),
        ((1, 0, 1, 32, 32), (1, 0, 1, 32, 32), "support_images are empty"),
        ((1, 2, 1, 30, 32), (1, 2, 1, 30, 32), "divisible by 16"),
    ],
)
def test_unusable_support_is_refused(network, images, labels, message):
    with pytest.raises(ValueError, match=message):
        network._check(torch.zeros(images), torch.zeros(labels))  # behind the shape annotations that tests enforce


def test_queries_that_do_not_fit_the_code_are_refused(network, episode):
    code = network.encode_support(*episode[1:])
    with pytest.raises(ValueError, match="multiple of 2 images"):
        network.segment(torch.zeros(3, 1, 32, 48), code)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"head_channels": 7}, "head_channels"),
        ({"stem_px": 3}, "stem_px"),
        ({"attend_from_px": 4}, "attend_from_px"),
        ({"support_pool": 3}, "support_pool"),
        ({"fitted_channels": 0}, "second_fit"),
        ({"channels": (8, 8)}, "too few stages"),
        ({"channels": (8, 8, 10)}, "groups"),
    ],
)
def test_contradictory_configs_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        SupportOnceConfig(**changed)


@pytest.mark.parametrize(
    "changed",
    [{"stem_px": 1}, {"stem_px": 4}, {"attend_from_px": 16}, {"positions": False}, {"support_pool": 1}, NO_FIT],
)
def test_other_plans_keep_the_grid(changed, episode):
    config = SupportOnceConfig(channels=(8, 8, 8, 8), heads=1, head_channels=8, **changed)
    assert SupportOnceNet(config)(*[t[..., :32] for t in episode]).shape == (2, 1, 32, 32)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@torch.no_grad()
def test_cuda_agrees_with_cpu(network, episode):
    expected = network(*episode)
    on_gpu = SupportOnceNet(SMALL).cuda().eval()
    on_gpu.load_state_dict(network.state_dict())
    torch.testing.assert_close(on_gpu(*[t.cuda() for t in episode]).cpu(), expected, atol=1e-3, rtol=1e-3)
