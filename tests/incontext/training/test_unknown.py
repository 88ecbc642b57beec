"""Training learns nothing from pixels that nobody judged, and augmentation keeps them unknown where it matters."""

import numpy as np
import pytest
import torch
from torch import Tensor

from incontext.training.augment import AugmentConfig, augment, dilate, edges, erode
from incontext.training.batches import Batch
from incontext.training.calibration import judge
from incontext.training.episodes import DevTask, EpisodeConfig, SetSize, TaskImages, ViewImages
from incontext.training.loop import halved
from incontext.training.losses import LossConfig, hard_dice, segmentation_loss
from megamed import Task
from megamed.unknown import UNKNOWN, UNKNOWN_SHARE

TASK = Task(dataset="drawn", modality="ct", axis="2d", label="disc")


def partly(side: int = 32) -> Tensor:
    """Labels (1, 2, 1, H, W) of a square with a border of two pixels that nobody judged, and a corner besides."""
    label = torch.zeros(1, 2, 1, side, side)
    label[..., 8:20, 8:20] = UNKNOWN_SHARE
    label[..., 10:18, 10:18] = 1
    label[..., :6, :6] = UNKNOWN_SHARE
    return label


@pytest.mark.parametrize("config", [LossConfig(), LossConfig(pixel="focal"), LossConfig(pixel_weight=0)])
def test_logits_of_unknown_pixels_have_no_gradient_and_no_say(config: LossConfig) -> None:
    labels = partly()[0]
    logits = torch.randn(labels.shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = segmentation_loss(logits, labels, config)
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad[labels == UNKNOWN_SHARE].any()
    assert logits.grad[labels != UNKNOWN_SHARE].all()
    other = torch.where(labels == UNKNOWN_SHARE, -7 * logits, logits)
    assert segmentation_loss(other, labels, config) == loss
    assert torch.equal(hard_dice(other, labels), hard_dice(logits, labels))


def test_a_loss_of_nothing_judged_is_none() -> None:
    labels = torch.full((2, 1, 4, 4), UNKNOWN_SHARE)
    assert segmentation_loss(torch.randn(2, 1, 4, 4), labels) == 0


def test_morphology_is_three_valued() -> None:
    """What comes of a label is known where it is the same for every way to fill in its unknown pixels."""
    generator = torch.Generator().manual_seed(0)
    label = torch.tensor([[0.0, 0, 0.5, 1, 1, 0.5, 0, 0]]).view(1, 1, 1, 1, 8)
    for change in (lambda some: dilate(some, 1), lambda some: erode(some, 1), edges, lambda some: 1 - some):
        found = change(label)
        fillings = [
            torch.where(label == 0.5, torch.rand(label.shape, generator=generator).round(), label) for _ in range(30)
        ]
        for filling in fillings:
            known = found != UNKNOWN_SHARE
            assert torch.equal(change(filling)[known], found[known])


def test_augmented_labels_keep_three_values() -> None:
    labels = partly().expand(4, 2, 1, 32, 32).clone()
    images = torch.rand(labels.shape)
    for seed in range(4):
        torch.manual_seed(seed)
        moved_images, moved = augment(images, labels)
        assert set(moved.unique().tolist()) <= {0, UNKNOWN_SHARE, 1}
        assert (moved == UNKNOWN_SHARE).any((2, 3, 4)).all()
        assert moved_images.shape == images.shape


def test_a_warp_knows_what_both_readings_agree_on() -> None:
    """Seeded alike, labels read as background or foreground and labels with unknown pixels move the same way."""
    config = AugmentConfig.only(task={"affine": 1.0, "elastic": 1.0})
    labels, images = partly(), torch.rand(1, 2, 1, 32, 32)

    def warped(some: Tensor) -> Tensor:
        torch.manual_seed(3)
        return augment(images, some, config)[1]

    least, most = warped((labels > UNKNOWN_SHARE).float()), warped((labels > 0).float())
    assert torch.equal(warped(labels), (least + most) / 2)


def test_halved_labels_are_unknown_where_it_matters() -> None:
    label = torch.tensor([[1.0, 1, 0.5, 0], [0.5, 0, 0, 0], [0.5, 0.5, 1, 0.5], [0, 0, 0, 0]]).view(1, 1, 1, 4, 4)
    batch = halved(Batch(torch.zeros(1, 1, 1, 4, 4), label, label, 1))
    assert batch.labels[0, 0, 0].tolist() == [[1, 0], [UNKNOWN_SHARE, UNKNOWN_SHARE]]
    assert batch.images.shape == (1, 1, 1, 2, 2)


def test_sets_hand_unknown_pixels_on() -> None:
    labels = np.array([[[1, UNKNOWN]], [[1, 0]], [[1, 1]]], np.uint8)
    view = ViewImages(np.zeros((3, 1, 2), np.uint8), ("a", "b", "c"))
    task = TaskImages(TASK, view, np.arange(3), labels, np.array([], int))
    _, drawn = task.draw(SetSize(3, 3), EpisodeConfig(background_rate=0.0), np.random.default_rng(0)).tensors()
    assert sorted(drawn.flatten().tolist()) == [0, UNKNOWN_SHARE, 1, 1, 1, 1]


def test_quality_is_judged_by_judged_pixels() -> None:
    labels = partly()[0]
    logits = torch.where(labels == 1, 4.0, -4.0)
    wrong = torch.where(labels == UNKNOWN_SHARE, 9.0, logits)
    task = DevTask("drawn", labels[None], labels[None], labels, labels)
    first, second = judge(task, logits), judge(task, wrong)
    assert torch.equal(first.log_odds, second.log_odds)
    assert first.dice.tolist() == second.dice.tolist() == [1, 1]
