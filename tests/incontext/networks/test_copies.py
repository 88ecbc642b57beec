"""Copies of a few labelled images."""

import torch

from incontext.networks.copies import COPIES, copies_of
from megamed.unknown import UNKNOWN

SIZE_PX = 32


def drawn(count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """A square in the middle on a ramp of grey values; its border was judged by nobody."""
    labels = torch.zeros(count, 1, SIZE_PX, SIZE_PX, dtype=torch.uint8)
    labels[..., 8:24, 8:24] = UNKNOWN
    labels[..., 10:22, 10:22] = 1
    ramp = torch.linspace(0, 1, SIZE_PX).expand(count, 1, SIZE_PX, SIZE_PX)
    return ramp, labels


def test_the_images_come_first_and_labels_stay_labels() -> None:
    images, labels = drawn()
    copied, their = copies_of(images, labels)
    assert copied.shape == (2 * COPIES, 1, SIZE_PX, SIZE_PX) == their.shape
    assert torch.equal(copied[:2], images)
    assert torch.equal(their[:2], labels)
    assert their.dtype == torch.uint8
    assert set(their.unique().tolist()) == {0, 1, UNKNOWN}
    assert ((copied >= 0) & (copied <= 1)).all()


def test_a_larger_copy_shows_more_of_the_label_and_a_turned_one_as_much() -> None:
    areas = (copies_of(*drawn(1))[1] == 1).sum((1, 2, 3)).tolist()
    assert areas[2] < 0.8 * areas[0] < areas[0] < 1.2 * areas[0] < areas[1]
    assert all(abs(area / areas[0] - 1) < 0.1 for area in areas[3:])


def test_left_stays_left() -> None:
    labels = torch.zeros(1, 1, SIZE_PX, SIZE_PX, dtype=torch.uint8)
    labels[..., 8:24, 4:12] = 1
    _, copied = copies_of(torch.rand(1, 1, SIZE_PX, SIZE_PX), labels)
    assert not copied[..., SIZE_PX // 2 :].any()


def test_no_image_has_no_copies() -> None:
    assert all(len(each) == 0 for each in copies_of(torch.zeros(0, 1, 8, 8), torch.zeros(0, 2, 8, 8)))
