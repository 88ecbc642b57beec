"""Episodes of discs on noise, and the law that every predictor is held to."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmarks.predictors import Predictor

SIZE_PX = 32
Episodes = tuple[Tensor, Tensor, Tensor]


def discs(*centres: tuple[int, int], noise: float = 0.2) -> tuple[Tensor, Tensor]:
    """Images (N, 1, H, W) of one disc each, brighter than the noise, and labels."""
    places = torch.arange(SIZE_PX)
    labels = torch.stack([((places[:, None] - y) ** 2 + (places - x) ** 2 <= 36).float() for y, x in centres])[:, None]
    generator = torch.Generator().manual_seed(len(centres))
    return 0.2 + 0.5 * labels + noise * torch.rand(labels.shape, generator=generator), labels


@pytest.fixture
def episodes() -> Episodes:
    """Two queries with a support of three each; the labels of the queries are those of discs at (16, 16), (12, 20)."""
    images, labels = discs((10, 10), (20, 12), (15, 19), (22, 22), (9, 21), (13, 14))
    return discs((16, 16), (12, 20))[0], images.unflatten(0, (2, 3)), labels.unflatten(0, (2, 3))


@pytest.fixture
def check_exact(episodes: Episodes) -> Callable[[Callable[[], Predictor]], None]:
    """Neither batch nor order of the support may change a single bit; made anew, for nothing to be remembered."""

    def check(make: Callable[[], Predictor]) -> None:
        query_images, images, labels = episodes
        order = [2, 0, 1]
        with torch.inference_mode():
            together = make()(*episodes)
            alone = make()(query_images[1:], images[1:, order], labels[1:, order])
        assert together.shape == query_images.shape
        assert torch.equal(together[1:], alone)

    return check


@pytest.fixture
def dice(episodes: Episodes) -> Callable[[Predictor], float]:
    """The Dice of a predictor on both queries."""

    def score(predict: Predictor) -> float:
        _, expected = discs((16, 16), (12, 20))
        with torch.inference_mode():
            masks = (predict(*episodes) >= 0).float()
        return float(2 * (masks * expected).sum() / (masks + expected).sum())

    return score
