"""Prototype matching by hand, on two features."""

from typing import Any

import pytest
import torch

from benchmarks.predictors.prototypes import (
    Prototypes,
    class_prototype,
    class_prototypes,
    grid_prototypes,
    joined_features,
    prototype_matching,
    resemblance,
    similarities,
)
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet

RIGHT, DOWN = torch.tensor([1.0, 0]), torch.tensor([0, 1.0])


def plane(*rows: list[torch.Tensor]) -> torch.Tensor:
    """Features (C, h, w) from rows of vectors."""
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def test_a_prototype_is_the_mean_over_the_images_that_show_the_class() -> None:
    features = torch.stack([plane([RIGHT, DOWN]), plane([DOWN, DOWN]), plane([RIGHT, RIGHT])])
    shares = torch.tensor([[1.0, 0], [1, 1], [0, 0]]).reshape(3, 1, 1, 2)
    assert class_prototype(features, shares).tolist() == [0.5, 0.5]
    assert class_prototype(features, 0 * shares).tolist() == [0, 0]


def test_similarity_is_the_cosine_times_twenty() -> None:
    found = similarities(plane([3 * RIGHT, DOWN, RIGHT + DOWN]), torch.stack([RIGHT, 0 * RIGHT]))
    torch.testing.assert_close(found[0, 0], torch.tensor([20, 0, 20 / 2**0.5]))
    assert found[1].abs().max() == 0


def test_local_prototypes_know_a_class_of_two_looks() -> None:
    """A class that points right in one window and down in the next: its mean points in between."""
    features = torch.cat([RIGHT.view(1, 2, 1, 1).expand(1, 2, 4, 4), DOWN.view(1, 2, 1, 1).expand(1, 2, 4, 4)], 3)
    shares = torch.ones(1, 1, 4, 8)
    query = features[0]
    whole = resemblance(query, class_prototypes(features, shares))
    torch.testing.assert_close(whole, torch.full((4, 8), 20 / 2**0.5))
    assert resemblance(query, grid_prototypes(features, shares)).min() > 19.9
    impure = shares.clone()
    impure[..., 0, 0::4] = 0  # one pixel of sixteen is too much
    torch.testing.assert_close(grid_prototypes(features, impure), class_prototypes(features, impure))


@pytest.fixture
def network() -> SupportOnceNet:
    torch.manual_seed(0)
    return SupportOnceNet(SupportOnceConfig(channels=(4, 8, 8, 8, 8), heads=1, head_channels=4)).eval()


@pytest.mark.parametrize("prototypes", [class_prototypes, grid_prototypes])
def test_neither_batch_nor_order_of_the_support_matters(
    prototypes: Prototypes, network: SupportOnceNet, check_exact: Any
) -> None:
    check_exact(lambda: prototype_matching(network, prototypes))


def test_an_image_of_the_support_is_segmented_as_labelled(network: SupportOnceNet, episodes: Any) -> None:
    """Where foreground and background hold the same features, as the same image would, signs follow the label."""
    _, images, labels = episodes
    predict = prototype_matching(network, class_prototypes)
    with torch.inference_mode():
        logits = predict(images[:, 0], images, labels)
        flipped = predict(images[:, 0], images, 1 - labels)
    torch.testing.assert_close(flipped, -logits)


def test_features_are_of_unit_length_on_the_finest_of_their_grids(network: SupportOnceNet) -> None:
    features = joined_features(network, torch.rand(2, 1, 32, 32))
    assert features.shape == (2, 8 + 8 + 8, 8, 8)
    torch.testing.assert_close(features[:, :8].norm(dim=1), torch.ones(2, 8, 8))
