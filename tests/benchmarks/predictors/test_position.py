"""Moved supports: image and label together, with the object inside as far as it can be, each by itself."""

import pytest
import torch
from torch import Tensor

from benchmarks.predictors.position import aside, moved, remaining

SIDE_PX = 16


@pytest.fixture
def support() -> tuple[Tensor, Tensor]:
    """Two sets of two labelled images of noise, each with a square at another edge."""
    images = torch.rand(2, 2, 1, SIDE_PX, SIDE_PX, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros_like(images)
    labels[0, 0, :, 1:4, 6:9] = labels[0, 1, :, 12:15, 6:9] = 1
    labels[1, 0, :, 6:9, 1:4] = labels[1, 1, :, 6:9, 12:15] = 1
    return images, labels


def test_an_object_moves_to_where_there_is_room(support: tuple[Tensor, Tensor]) -> None:
    labels = moved(*support, distance_px=8)[1]
    assert torch.equal(labels.sum((2, 3, 4)), torch.full((2, 2), 9.0))
    assert labels[0, 0, 0, 9:12, 6:9].all()
    assert labels[0, 1, 0, 4:7, 6:9].all()
    assert labels[1, 0, 0, 6:9, 9:12].all()
    assert labels[1, 1, 0, 6:9, 4:7].all()


def test_image_and_label_move_together(support: tuple[Tensor, Tensor]) -> None:
    images, labels = support
    shown_images, shown_labels = moved(images, labels, distance_px=5)
    for image, label, shown_image, shown_label in zip(
        *(each.flatten(0, 2) for each in (images, labels, shown_images, shown_labels)), strict=True
    ):
        assert torch.equal(shown_image[shown_label > 0], image[label > 0])
        assert not torch.equal(shown_image, image)


def test_no_distance_changes_nothing(support: tuple[Tensor, Tensor]) -> None:
    assert all(torch.equal(*pair) for pair in zip(support, moved(*support, distance_px=0), strict=True))


def test_the_edge_behind_is_repeated() -> None:
    image = torch.arange(4.0).expand(3, 4)
    assert aside(image, -1, 2)[0].tolist() == [0, 0, 0, 1]
    assert aside(image, -1, -2)[0].tolist() == [2, 3, 3, 3]
    assert aside(image.T, -2, 9)[:, 0].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("axis", "offset_px", "expected"), [(-1, 1, 6), (-1, 2, 3), (-1, -2, 9), (-2, 2, 9), (-1, 20, 0)]
)
def test_what_stays_inside_is_counted(axis: int, offset_px: int, expected: int) -> None:
    label = torch.zeros(1, 1, 1, SIDE_PX, SIDE_PX)
    label[..., 6:9, 13:16] = 1
    assert remaining(label, axis, offset_px).item() == expected
