"""Corruptions: each does what it says by as much as it says, and to every image alone."""

import pytest
import torch

from benchmarks.predictors.chance import fingerprints
from benchmarks.predictors.corruptions import (
    CORRUPTIONS,
    bias,
    blur,
    coarse,
    contrast,
    cosines,
    gamma,
    jpeg,
    noise,
)  # fmt: skip

STRENGTH = {"noise": 0.1, "blur": 1.0, "bias": 0.5, "contrast": 0.4, "gamma": 2.0, "jpeg": 10.0, "coarse": 2.0}


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(256, (3, 1, 32, 32), generator=torch.Generator().manual_seed(0)) / 255


@pytest.fixture
def names(images: torch.Tensor) -> torch.Tensor:
    return fingerprints(images, 0)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_every_image_is_changed_by_itself(kind: str, images: torch.Tensor, names: torch.Tensor) -> None:
    change = CORRUPTIONS[kind]
    together = change(images, STRENGTH[kind], names)
    alone = [change(image[None], STRENGTH[kind], name[None]) for image, name in zip(images, names, strict=True)]
    torch.testing.assert_close(torch.cat(alone), together)
    assert together.shape == images.shape
    assert ((together - images).flatten(1).abs().amax(1) > 0.01).all()


def test_noise_has_its_standard_deviation_and_a_grain_of_each_image(images: torch.Tensor, names: torch.Tensor) -> None:
    grain = noise(images, 0.1, names) - images
    torch.testing.assert_close(grain.std(), torch.tensor(0.1), atol=0.005, rtol=0)
    assert not torch.allclose(grain[0], grain[1])


def test_blur_spreads_a_point_and_keeps_its_sum(names: torch.Tensor) -> None:
    point = torch.zeros(1, 1, 32, 32)
    point[..., 16, 16] = 1
    spread = blur(point, 2.0, names[:1])
    torch.testing.assert_close(spread.sum(), torch.tensor(1.0))
    torch.testing.assert_close(spread[0, 0, 16, 18] / spread[0, 0, 16, 16], torch.tensor(-0.5).exp())


def test_a_bias_field_is_smooth_and_stays_within_its_share(names: torch.Tensor) -> None:
    field = bias(torch.ones(3, 1, 32, 32), 0.5, names)
    assert 0.4999 < field.min() < field.max() < 1.5001
    assert field.diff(dim=-1).abs().max() < 2 * 0.5 * 2 / 31
    assert field.flatten(1).std(0).max() > 0.01


def test_contrast_shrinks_differences_and_keeps_the_mean(images: torch.Tensor, names: torch.Tensor) -> None:
    flat = contrast(images, 0.4, names)
    torch.testing.assert_close(flat.mean((1, 2, 3)), images.mean((1, 2, 3)))
    torch.testing.assert_close(flat.std((1, 2, 3)), 0.4 * images.std((1, 2, 3)))


def test_gamma_darkens_or_brightens() -> None:
    grey = (torch.arange(64) / 255 + 0.4).reshape(64, 1, 1, 1).expand(-1, 1, 2, 2)
    changed = gamma(grey, 2.0, fingerprints(grey, 0))
    darker = torch.isclose(changed, grey**2).flatten(1).all(1)
    assert torch.allclose(changed[~darker], grey[~darker] ** 0.5)
    assert 16 < darker.sum() < 48


def test_cosines_are_orthonormal() -> None:
    torch.testing.assert_close(cosines(8) @ cosines(8).T, torch.eye(8))


def test_jpeg_keeps_more_at_higher_quality_and_evens_out_a_block(images: torch.Tensor, names: torch.Tensor) -> None:
    low, high, best = ((jpeg(images, quality, names) - images).abs().mean() for quality in (5.0, 50.0, 100.0))
    assert low > high > best
    assert best < 1 / 255
    # At quality 1 a step is 50 times that of the table: of faint noise in a block, only the mean is left.
    faint = 0.5 + 0.02 * (images[:1, :, :8, :8] - 0.5)
    assert jpeg(faint, 1.0, names[:1]).std() < 1e-6


def test_jpeg_takes_sides_that_are_no_multiple_of_a_block(names: torch.Tensor) -> None:
    grey = torch.full((1, 1, 13, 9), 128 / 255)
    torch.testing.assert_close(jpeg(grey, 50.0, names[:1]), grey)


def test_coarse_forgets_a_chessboard(names: torch.Tensor) -> None:
    board = (torch.arange(32)[:, None] + torch.arange(32)).remainder(2).float()[None, None]
    torch.testing.assert_close(coarse(board, 2.0, names[:1]), torch.full_like(board, 0.5))
