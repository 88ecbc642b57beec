"""Registration finds what it was moved by, and stays where there is nothing to find."""

from typing import Any

import torch
from torch import Tensor

from benchmarks.predictors import nearest_copy
from benchmarks.predictors.atlas import atlas, register, sampling_grid, unlikeness

SIZE_PX = 64


def blob(y: float, x: float, radius: float = 9) -> Tensor:
    """A soft ellipse (1, 1, 64, 64) beside a fixed bar."""
    places = torch.arange(SIZE_PX)
    distance = ((places[:, None] - y) ** 2 + (1.5 * (places - x)) ** 2).sqrt()
    return torch.sigmoid((radius - distance) / 2)[None, None]


def test_an_image_moved_by_some_pixels_is_followed() -> None:
    moving, fixed = blob(30, 30), blob(34, 27)
    logits = atlas(fixed, moving[None], (moving[None] > 0.5).float())
    copied = nearest_copy(fixed, moving[None], (moving[None] > 0.5).float())

    def dice(logits: Tensor) -> float:
        mask, label = logits >= 0, fixed > 0.5
        return float(2 * (mask & label).sum() / (mask.sum() + label.sum()))

    assert dice(copied) < 0.75
    assert dice(logits) > 0.95


def test_an_image_registered_to_itself_stays() -> None:
    image = blob(30, 30)
    identity = sampling_grid(torch.eye(2, 3), torch.zeros(1, 2, 8, 8), (SIZE_PX, SIZE_PX))
    assert torch.equal(register(image, image), identity)
    label = (image > 0.5).float()
    assert torch.equal(atlas(image, image[None], label[None]) >= 0, label > 0)


def test_unlikeness_ignores_brightness_and_contrast() -> None:
    image = blob(30, 30) + 0.1 * torch.rand(1, 1, SIZE_PX, SIZE_PX, generator=torch.Generator().manual_seed(0))
    identity = sampling_grid(torch.eye(2, 3), torch.zeros(1, 2, 8, 8), (SIZE_PX, SIZE_PX))
    assert unlikeness(image, 0.2 + 3 * image, identity) < 0.2
    assert unlikeness(image, 1 - image, identity) > 1.5


def test_neither_batch_nor_order_of_the_support_matters(check_exact: Any) -> None:
    check_exact(lambda: atlas)
