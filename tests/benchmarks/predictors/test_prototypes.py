"""Prototype matching by hand, on two features."""

from typing import Any

import pytest
import torch

from benchmarks.predictors.prototypes import (
    Match,
    class_prototype,
    match_class,
    match_grid,
    prototype_matching,
    similarities,
)
from incontext.support_once import SupportOnceConfig, SupportOnceNet

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
    torch.testing.assert_close(match_class(query, features, shares), torch.full((4, 8), 20 / 2**0.5))
    assert match_grid(query, features, shares).min() > 19.9
    impure = shares.clone()
    impure[..., 0, 0::4] = 0  # one pixel of sixteen is too much
    torch.testing.assert_close(match_grid(query, features, impure), match_class(query, features, impure))


@pytest.mark.parametrize("match", [match_class, match_grid])
def test_neither_batch_nor_order_of_the_support_matters(match: Match, check_exact: Any) -> None:
    torch.manual_seed(0)
    network = SupportOnceNet(SupportOnceConfig(channels=(4, 8, 8, 8, 8), heads=1, head_channels=4)).eval()
    check_exact(lambda: prototype_matching(network, match))


def test_an_image_of_the_support_is_segmented_as_labelled(episodes: Any) -> None:
    """Where foreground and background hold the same features, as the same image would, signs follow the label."""
    _, images, labels = episodes
    torch.manual_seed(0)
    network = SupportOnceNet(SupportOnceConfig(channels=(4, 8, 8, 8, 8), heads=1, head_channels=4)).eval()
    predict = prototype_matching(network, match_class)
    with torch.inference_mode():
        logits = predict(images[:, 0], images, labels)
        flipped = predict(images[:, 0], images, 1 - labels)
    torch.testing.assert_close(flipped, -logits)
