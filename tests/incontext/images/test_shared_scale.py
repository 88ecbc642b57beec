"""The scale of grey values that labelled images share."""

import numpy as np
import pytest
import torch

from incontext.images.examples import Example
from incontext.images.normalisation import Normalisation, apply, choose, limits, on_shared_scale
from incontext.images.shared_scale import SharedScale
from incontext.images.source_image import SourceImage, read_source_image
from incontext.inference.one_input import scaled
from incontext.inference.support_pool import Preparation

RNG = np.random.default_rng(0)
GROUND, STRUCTURE, OTHER = 40, 200, 110


def image(*spots: int, gain: float = 1, shape: tuple[int, int] = (40, 56)) -> np.ndarray:
    """A noisy ground with spots of these grey values."""
    values = np.full(shape, GROUND, dtype=float)
    for index, spot in enumerate(spots):
        values[10:20, 8 + 14 * index : 18 + 14 * index] = spot
    return (gain * (values + RNG.normal(0, 5, shape))).clip(0, 255).astype(np.uint8)


def case_of(array: np.ndarray) -> SourceImage:
    return read_source_image(array, "image")


def shared(*arrays: np.ndarray, kind: str = "min-max") -> Normalisation:
    cases = [case_of(each) for each in arrays]
    return on_shared_scale(choose(cases, kind), cases)


def test_an_image_that_lacks_what_is_brightest_is_not_stretched() -> None:
    examples = [image(STRUCTURE, OTHER) for _ in range(5)]
    normalisation = shared(*examples)
    for asked in (image(OTHER), image()):
        low, high = limits(case_of(asked), normalisation)
        assert high == min(int(each.max()) for each in examples)
        assert low <= int(asked.min())
        assert apply(case_of(asked), normalisation).max() < 0.75
    assert all(apply(case_of(each), normalisation).max() == 1 for each in examples)


def test_an_image_that_lacks_what_is_darkest_is_not_stretched() -> None:
    normalisation = shared(*(255 - image(STRUCTURE, OTHER) for _ in range(5)))
    assert apply(case_of(255 - image(OTHER)), normalisation).min() > 0.25


@pytest.mark.parametrize("kind", ["min-max", "percentile"])
@pytest.mark.parametrize("gain", [0.3, 0.5, 0.6])
def test_an_image_at_another_exposure_is_stretched_as_before(kind: str, gain: float) -> None:
    normalisation = shared(*(image(STRUCTURE, OTHER) for _ in range(5)), kind=kind)
    darker = case_of(image(STRUCTURE, OTHER, gain=gain))
    assert limits(darker, normalisation) == limits(darker, choose([darker], kind))


@pytest.mark.parametrize("gain", [0.3, 0.6])
def test_where_examples_differ_much_an_image_at_another_exposure_is_stretched_as_before(gain: float) -> None:
    """Their quartiles are so far apart that those of a darker image lie among them, too."""
    examples = [np.full((40, 40), 12.0) for _ in range(5)]
    for index, each in enumerate(examples):
        each[:, 36 - 6 * index :] = 70
        each[0, 0], each[:8, -8:] = 0, STRUCTURE
    normalisation = shared(*(each.astype(np.uint8) for each in examples))
    assert normalisation.shared is not None
    darker = case_of((gain * examples[2]).astype(np.float32))
    assert limits(darker, normalisation) == (0, pytest.approx(gain * STRUCTURE))


def test_one_example_that_is_black_nearly_everywhere_tells_that_there_is_no_scale() -> None:
    black = np.zeros((40, 56), np.uint8)
    black[4:12, 4:12] = STRUCTURE
    assert shared(*(image(STRUCTURE, OTHER) for _ in range(5)), black).shared is None


def test_images_that_are_black_nearly_everywhere_tell_no_scale() -> None:
    dark = [np.zeros((40, 40), np.uint8) for _ in range(4)]
    for each in dark:
        each[4:12, 4:12] = STRUCTURE
    assert shared(*dark).shared is None


def test_a_window_is_the_scale_already() -> None:
    hounsfield = np.linspace(-1000, 1000, 1600).reshape(40, 40)
    assert shared(hounsfield, kind="window").shared is None


def test_constant_images_tell_no_scale() -> None:
    assert shared(np.full((8, 8), 7, np.uint8)).shared is None
    assert SharedScale.of([(0.0, 1.0), (2.0, 3.0)], [np.array([0, 1]), np.array([2, 3])]) is None


def test_empty_examples_do_not_count() -> None:
    showing, empty = case_of(image(STRUCTURE, OTHER)), case_of(image(OTHER))
    mask = showing.planes > 150
    both = [Example(showing, {1: mask}), Example(empty, {1: np.zeros_like(mask)})]
    chosen = Preparation.chosen(both, "min-max", "never", 32).normalisation
    alone = Preparation.chosen(both[:1], "min-max", "never", 32).normalisation
    assert chosen.shared == alone.shared
    assert Preparation.chosen(both[1:], "min-max", "never", 32).normalisation.shared is None


@pytest.mark.parametrize("kind", ["min-max", "percentile"])
def test_a_graph_scales_likewise(kind: str) -> None:
    normalisation = shared(*(image(STRUCTURE, OTHER) for _ in range(5)), kind=kind)
    asked = [image(STRUCTURE, OTHER), image(OTHER), image(), image(OTHER, gain=0.5), 255 - image(OTHER)]
    asked += [image(STRUCTURE, OTHER, gain=0.9), np.full((40, 56), GROUND, np.uint8)]
    found = scaled(torch.from_numpy(np.stack(asked)).float()[:, None], normalisation)[:, 0]
    for each, expected in zip(found.numpy(), asked, strict=True):
        np.testing.assert_allclose(each, apply(case_of(expected), normalisation)[0], atol=1e-6)
