"""Choices out of a pool, and what becomes of many passes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from incontext import Segmenter
from incontext.inference.backends import WholeSetBackend
from incontext.inference.choice import FLIPS, Choice
from incontext.inference.planes import Classes
from incontext.inference.reader import Engine, Reader, stacked
from incontext.inference.support_pool import Pool
from incontext.networks.cross_block import CrossBlockConfig, CrossBlockNet
from incontext.networks.support_code import ImageCodes
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet

SIZE_PX = 32
CONFIG = SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8)


def tiny_network() -> SupportOnceNet:
    torch.manual_seed(0)
    return SupportOnceNet(CONFIG).eval()


class MeanLabel(nn.Module):
    """Repeats where the support's label was, as log-odds of 1 and -1."""

    def forward(self, query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
        return 2 * support_labels.mean(dim=1) - 1


def draw_pool(count: int = 6, classes: int = 1, seed: int = 0) -> Pool:
    """Noise; a class covers about half of an image, and every third image lacks the last class."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(count, classes, SIZE_PX, SIZE_PX, generator=generator) > 0.5).to(torch.uint8)
    labels[::3, -1] = 0
    return Pool(
        images=torch.rand(count, 1, SIZE_PX, SIZE_PX, generator=generator),
        labels=labels,
        annotated=torch.ones(count, classes, dtype=torch.bool),
        origins=torch.arange(count),
    )


def reader(pool: Pool, network: nn.Module, choice: Choice | None = None, **changes: Any) -> Reader:
    backend = network if isinstance(network, SupportOnceNet) else WholeSetBackend(network)
    settings = {
        "stages": network.features if isinstance(network, SupportOnceNet) else None,
        "features": lambda images: images.mean(dim=(2, 3)),
        "batch_size": 4,
        "device": torch.device("cpu"),
        **changes,
    }
    classes = Classes({value: str(value) for value in range(1, pool.labels.shape[1] + 1)})
    return Reader(pool, choice or Choice(), Engine(backend, **settings), classes)


def queries(count: int) -> Tensor:
    return torch.rand(count, 1, SIZE_PX, SIZE_PX, generator=torch.Generator().manual_seed(9))


def small_cross_block() -> CrossBlockNet:
    torch.manual_seed(0)
    return CrossBlockNet(CrossBlockConfig((4, 4), (4,))).eval()


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
@pytest.mark.parametrize("build", [tiny_network, small_cross_block])
def test_a_pool_in_chunks_is_the_pool_at_once(build: Callable[[], nn.Module], batch_size: int) -> None:
    pool, network = draw_pool(7, classes=2), build()
    found = reader(pool, network, batch_size=batch_size)(queries(3))
    with torch.inference_mode():
        supports = [pool.images[None].expand(3, -1, -1, -1, -1)] * 2
        expected = [
            network(queries(3), images, pool.labels[:, index, None].float().expand(3, -1, -1, -1, -1))
            for index, images in enumerate(supports)
        ]
    torch.testing.assert_close(found, torch.cat(expected, dim=1), atol=1e-4, rtol=1e-4)


def test_images_go_where_the_network_computes_before_their_features_are_taken() -> None:
    on_device = reader(draw_pool(), tiny_network(), device=torch.device("meta"), stages=lambda images: [images])
    found = on_device.stages(queries(2))
    assert found is not None
    assert found[0].device.type == "meta"


def test_classes_of_one_support_size_are_one_pass() -> None:
    class Counting(SupportOnceNet):
        passes = 0

        encoded = 0

        def features(self, images: Tensor) -> list[Tensor]:
            self.encoded += len(images)
            return super().features(images)

        def decode(self, features: list[Tensor], code: Any) -> Tensor:
            self.passes += 1
            return super().decode(features, code)

    torch.manual_seed(0)
    network = Counting(CONFIG).eval()
    many = reader(draw_pool(classes=3), network)
    assert many.queries_per_batch == 1
    many(queries(1))
    assert network.passes == 1
    encoded = network.encoded
    many(queries(1))
    assert network.encoded == encoded + 1  # for all classes
    reader(draw_pool(classes=3), network, batch_size=2)(queries(1))
    assert network.passes == 2 + 2


def test_an_image_not_annotated_for_a_class_says_nothing_of_it() -> None:
    pool = draw_pool(4, classes=2)
    pool.annotated[1:, 1] = False
    alone = draw_pool(4, classes=2)
    found = reader(pool, tiny_network())(queries(2))
    every = reader(alone, tiny_network())(queries(2))
    only = reader(Pool(alone.images[:1], alone.labels[:1], alone.annotated[:1], alone.origins[:1]), tiny_network())(
        queries(2)
    )
    torch.testing.assert_close(found[:, 0], every[:, 0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found[:, 1], only[:, 1], atol=1e-4, rtol=1e-4)


def test_images_that_lack_a_class_count_for_all_and_for_no_other_rule() -> None:
    pool = draw_pool(6)
    assert pool.candidates(0, showing=False).tolist() == [0, 1, 2, 3, 4, 5]
    assert pool.candidates(0, showing=True).tolist() == [1, 2, 4, 5]
    mean = reader(pool, MeanLabel(), Choice("random", size=6))(queries(1))
    torch.testing.assert_close(mean[0, 0], 2 * pool.labels[[1, 2, 4, 5], 0].float().mean(0) - 1)


@pytest.mark.parametrize("flips", [False, True])
def test_the_temperature_divides_logits(flips: bool) -> None:
    pool, asked = draw_pool(4), queries(2)
    sharp, soft = (reader(pool, tiny_network(), Choice(flips=flips)) for _ in range(2))
    soft.temperature = 4.0
    if flips:  # a mean of probabilities that are nearer to a half is so itself
        assert (soft(asked).abs().mean() < sharp(asked).abs().mean() / 3).all()
    else:
        torch.testing.assert_close(4 * soft(asked), sharp(asked))


@pytest.mark.parametrize("rule", ["random", "diverse", "nearest"])
def test_a_rule_that_chooses_all_is_all(rule: str) -> None:
    pool = draw_pool(5)
    pool = Pool(pool.images[1:3], pool.labels[1:3], pool.annotated[1:3], pool.origins[1:3])
    whole = reader(pool, tiny_network())(queries(3))
    torch.testing.assert_close(
        reader(pool, tiny_network(), Choice(rule, size=2))(queries(3)), whole, atol=1e-4, rtol=1e-4
    )


def test_each_query_has_its_own_nearest_support() -> None:
    pool = draw_pool(5)
    pool.labels[:] = (torch.arange(5)[:, None, None, None] % 2).to(torch.uint8)
    pool.labels[:, :, 0, 0] = 1
    found = reader(pool, MeanLabel(), Choice("nearest", size=1))(pool.images)
    torch.testing.assert_close(found[:, 0], 2 * pool.labels[:, 0].float() - 1)
    one_by_one = [reader(pool, MeanLabel(), Choice("nearest", size=1))(each) for each in pool.images.split(1)]
    torch.testing.assert_close(torch.cat(one_by_one), found)


def test_an_ensemble_is_the_mean_of_probabilities() -> None:
    pool, choice = draw_pool(9), Choice("random", size=2, draws=3)
    candidates = pool.candidates(0, showing=True)
    draws = [pool.labels[candidates[draw], 0].float().mean(0) for draw in choice.shared(len(candidates), torch.Tensor)]
    expected = torch.stack([(2 * draw - 1).sigmoid() for draw in draws]).mean(0)
    found = reader(pool, MeanLabel(), choice)(queries(1))
    torch.testing.assert_close(found[0, 0].sigmoid(), expected, atol=1e-5, rtol=1e-5)


def test_flips_make_no_difference_where_there_is_none() -> None:
    pool = draw_pool(5, classes=2)
    plain, flipped = (reader(pool, MeanLabel(), Choice(flips=flips))(queries(2)) for flips in (False, True))
    torch.testing.assert_close(flipped, plain, atol=1e-4, rtol=1e-4)


def test_flipped_queries_give_flipped_masks() -> None:
    pool = draw_pool(4)
    turned = Pool(pool.images.flip(-1), pool.labels.flip(-1), pool.annotated, pool.origins)
    found = reader(pool, tiny_network(), Choice(flips=True))(queries(2))
    mirrored = reader(turned, tiny_network(), Choice(flips=True))(queries(2).flip(-1)).flip(-1)
    torch.testing.assert_close(mirrored, found, atol=1e-3, rtol=1e-3)
    assert len(FLIPS) == 4


def counting_network() -> tuple[SupportOnceNet, list[int]]:
    """A network, and the numbers of images that it encodes at a time."""
    encoded: list[int] = []

    class Counting(SupportOnceNet):
        def encode_images(self, images: Tensor, labels: Tensor) -> ImageCodes:
            encoded.append(len(images))
            return super().encode_images(images, labels)

    torch.manual_seed(0)
    return Counting(CONFIG).eval(), encoded


def test_images_are_encoded_once() -> None:
    network, encoded = counting_network()
    read = reader(draw_pool(10), network, Choice("random", size=2, draws=2))
    read(queries(2))
    read(queries(3))
    assert sum(encoded) <= 4


def test_a_network_without_features_cannot_choose_by_looks() -> None:
    with pytest.raises(ValueError, match="support='nearest' does not fit the network"):
        reader(draw_pool(), MeanLabel(), Choice("nearest"), features=None)(queries(1))


def test_codes_of_other_sizes_are_stacked_apart() -> None:
    network, pool = tiny_network(), draw_pool(5)
    with torch.inference_mode():
        codes = [network.encode_images(pool.images[:size], pool.labels[:size].float()).pooled() for size in (2, 2, 3)]
    assert [sets for _, sets in stacked(codes, 8)] == [2, 1]
    assert [sets for _, sets in stacked(codes, 1)] == [1, 1, 1]


@pytest.mark.parametrize("params", [{"support": "nearest"}, {"support": "diverse", "ensemble": 2}, {"flips": True}])
def test_packaged_weights_do_it_all(params: dict[str, Any], tmp_path: Path) -> None:
    rows, columns = np.mgrid[:60, :60]
    labels = [((rows - 30) ** 2 + (columns - 20 - 2 * i) ** 2 < 150).astype(np.uint8) for i in range(8)]
    images = [50 + 150 * label for label in labels]
    size = {"support_size": 3} if "support" in params else {}
    result = Segmenter(device="cpu", **params, **size).fit(images[2:], labels[2:]).predict(images[:2])
    for mask, label in zip(result, labels, strict=False):
        assert np.count_nonzero(mask & label) / np.count_nonzero(mask | label) > 0.8
    assert result.report.label_budget == 6


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_logits_that_are_not_finite_are_an_error_and_no_empty_mask(value):
    class Broken(torch.nn.Module):
        def forward(self, queries, images, labels):
            return torch.full_like(queries, value)

    image, label = np.random.default_rng(0).random((32, 32)), np.eye(32, dtype=np.uint8)
    segmenter = Segmenter(Broken(), size_px=32, device="cpu").fit(image, label)
    with pytest.raises(FloatingPointError, match="expected finite logits, got NaN or infinity"):
        segmenter.predict(image)
    with pytest.raises(FloatingPointError, match="expected finite logits, got NaN or infinity"):
        segmenter.uncertainty(image)
    with pytest.raises(FloatingPointError, match="expected finite logits, got NaN or infinity"):
        segmenter.propagate(np.stack([image] * 5), {0: label})
