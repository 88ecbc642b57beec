"""Uncertainty by the laws of resampling."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from incontext.inference.uncertainty import binary_entropy, uncertainty
from incontext.networks.support_code import ImageCodes
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet


def new_network() -> SupportOnceNet:
    torch.manual_seed(0)
    return SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8, 8), heads=1, head_channels=8)).eval()


def encode(network: SupportOnceNet, count: int) -> ImageCodes:
    torch.manual_seed(1)
    return network.encode_images(torch.rand(count, 1, 32, 32), (torch.rand(count, 1, 32, 32) > 0.5).float())


class Recorder:
    """Answers with the mean label of its support, as a logit, and remembers how large the supports were."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def segment(self, query_images: Tensor, code: Tensor) -> Tensor:
        self.sizes.append(code.shape[1])
        return code.mean(1).logit().clamp(-200, 200).expand_as(query_images)


class Drawn:
    """Labels that pass for codes."""

    def __init__(self, labels: Tensor) -> None:
        self.labels = labels

    @classmethod
    def joined(cls, parts: Sequence["Drawn"]) -> "Drawn":
        return cls(torch.cat([part.labels for part in parts], dim=1))

    def select(self, indices: Tensor) -> "Drawn":
        return Drawn(self.labels[0, indices])

    def pooled(self) -> Tensor:
        return self.labels


def test_one_image_leaves_the_doubt_within_its_prediction() -> None:
    network = new_network()
    pool, queries = encode(network, 1), torch.rand(2, 1, 32, 32)
    expected = binary_entropy((network.segment(queries, pool.pooled()) / 2).sigmoid())
    torch.testing.assert_close(uncertainty(network, queries, pool, temperature=2.0), expected)


def test_the_seed_decides_and_queries_do_not_depend_on_each_other() -> None:
    network = new_network()
    pool, queries = encode(network, 5), torch.rand(3, 1, 32, 32)
    found = uncertainty(network, queries, pool, draws=4, seed=3)
    assert found.shape == queries.shape
    assert torch.equal(found, uncertainty(network, queries, pool, draws=4, seed=3))
    assert not torch.equal(found, uncertainty(network, queries, pool, draws=4, seed=4))
    torch.testing.assert_close(uncertainty(network, queries[1:2], pool, draws=4, seed=3), found[1:2])


def test_examples_that_agree_leave_no_doubt_and_those_that_do_not_do() -> None:
    # Left pixel: all of four examples say foreground. Right pixel: one of two does, so that about half of a support
    # does, and the mean over many supports is near a half.
    labels = torch.tensor([[1.0, 1], [1, 0], [1, 1], [1, 0]]).reshape(1, 4, 1, 1, 2)
    recorder = Recorder()
    left, right = uncertainty(recorder, torch.zeros(1, 1, 1, 2), Drawn(labels), draws=200).flatten().tolist()
    assert recorder.sizes == [4] * 200
    assert left == 0
    assert right > 0.99


def test_no_draws_are_an_error() -> None:
    network = new_network()
    with pytest.raises(ValueError, match="draws are too few: expected at least 1, got 0"):
        uncertainty(network, torch.rand(1, 1, 32, 32), encode(network, 2), draws=0)


def test_entropy_by_hand() -> None:
    quarter = 0.25 * 2 + 0.75 * math.log2(4 / 3)
    assert binary_entropy(torch.tensor([0.0, 0.25, 0.5, 1.0])).tolist() == pytest.approx([0, quarter, 1, 0])
