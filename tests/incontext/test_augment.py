"""Laws of augmentation."""

import pytest
import torch

from incontext.augment import augment, choose, elastic_field, random_affine, warp


@pytest.fixture
def sets() -> tuple[torch.Tensor, torch.Tensor]:
    """Two sets of five equal images: a bright square on grey is what the label marks."""
    labels = torch.zeros(2, 5, 1, 32, 32)
    labels[..., 10:20, 12:24] = 1
    return 0.3 + 0.5 * labels, labels


@pytest.mark.parametrize("seed", range(8))
def test_images_stay_in_range_and_labels_binary(sets, seed):
    torch.manual_seed(seed)
    images, labels = augment(*sets)
    assert images.shape == labels.shape == sets[0].shape
    assert images.min() >= 0
    assert images.max() <= 1
    assert set(labels.unique().tolist()) <= {0.0, 1.0}


def test_same_seed_same_result(sets):
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(augment(*sets))
    assert all(torch.equal(a, b) for a, b in zip(*drawn, strict=True))
    assert not torch.equal(augment(*sets)[0], drawn[0][0])


def test_the_images_of_a_set_differ(sets):
    torch.manual_seed(0)
    images, _ = augment(*sets)
    assert all(not torch.equal(images[0, 0], images[0, i]) for i in range(1, 5))


@pytest.mark.parametrize("seed", range(4))
def test_labels_move_with_their_images(sets, seed):
    torch.manual_seed(seed)
    images, labels = warp(*sets)
    inside, outside = images[labels == 1], images[labels == 0]
    assert inside.min() >= 0.5
    assert outside.max() <= 0.61


def test_affine_maps_without_freedom_are_the_identity():
    affine = random_affine(3, rotation=0.0, shift=0.0, scale=(1.0, 1.0), flip=0.0)
    assert torch.equal(affine, torch.eye(3).repeat(3, 1, 1))


def test_a_sure_flip_mirrors_both_axes():
    affine = random_affine(1, rotation=0.0, shift=0.0, scale=(1.0, 1.0), flip=1.1)
    torch.testing.assert_close(affine[0, :2, :2], -torch.eye(2))


def test_elastic_fields_are_left_out_by_chance():
    assert elastic_field(4, 8, 8, chance=0.0).abs().max() == 0
    assert elastic_field(4, 8, 8, chance=1.1).abs().amax((1, 2, 3)).min() > 0


def test_choose_takes_whole_items():
    torch.manual_seed(0)
    picked = choose(0.5, torch.ones(64, 3), torch.zeros(64, 3))
    assert set(picked.mean(1).tolist()) == {0.0, 1.0}
