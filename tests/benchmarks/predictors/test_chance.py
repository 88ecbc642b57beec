"""Numbers that content decides: known values, evenness, and independence of batch and order."""

import pytest
import torch

from benchmarks.predictors.chance import STEP, fingerprints, mixed, normal, uniform


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(256, (6, 1, 8, 8), generator=torch.Generator().manual_seed(0)) / 255


def test_mixing_is_that_of_splitmix64() -> None:
    """The first two numbers of the reference implementation with seed 0."""
    found = mixed(STEP * torch.tensor([1, 2]))
    assert [number % 2**64 for number in found.tolist()] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


def test_a_name_depends_on_every_pixel_its_place_and_the_seed(images: torch.Tensor) -> None:
    changed, moved = images[0].clone(), images[0].roll(1, dims=-1)
    changed[0, 3, 3] = (changed[0, 3, 3] + 0.5) % 1
    names = fingerprints(torch.stack([images[0], changed, moved]), 0).tolist()
    assert len({*names, *fingerprints(images[:1], 1).tolist()}) == 4


def test_a_name_is_the_same_in_any_batch_and_order(images: torch.Tensor) -> None:
    together = fingerprints(images, 7)
    assert torch.equal(fingerprints(images.flip(0), 7).flip(0), together)
    assert torch.equal(torch.cat([fingerprints(image[None], 7) for image in images]), together)
    assert torch.equal(fingerprints(images.unflatten(0, (2, 3)), 7).flatten(), together)


def test_numbers_are_even_and_of_names_alone(images: torch.Tensor) -> None:
    names = fingerprints(images, 0)
    numbers = uniform(names, 10_000)
    assert 0 < numbers.min() < numbers.max() < 1
    torch.testing.assert_close(numbers.mean(1), torch.full((6,), 0.5), atol=0.02, rtol=0)
    assert torch.corrcoef(numbers).triu(diagonal=1).abs().max() < 0.05
    assert torch.equal(uniform(names[2:3], 10_000), numbers[2:3])
    assert torch.equal(uniform(names, 3), numbers[:, :3])


def test_normal_numbers_are_normal_and_finite(images: torch.Tensor) -> None:
    numbers = normal(fingerprints(images, 0), 10_000)
    assert numbers.isfinite().all()
    torch.testing.assert_close(numbers.mean(), torch.tensor(0.0), atol=0.02, rtol=0)
    torch.testing.assert_close(numbers.std(), torch.tensor(1.0), atol=0.02, rtol=0)
