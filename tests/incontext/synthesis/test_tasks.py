"""Laws of synthetic tasks."""

import numpy as np
import pytest
import torch

from incontext.synthesis.anatomies import FAMILIES
from incontext.synthesis.tasks import superpixel_set, synthetic_set

SIZE_PX = 64
HALVES = np.repeat(np.uint8([[40, 200]]), 32, axis=1).repeat(64, axis=0)
"""Dark on the left, bright on the right."""


def check(images: np.ndarray, labels: np.ndarray, shape: tuple[int, int, int]) -> None:
    assert images.shape == labels.shape == shape
    assert images.dtype == labels.dtype == np.uint8
    assert set(np.unique(labels)) == {0, 1}
    assert labels.sum(axis=(1, 2)).min() >= 10
    assert all(image.max() == 255 for image in images)


@pytest.mark.parametrize("family", list(FAMILIES))
@pytest.mark.parametrize("size_px", [32, 64, 128])
def test_every_image_shows_the_structure(family, size_px):
    for seed in range(4):
        images, labels = synthetic_set(3, size_px, np.random.default_rng(seed), family)
        check(images, labels, (3, size_px, size_px))
        assert labels.mean(axis=(1, 2)).max() <= 0.6


@pytest.mark.parametrize(("count", "size_px"), [(1, 64), (1, 33), (2, 256), (40, 32)])
def test_any_count_and_size(count, size_px):
    check(*synthetic_set(count, size_px, np.random.default_rng(0)), (count, size_px, size_px))


def test_the_foreground_is_a_few_percent_and_rarely_beyond_forty():
    shares = [synthetic_set(1, 32, np.random.default_rng(seed))[1].mean() for seed in range(60)]
    assert 0.03 <= np.median(shares) <= 0.2
    assert np.quantile(shares, 0.95) < 0.42


@pytest.mark.parametrize("draw", ["synthetic", "superpixel"])
def test_the_generator_decides_everything(draw):
    def draw_set(seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        return synthetic_set(3, SIZE_PX, rng) if draw == "synthetic" else superpixel_set(HALVES, 3, rng)

    first, again, other = draw_set(1), draw_set(1), draw_set(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_one_generator_gives_one_task_after_another():
    rng = np.random.default_rng(0)
    assert not np.array_equal(synthetic_set(2, SIZE_PX, rng)[0], synthetic_set(2, SIZE_PX, rng)[0])


def test_global_generators_are_left_alone():
    def states() -> tuple[bytes, bytes]:
        return np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()

    before = states()
    for family in FAMILIES:
        synthetic_set(2, 32, np.random.default_rng(0), family)
    superpixel_set(HALVES, 2, np.random.default_rng(0))
    assert states() == before


def test_the_subjects_of_a_set_differ():
    for family in FAMILIES:
        images, labels = synthetic_set(4, SIZE_PX, np.random.default_rng(0), family)
        assert len(np.unique(images.reshape(4, -1), axis=0)) == len(np.unique(labels.reshape(4, -1), axis=0)) == 4


@pytest.mark.parametrize("family", ["blobs", "tubes", "membranes"])
def test_the_foreground_is_brighter_in_all_subjects_or_darker_in_all(family):
    agreements = []
    for seed in range(12):
        images, labels = synthetic_set(4, SIZE_PX, np.random.default_rng(seed), family)
        signs = [np.sign(i[la == 1].mean() - i[la == 0].mean()) for i, la in zip(images, labels, strict=True)]
        agreements.append(abs(sum(signs)) == 4)
    assert np.mean(agreements) >= 0.8


def test_both_bright_and_dark_tubes_occur():
    signs = set()
    for seed in range(12):
        images, labels = synthetic_set(1, SIZE_PX, np.random.default_rng(seed), "tubes")
        signs.add(images[labels == 1].mean() > images[labels == 0].mean())
    assert signs == {True, False}


def test_textures_are_told_apart_by_roughness():
    """The size of steps between neighbouring pixels differs between inside and outside, alike in all subjects."""
    agreements = []
    for seed in range(20):
        images, labels = synthetic_set(4, SIZE_PX, np.random.default_rng(seed), "textures")
        rough = np.abs(np.diff(images.astype(float), axis=2))
        inside = labels[..., 1:] == 1
        signs = [np.sign(r[i].mean() - r[~i].mean()) for r, i in zip(rough, inside, strict=True)]
        agreements.append(abs(sum(signs)) == 4)
    assert np.mean(agreements) >= 0.8


def test_tubes_are_thin():
    """Nearly all of the foreground lies within three pixels of what is not, at 128×128."""
    thin = []
    for seed in range(10):
        _, labels = synthetic_set(1, 128, np.random.default_rng(seed), "tubes")
        shrunk = torch.from_numpy(1 - labels).float()
        depth = torch.nn.functional.max_pool2d(shrunk, 7, stride=1, padding=3) == 0
        thin.append(depth.sum().item() / labels.sum())
    assert np.median(thin) < 0.1


def test_a_superpixel_lies_in_one_half():
    for seed in range(10):
        images, labels = superpixel_set(HALVES, 4, np.random.default_rng(seed))
        check(images, labels, (4, 64, 64))
        for image, label in zip(images, labels, strict=True):
            bright = image[label == 1] > 110
            assert bright.mean() < 0.15 or bright.mean() > 0.85


@pytest.mark.parametrize("grey", [0, 90, 255])
def test_an_image_without_contrast_gives_a_place(grey):
    for seed in range(5):
        images, labels = superpixel_set(np.full((32, 32), grey, np.uint8), 3, np.random.default_rng(seed))
        assert images.shape == labels.shape == (3, 32, 32)
        assert labels.sum(axis=(1, 2)).min() >= 10
        assert labels.mean() < 0.6


def test_what_cannot_be_drawn_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"count is too small: expected at least 1, got 0\."):
        synthetic_set(0, 64, rng)
    with pytest.raises(ValueError, match=r"size_px is too small: expected at least 32, got 16\."):
        synthetic_set(1, 16, rng)
    with pytest.raises(ValueError, match=r"count is too small"):
        superpixel_set(HALVES, 0, rng)
    with pytest.raises(ValueError, match=r"expected \(64, 64\), got \(64, 32\)\. Pad it with zeros\."):
        superpixel_set(HALVES[:, :32], 1, rng)
